"""A trained network as an ONNX file: pixels in, logits and probabilities out.

Whether the file computes what the network computes is checked by `publish`.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import torch
from onnxscript import optimizer
from torch import Tensor, nn

from service.core.manifest import INPUT_NAME, LOGITS_NAME, PROBABILITIES_NAME, Layer
from training.model.mlp import OUTPUT, Net

OPSET = 20
"""Version of ONNX's operators; pinned, since the service reads files of this form."""


def to_onnx(net: Net, image_shape: tuple[int, ...], temperature: float = 1.0) -> bytes:
    """Write a network as one self-contained ONNX file.

    The logits are those of the layers, whatever the temperature, so that they follow from the
    manifest's layers alone.

    Args:
        net: In evaluation mode.
        image_shape: Of one image.
        temperature: What logits are divided by before the softmax.

    Returns:
        The file. The same weights give the same bytes; nothing in them tells of this machine.
    """
    batch = torch.zeros((2, *image_shape), dtype=torch.uint8)  # 2: a size of 1 would become fixed
    with _quiet():
        program = torch.onnx.export(
            _Published(net, temperature).eval(),
            (batch,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[LOGITS_NAME, PROBABILITIES_NAME],
            dynamic_shapes={INPUT_NAME: {0: "batch"}},
            external_data=False,
            verbose=False,
            # off, since it drops a bias of zeros, which the manifest's layers name; see below
            optimize=False,
        )
    assert program is not None  # it is None for the old exporter alone
    optimizer.fold_constants(program.model)  # the shape and the 255 are put together from parts
    optimizer.remove_unused_nodes(program.model)
    model = program.model_proto
    _strip(model)
    content = model.SerializeToString(deterministic=True)
    assert isinstance(content, bytes)
    return content


def layers(net: Net) -> tuple[Layer, ...]:
    """Describe a network's layers and the names that their weights have in the file."""
    return tuple(
        Layer(
            name=name,
            inputs=layer.in_features,
            units=layer.out_features,
            activation="none" if name == OUTPUT else "relu",
            weight=f"{name}.weight",
            bias=f"{name}.bias",
        )
        for name, layer in net.dense.items()
    )


class _Published(nn.Module):
    """What the file holds: a network with its softmax."""

    def __init__(self, net: Net, temperature: float) -> None:
        super().__init__()
        self.net = net
        self._temperature = temperature

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits: Tensor = self.net(image)  # (B, classes)
        tempered = logits if self._temperature == 1 else logits / self._temperature
        return logits, torch.softmax(tempered, 1)


def _strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter noted for its own developers, and shorten the weights' names."""
    graph = model.graph
    graph.ClearField("value_info")  # the shapes in between, which every reader infers
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("metadata_props")  # stack traces, with the paths of this machine's files
        part.ClearField("doc_string")
    for tensor in graph.initializer:
        tensor.name = tensor.name.removeprefix("net.")
    for node in graph.node:
        node.input[:] = [name.removeprefix("net.") for name in node.input]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about itself to itself; its errors are raised as ever."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch 2.13 copies its own deprecated LeafSpec while it exports; not ours to change
            warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", FutureWarning)
            yield
    finally:
        log.setLevel(level)
