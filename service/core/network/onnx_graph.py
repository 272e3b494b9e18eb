"""ONNX parser: the operators and weights of a file, with an allow-list of operators and features.

The file is checked before ONNX Runtime loads it. Only six message types of `onnx.proto` are needed, and the
`onnx` package would take more memory than all published models, so the protocol buffers are parsed here.

Source: message and field numbers from `onnx/onnx.proto` (ONNX IR specification, version 10); wire types from
the Protocol Buffers encoding specification.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.artifact.artifact import Artifact
from service.core.errors import GraphRefused

OPERATORS = frozenset(
    {"Add", "Cast", "Constant", "Div", "Flatten", "Gemm", "Identity", "MatMul", "MatMulInteger", "Mul"}
    | {"QuantizeLinear", "Relu", "Reshape", "Softmax"}
)
"""The operators of a multilayer perceptron with scaling and softmax, in float32 or int8."""

OTHER_OPERATORS = (
    OPERATORS
    | {"Abs", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "Elu", "Erf", "Exp"}
    | {"Gelu", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish"}
    | {"LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "MaxPool", "Mish", "Neg", "PRelu"}
    | {"Pow", "ReduceMean", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Squeeze", "Sub"}
    | {"Tanh", "Transpose", "Unsqueeze"}
)
"""The operators of feed-forward networks of other layers, such as convolutions. None of them loops, reads
files, or makes an output whose size only its values declare."""

_DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    6: np.dtype("<i4"),
    7: np.dtype("<i8"),
    11: np.dtype("<f8"),
}
"""Tensor element types by their number in the file; ONNX is little-endian."""

_MAX_FIELD = 2**29 - 1
_MAX_DIMS = 8

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MODEL_TRAINING, _MODEL_FUNCTIONS, _MODEL_GRAPH = 20, 25, 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS = 5, 10
_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 6, 11
_ATTRIBUTE_SPARSE = (22, 23)
_TENSOR_DIMS, _TENSOR_DTYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14


class GraphError(ValueError):
    """The bytes are not an ONNX file, or use a feature that is not allowed; the message is the reason."""


@dataclass(frozen=True)
class Graph:
    """Operators and weights of an ONNX file.

    Attributes:
        operators: Operators of its nodes.
        tensors: Its initializers by name, as views of the file's bytes.
    """

    operators: frozenset[str]
    tensors: Mapping[str, NDArray[np.generic]]


def read(data: bytes, allowed: frozenset[str] = OPERATORS) -> Graph:
    """Parse an ONNX file.

    Args:
        data: The whole file.
        allowed: Operators that it may have.

    Raises:
        GraphError: The bytes are not an ONNX file; or it has external weights, an operator that is not
            allowed or of another domain, functions, training information, sparse tensors, or graphs in
            nodes.
    """
    operators: set[str] = set()
    tensors: dict[str, NDArray[np.generic]] = {}
    graphs = 0
    for field, value in _fields(memoryview(data)):
        if field in (_MODEL_FUNCTIONS, _MODEL_TRAINING):
            raise GraphError("it should hold one plain graph; got functions or training information")
        if field == _MODEL_GRAPH:
            graphs += 1
            for part, content in _fields(_message(value)):
                if part == _GRAPH_NODE:
                    operators.add(_operator(_message(content)))
                elif part == _GRAPH_INITIALIZER:
                    name, tensor = _tensor(_message(content))
                    if name in tensors:
                        raise GraphError("its tensors should have different names; got one twice")
                    tensors[name] = tensor
                elif part == _GRAPH_SPARSE:
                    raise GraphError("its weights should be dense; got a sparse tensor")
    if graphs != 1:
        raise GraphError(f"it should hold exactly one graph; got {graphs}")
    if unknown := sorted(operators - allowed):
        raise GraphError(f"its operators should be among {sorted(allowed)}; got {unknown}")
    return Graph(frozenset(operators), tensors)


def read_artifact(artifact: Artifact) -> Graph:
    """Parse the ONNX file of a published folder; raises GraphRefused for the errors of `read`."""
    allowed = OPERATORS if artifact.manifest.layers else OTHER_OPERATORS
    try:
        return read(artifact.model, allowed)
    except GraphError as error:
        raise GraphRefused(artifact.identity, f"model.onnx is refused: {error}.") from error


def _operator(node: memoryview) -> str:
    operator = ""
    for field, value in _fields(node):
        if field == _NODE_OPERATOR:
            operator = _text(value)
        elif field == _NODE_DOMAIN and _text(value) not in ("", "ai.onnx"):
            raise GraphError(f"its operators should be ONNX's own; got domain {_text(value)!r}")
        elif field == _NODE_ATTRIBUTE:
            _check_attribute(_message(value))
    return operator


def _check_attribute(attribute: memoryview) -> None:
    for field, value in _fields(attribute):
        if field in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS, *_ATTRIBUTE_SPARSE):
            raise GraphError("its nodes should be plain; got a graph or sparse tensor inside a node")
        if field in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
            _tensor(_message(value))


def _tensor(message: memoryview) -> tuple[str, NDArray[np.generic]]:
    name, shape, code = "", [], 0
    raw = memoryview(b"")
    for field, value in _fields(message):
        if field == _TENSOR_EXTERNAL or (field == _TENSOR_LOCATION and value != 0):
            raise GraphError("its weights should be inside the file; got a tensor with external data")
        if field == _TENSOR_DIMS:
            shape += list(_varints(value)) if isinstance(value, memoryview) else [value]
        elif field == _TENSOR_DTYPE:
            code = value if isinstance(value, int) else 0
        elif field == _TENSOR_NAME:
            name = _text(value)
        elif field == _TENSOR_RAW:
            raw = _message(value)
    if code not in _DTYPES:
        raise GraphError(f"tensor {name[:40]!r} should be of a type among {sorted(_DTYPES)}; got {code}")
    return name, _array(raw, _DTYPES[code], shape)


def _array(raw: memoryview, dtype: np.dtype[Any], shape: list[int]) -> NDArray[np.generic]:
    if len(shape) > _MAX_DIMS or max(shape, default=0) > len(raw):
        raise GraphError("its tensors should have few dimensions, none larger than their bytes; got others")
    size = math.prod(shape) * dtype.itemsize
    if size != len(raw):
        raise GraphError(f"a tensor of shape {shape} should hold {size:,} raw bytes; got {len(raw):,}")
    return np.frombuffer(raw, dtype).reshape(shape)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the fields of a message: its number, and an integer or bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, kind = key >> 3, key & 7
        if not 0 < field <= _MAX_FIELD:  # other parsers truncate such numbers to another field
            raise GraphError("it should be protocol buffers; got an impossible field number")
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield field, value
            continue
        if kind == _BYTES:
            length, at = _varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise GraphError(f"it should be protocol buffers; got wire type {kind}")
        if at + length > len(message):
            raise GraphError("it should be whole; got a field that ends after the file does")
        yield field, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise GraphError("it should be whole; got a number that ends after the file does")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise GraphError("it should be protocol buffers; got a number of more than ten bytes")


def _varints(packed: memoryview) -> Iterator[int]:
    at = 0
    while at < len(packed):
        value, at = _varint(packed, at)
        yield value


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise GraphError("it should be an ONNX file; got a number where a message belongs")
    return value


def _text(value: int | memoryview) -> str:
    try:
        return str(_message(value), "utf-8")
    except UnicodeDecodeError as error:
        raise GraphError("its names should be UTF-8; got other bytes") from error
