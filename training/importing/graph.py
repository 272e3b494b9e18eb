"""ONNX files in the service's form: image or row to logits and probabilities."""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.core.artifact.manifest import INPUT_NAME, LOGITS_NAME, PROBABILITIES_NAME, ROW_NAME
from training.errors import NotImportable
from training.importing.network import DenseLayer
from training.importing.onnx_file import Source
from training.publishing.onnx_float import OPSET

_IR_VERSION = 10

_OPERATORS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}


def of_layers(layers: Sequence[DenseLayer], shape: tuple[int, ...], is_image: bool) -> bytes:
    """Return the graph of dense layers, whose input is pixels / 255 or a row of numbers.

    Args:
        layers: From input to output.
        shape: Shape of one input.
        is_image: Whether the input is uint8 pixels.
    """
    tensors: dict[str, NDArray[np.generic]] = {}
    nodes = []
    signal = ROW_NAME
    if is_image:
        tensors |= {
            "scale": np.array(255, np.float32),
            "flat": np.array([-1, len(layers[0].weight)], np.int64),
        }
        nodes = [
            helper.make_node("Cast", [INPUT_NAME], ["cast"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["cast", "scale"], ["pixels"]),
            helper.make_node("Reshape", ["pixels", "flat"], ["inputs"]),
        ]
        signal = "inputs"
    for name, layer in zip(names(len(layers)), layers, strict=True):
        tensors[f"{name}.weight"] = np.ascontiguousarray(layer.weight.T, np.float32)
        tensors[f"{name}.bias"] = layer.bias.astype(np.float32)
        sums = LOGITS_NAME if name == "output" else f"{name}.sums"
        nodes.append(helper.make_node("Gemm", [signal, f"{name}.weight", f"{name}.bias"], [sums], transB=1))
        signal = sums
        if layer.activation != "none":
            signal = f"{name}.activations"
            nodes.append(helper.make_node(_OPERATORS[layer.activation], [sums], [signal]))
    nodes.append(helper.make_node("Softmax", [LOGITS_NAME], [PROBABILITIES_NAME], axis=1))
    return _file(nodes, tensors, shape, is_image, layers[-1].weight.shape[1], OPSET)


def names(count: int) -> list[str]:
    """Return the names of a number of layers: hidden1, hidden2, …, output."""
    return [f"hidden{number}" for number in range(1, count)] + ["output"]


def of_source(
    source: Source,
    shape: tuple[int, ...],
    is_image: bool,
    factor: NDArray[np.float64],
    offset: NDArray[np.float64],
) -> bytes:
    """Return the graph of an ONNX file with scaling before it and softmax after it.

    Args:
        source: The file.
        shape: Shape of one input for the service, (H, W), (H, W, 3) or (n,).
        is_image: Whether the input is uint8 pixels.
        factor: Factor of each number of an input of this shape, flat.
        offset: Summand of each number.

    Raises:
        NotImportable: The graph has tensors of a kind that the service does not load.
    """
    graph = source.model.graph
    prefix = "source/"  # so that no name collides with those of the service
    renamed = {each.name: f"{prefix}{each.name}" for each in graph.input}
    tensors: dict[str, NDArray[np.generic]] = {}
    for tensor in graph.initializer:
        tensors[prefix + tensor.name] = numpy_helper.to_array(tensor)
    used = {source.scores}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if used & set(node.output):
            used |= set(node.input)
            kept.insert(0, node)
    weights = {tensor.name for tensor in graph.initializer}
    (name,) = (each.name for each in graph.input if each.name not in weights)
    signal = INPUT_NAME if is_image else ROW_NAME
    nodes = []
    if is_image and not source.is_uint8:
        nodes.append(helper.make_node("Cast", [signal], ["cast"], to=TensorProto.FLOAT))
        signal = "cast"
    if not source.is_uint8 and not (np.all(factor == 1) and np.all(offset == 0)):
        for kind, operator, values in (("factor", "Mul", factor), ("offset", "Add", offset)):
            array = values.reshape(shape).astype(np.float32)
            tensors[kind] = array.flat[:1].reshape(()) if np.all(array == array.flat[0]) else array
            nodes.append(helper.make_node(operator, [signal, kind], [f"{kind}.result"]))
            signal = f"{kind}.result"
    if len(shape) == 3 and source.shape == (shape[2], *shape[:2]):
        nodes.append(helper.make_node("Transpose", [signal], ["channels"], perm=[0, 3, 1, 2]))
        signal = "channels"
    tensors["sides"] = np.array([-1, *source.shape], np.int64)
    nodes.append(helper.make_node("Reshape", [signal, "sides"], [renamed[name]]))
    free = source.batch is not None
    for node in kept:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.doc_string = ""
        copy.ClearField("metadata_props")
        copy.input[:] = [prefix + each if each else "" for each in node.input]
        copy.output[:] = [prefix + each if each else "" for each in node.output]
        if free and node.op_type == "Reshape" and copy.input[1] in tensors:
            sides = tensors[copy.input[1]].astype(np.int64)
            if len(sides) and sides[0] == source.batch:
                copy.input[1] = f"{copy.input[1]}.free"
                copy.ClearField("attribute")  # allowzero, with which 0 would be a side of 0
                tensors[copy.input[1]] = np.array([0, *sides[1:]], np.int64)  # 0: the size of the input
        nodes.append(copy)
    nodes.append(helper.make_node("Identity", [prefix + source.scores], [LOGITS_NAME]))
    nodes.append(helper.make_node("Softmax", [LOGITS_NAME], [PROBABILITIES_NAME], axis=1))
    read = {each for node in nodes for each in node.input}
    tensors = {each: values for each, values in tensors.items() if each in read}
    opset = next(each.version for each in source.model.opset_import if each.domain in ("", "ai.onnx"))
    if opset < 13:
        raise NotImportable(f"The opset should be at least 13; got {opset}.")
    return _file(nodes, tensors, shape, is_image, source.classes, opset)


def _file(
    nodes: Sequence[onnx.NodeProto],
    tensors: dict[str, NDArray[np.generic]],
    shape: tuple[int, ...],
    is_image: bool,
    classes: int,
    opset: int,
) -> bytes:
    kind, name = (TensorProto.UINT8, INPUT_NAME) if is_image else (TensorProto.FLOAT, ROW_NAME)
    graph = helper.make_graph(
        nodes,
        "inkling",
        [helper.make_tensor_value_info(name, kind, ["batch", *shape])],
        [
            helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", classes])
            for output in (LOGITS_NAME, PROBABILITIES_NAME)
        ],
        [numpy_helper.from_array(np.ascontiguousarray(values), each) for each, values in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=_IR_VERSION)
    content = model.SerializeToString(deterministic=True)
    assert isinstance(content, bytes)
    return content
