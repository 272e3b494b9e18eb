"""Reader of ONNX files: its input, its logits and the number of classes."""

from dataclasses import dataclass

import onnx

from service.core.network.onnx_graph import OTHER_OPERATORS
from training.errors import NotImportable


@dataclass(frozen=True)
class Source:
    """An ONNX file.

    Attributes:
        model: The file.
        shape: Shape of one input.
        is_uint8: Whether its input is uint8.
        batch: Fixed batch size; None if it is free.
        scores: Name of the tensor of the logits.
        classes: Number of classes.
    """

    model: onnx.ModelProto
    shape: tuple[int, ...]
    is_uint8: bool
    batch: int | None
    scores: str
    classes: int


def read(content: bytes) -> Source:
    """Read an ONNX file and find its input, its logits and the number of classes.

    A softmax at its end is found, so that the logits are those before it.

    Raises:
        NotImportable: It is no ONNX file, or its graph has an input, output or operator that is not accepted.
    """
    try:
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model)
        model = onnx.shape_inference.infer_shapes(model)
    except Exception as error:  # the parser and the checker raise exceptions of many types
        raise NotImportable(f"The file should be a valid ONNX file; {str(error)[:300]}") from error
    graph = model.graph
    operators = {node.op_type for node in graph.node if node.op_type not in _HELPERS}
    domains = {node.domain for node in graph.node} - {"", "ai.onnx"}
    if domains:
        raise NotImportable(
            f"Operators should be ONNX's own; got some of {', '.join(sorted(domains))}. A scikit-learn model "
            "is imported from its joblib file with --sklearn."
        )
    if unknown := sorted(operators - OTHER_OPERATORS):
        raise NotImportable(
            f"Operators should be among {', '.join(sorted(OTHER_OPERATORS))}, since the service loads no "
            f"others; got {', '.join(unknown)}."
        )
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [each for each in graph.input if each.name not in weights]
    if len(inputs) != 1:
        raise NotImportable(f"The graph should have one input; got {len(inputs)}.")
    kind = inputs[0].type.tensor_type
    if kind.elem_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8):
        name = onnx.TensorProto.DataType.Name(kind.elem_type)
        raise NotImportable(f"The input should be float32 or uint8; got {name}.")
    sides = [side.dim_value for side in kind.shape.dim]
    if len(sides) < 2 or min(sides[1:]) < 1:
        raise NotImportable(f"The input should have a batch axis and fixed sides; got {sides}, 0 is free.")
    scores, shape = _scores(graph)
    return Source(
        model=model,
        shape=tuple(sides[1:]),
        is_uint8=kind.elem_type == onnx.TensorProto.UINT8,
        batch=sides[0] or None,
        scores=scores,
        classes=shape[-1],
    )


_HELPERS = {"Shape", "Gather", "Slice", "Dropout", "ConstantOfShape"}
"""Operators that exporters write for shapes and that are removed before the network is served."""


def _scores(graph: onnx.GraphProto) -> tuple[str, tuple[int, ...]]:
    """Return name and shape of the logits."""
    producers = {name: node for node in graph.node for name in node.output}
    output = graph.output[0].name
    sides = tuple(side.dim_value for side in graph.output[0].type.tensor_type.shape.dim)
    if len(graph.output) > 1:
        named = {each.name: each for each in graph.output}
        if "logits" not in named:
            raise NotImportable(f"The graph should have one output; got {', '.join(named)}.")
        output = "logits"
        sides = tuple(side.dim_value for side in named[output].type.tensor_type.shape.dim)
    if len(sides) != 2 or sides[1] < 1:
        raise NotImportable(f"The output should be [batch, classes]; got {list(sides)}, 0 is free.")
    node = producers.get(output)
    while node is not None and node.op_type in ("Softmax", "LogSoftmax", "Identity"):
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), -1)
        if node.op_type != "Identity" and axis not in (1, -1):
            raise NotImportable(f"The softmax should be over the classes, axis 1; got axis {axis}.")
        output = node.input[0]
        node = producers.get(output)
    return output, sides
