"""ONNX file of a quantised network: pixels to logits and probabilities.

Each arithmetic step is one operator, so that the result does not depend on a runtime's fusions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.core.artifact.manifest import (
    INPUT_NAME,
    LOGITS_NAME,
    PROBABILITIES_NAME,
    Layer,
    Rounding,
)
from service.core.network.int8 import Int8Dense
from training.publishing.onnx_float import OPSET

_IR_VERSION = 10
"""ONNX IR version, the same as in exported float32 networks."""


def to_onnx(layers: Mapping[str, Int8Dense], image_shape: tuple[int, ...], temperature: float = 1.0) -> bytes:
    """Return a quantised network as a self-contained ONNX file.

    A layer is MatMulInteger, Add, Cast, Mul, and Relu and QuantizeLinear except in the last layer: integers
    up to 2**24, which float32 represents exactly.

    Args:
        layers: The layers, from input to output.
        image_shape: Shape of one image.
        temperature: Divisor of the logits before the softmax.

    Returns:
        Content of the file. The same layers give the same bytes.
    """
    inputs = int(np.prod(image_shape))
    tensors: dict[str, NDArray[Any]] = {
        "flat": np.array([-1, inputs], np.int64),
        "zero": np.array(0, np.uint8),
    }
    nodes = [helper.make_node("Reshape", [INPUT_NAME, "flat"], ["pixels"])]
    signal = "pixels"
    for name, layer in layers.items():
        tensors |= {
            f"{name}.weight": layer.weight_int8,
            f"{name}.bias": layer.bias_int32,
            f"{name}.step": layer.scale,
        }
        is_last = layer.output_scale is None
        sums = LOGITS_NAME if is_last else f"{name}.sums"
        nodes += [
            helper.make_node("MatMulInteger", [signal, f"{name}.weight"], [f"{name}.products"]),
            helper.make_node("Add", [f"{name}.products", f"{name}.bias"], [f"{name}.whole"]),
            helper.make_node("Cast", [f"{name}.whole"], [f"{name}.cast"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.cast", f"{name}.step"], [sums]),
        ]
        if not is_last:
            tensors[f"{name}.given"] = np.array(layer.output_scale, np.float32)
            signal = f"{name}.signal"
            nodes += [
                helper.make_node("Relu", [sums], [f"{name}.rectified"]),
                helper.make_node("QuantizeLinear", [f"{name}.rectified", f"{name}.given", "zero"], [signal]),
            ]
    odds = LOGITS_NAME
    if temperature != 1:
        tensors["temperature"] = np.array(temperature, np.float32)
        odds = "tempered"
        nodes.append(helper.make_node("Div", [LOGITS_NAME, "temperature"], [odds]))
    nodes.append(helper.make_node("Softmax", [odds], [PROBABILITIES_NAME], axis=1))
    *_, last = layers.values()
    classes = last.weight_int8.shape[1]
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["batch", *image_shape])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", classes])
            for name in (LOGITS_NAME, PROBABILITIES_NAME)
        ],
        [numpy_helper.from_array(tensor, name) for name, tensor in tensors.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION, producer_name="inkling"
    )
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString(deterministic=True)
    assert isinstance(content, bytes)
    return content


def layers(float_layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return the manifest's layers of a quantised network, from those of its float32 version."""
    return tuple(
        layer.model_copy(
            update={
                "weight": f"{layer.name}.weight",
                "bias": f"{layer.name}.bias",
                "rounding": Rounding(
                    step=f"{layer.name}.step",
                    given=None if position == len(float_layers) else f"{layer.name}.given",
                ),
            }
        )
        for position, layer in enumerate(float_layers, start=1)
    )
