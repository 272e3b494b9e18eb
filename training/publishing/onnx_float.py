"""ONNX export of a float32 network: pixels to logits and probabilities."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import torch
from onnxscript import optimizer
from torch import Tensor, nn

from service.core.artifact.manifest import INPUT_NAME, LOGITS_NAME, PROBABILITIES_NAME, Layer
from training.model.mlp import MLP, OUTPUT

OPSET = 20
"""ONNX operator set; pinned, since the service parses files of this version."""


def to_onnx(net: MLP, image_shape: tuple[int, ...], temperature: float = 1.0) -> bytes:
    """Export a network as a self-contained ONNX file.

    The temperature applies to the probabilities only, so that the logits follow from the manifest's layers
    alone.

    Args:
        net: The network, in evaluation mode.
        image_shape: Shape of one image.
        temperature: Divisor of the logits before the softmax.

    Returns:
        Content of the file. The same weights give the same bytes; they contain nothing about this machine.
    """
    batch = torch.zeros(
        (2, *image_shape), dtype=torch.uint8
    )  # 2: a size of 1 would be exported as a constant
    with quiet():
        program = torch.onnx.export(
            _WithSoftmax(net, temperature).eval(),
            (batch,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[LOGITS_NAME, PROBABILITIES_NAME],
            dynamic_shapes={INPUT_NAME: {0: "batch"}},
            external_data=False,
            verbose=False,
            # off: it removes a bias of zeros, which the manifest's layers name; see below
            optimize=False,
        )
    assert program is not None  # None only from the old exporter
    optimizer.fold_constants(program.model)  # shape and scale are exported as several nodes
    optimizer.remove_unused_nodes(program.model)
    model = program.model_proto
    _strip(model)
    content = model.SerializeToString(deterministic=True)
    assert isinstance(content, bytes)
    return content


def layers(net: MLP) -> tuple[Layer, ...]:
    """Return the manifest's layers of a network, with the names of their weights in the file."""
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


class _WithSoftmax(nn.Module):
    """A network followed by temperature and softmax."""

    def __init__(self, net: MLP, temperature: float) -> None:
        super().__init__()
        self.net = net
        self._temperature = temperature

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits: Tensor = self.net(image)  # (B, classes)
        scaled = logits if self._temperature == 1 else logits / self._temperature
        return logits, torch.softmax(scaled, 1)


def _strip(model: onnx.ModelProto) -> None:
    """Remove the exporter's metadata, and shorten the names of the weights."""
    graph = model.graph
    graph.ClearField("value_info")  # intermediate shapes, which readers infer
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("metadata_props")  # stack traces with paths of this machine
        part.ClearField("doc_string")
    for tensor in graph.initializer:
        tensor.name = tensor.name.removeprefix("net.")
    for node in graph.node:
        node.input[:] = [name.removeprefix("net.") for name in node.input]


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the exporter's log messages and its own deprecation warnings."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch 2.13 uses its own deprecated LeafSpec
            warnings.filterwarnings("ignore", r".*LeafSpec.* is deprecated", FutureWarning)
            yield
    finally:
        log.setLevel(level)
