import time
import tracemalloc
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.core.network import onnx_graph
from service.core.network.onnx_graph import GraphError
from tests import toys
from tests.examples import examples

DTYPES = (np.float32, np.uint8, np.int8, np.int32, np.int64, np.float64)
"""What the networks may hold, as ONNX numbers them 1, 2, 3, 6, 7, 11."""

MODEL_GRAPH, GRAPH_NODE, GRAPH_INITIALIZER = 7, 1, 5
NODE_OPERATOR, TENSOR_EXTERNAL = 4, 13
"""Field numbers of onnx.proto, for files that the `onnx` package would not write."""


def small() -> onnx.ModelProto:
    """Return a network of a few hundred bytes, most of which are significant."""
    return toys.onnx_model(np.array([[1, 2], [3, 4]], np.float32))


SMALL = small().SerializeToString()


def tensors_of(model: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    """Return the initializers as the `onnx` package reads them."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def with_tensor(dims: Sequence[int], raw: bytes, code: int = TensorProto.FLOAT) -> bytes:
    """Return the small network with one more tensor, described by the arguments."""
    model = small()
    tensor = model.graph.initializer.add()
    tensor.name, tensor.data_type, tensor.raw_data = "more", code, raw
    tensor.dims.extend(dims)
    return bytes(model.SerializeToString())


def varint(number: int) -> bytes:
    """Encode an integer as a varint."""
    spelled = b""
    while number >= 0x80:
        spelled += bytes([number & 0x7F | 0x80])
        number >>= 7
    return spelled + bytes([number])


def field(number: int, content: bytes) -> bytes:
    """Return a field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def hidden_field(number: int, content: bytes) -> bytes:
    """Return a field whose tag is 2**32 too large; ONNX Runtime truncates tags to 32 bits."""
    return varint((number << 3 | 2) + 2**32) + varint(len(content)) + content


# --- What it reads


def test_graph_equals_that_of_the_onnx_package() -> None:
    model = toys.onnx_model(np.random.default_rng(1).normal(size=(4, 784)).astype(np.float32))

    found = onnx_graph.read(model.SerializeToString())

    assert found.operators == {node.op_type for node in model.graph.node}
    expected = tensors_of(model)
    assert list(found.tensors) == list(expected)
    for name, tensor in expected.items():
        assert found.tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(found.tensors[name], tensor)


@examples(50)
@given(
    st.dictionaries(
        st.text(max_size=8),
        st.sampled_from(DTYPES).flatmap(
            lambda dtype: npst.arrays(
                dtype, npst.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=3)
            )
        ),
        max_size=4,
    )
)
def test_weights_of_any_shape_and_type_are_parsed(
    tensors: dict[str, NDArray[np.generic]],
) -> None:
    """
    Bit for bit, including scalars and NaN.
    """
    initializers = [numpy_helper.from_array(tensor, name) for name, tensor in tensors.items()]
    model = helper.make_model(helper.make_graph([], "weights", [], [], initializers))

    found = onnx_graph.read(model.SerializeToString()).tensors

    assert {name: (tensor.dtype, tensor.shape) for name, tensor in found.items()} == {
        name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()
    }
    assert all(found[name].tobytes() == tensor.tobytes() for name, tensor in tensors.items())


def test_weights_are_read_only_views() -> None:
    found = onnx_graph.read(SMALL).tensors["output.weight"]

    assert not found.flags.writeable
    assert not found.flags.owndata


def test_unpacked_shapes_are_parsed() -> None:
    """
    Protocol buffers encode lists of numbers packed or unpacked.
    """
    name, raw = field(8, b"w"), field(9, np.arange(6, dtype="<f4").tobytes())
    spread = b"".join(b"\x08" + varint(size) for size in (2, 3)) + b"\x10\x01" + name + raw
    packed = field(1, varint(2) + varint(3)) + b"\x10\x01" + name + raw

    shapes = [
        onnx_graph.read(field(MODEL_GRAPH, field(GRAPH_INITIALIZER, tensor))).tensors["w"].shape
        for tensor in (spread, packed)
    ]

    assert shapes == [(2, 3), (2, 3)]


def test_negative_numbers_are_parsed() -> None:
    """
    Protocol buffers encode them in ten bytes; exporters write the last axis as -1.
    """
    model = small()
    model.graph.node[-1].attribute[0].i = -1

    assert "Softmax" in onnx_graph.read(model.SerializeToString()).operators


def test_operators_of_the_default_domain_may_name_it() -> None:
    """
    The empty domain and `ai.onnx` are the same.
    """
    model = small()
    model.graph.node[0].domain = "ai.onnx"

    assert "Cast" in onnx_graph.read(model.SerializeToString()).operators


# --- What it refuses


def _located_outside(model: onnx.ModelProto) -> None:
    model.graph.initializer[2].data_location = TensorProto.EXTERNAL


def _kept_outside(model: onnx.ModelProto) -> None:
    entry = model.graph.initializer[2].external_data.add()
    entry.key, entry.value = "location", "weights.bin"


def _outside_in_an_attribute(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), "constant")
    tensor.data_location = TensorProto.EXTERNAL
    model.graph.node.append(helper.make_node("Constant", [], ["constant"], value=tensor))


def _outside_in_a_list(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), "constant")
    tensor.external_data.add().key = "location"
    node = model.graph.node[0]
    node.attribute.append(helper.make_attribute("tensors", [tensor]))


def _operator(name: str, domain: str = "") -> Callable[[onnx.ModelProto], None]:
    def alter(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node(name, ["logits"], ["other"], domain=domain))

    return alter


def _graph_inside(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("body", inner))


def _graphs_inside(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("bodies", [inner]))


def _sparse() -> onnx.SparseTensorProto:
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    return helper.make_sparse_tensor(values, numpy_helper.from_array(np.zeros(1, np.int64)), [4])


def _sparse_weight(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.append(_sparse())


def _sparse_inside(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("value", _sparse()))


def _sparse_list_inside(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("values", [_sparse()]))


def _function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    opset = helper.make_opsetid("", toys.OPSET)
    model.functions.append(helper.make_function("ours", "Twice", ["x"], ["y"], [node], [opset]))


def _training(model: onnx.ModelProto) -> None:
    model.training_info.add()


REFUSED: dict[str, tuple[Callable[[onnx.ModelProto], None], str]] = {
    "weights located outside": (_located_outside, "external data"),
    "weights kept outside": (_kept_outside, "external data"),
    "an attribute located outside": (_outside_in_an_attribute, "external data"),
    "a list of tensors kept outside": (_outside_in_a_list, "external data"),
    "If": (_operator("If"), "'If'"),
    "Loop": (_operator("Loop"), "'Loop'"),
    "Scan": (_operator("Scan"), "'Scan'"),
    "an operator without a name": (_operator(""), "operators should be among"),
    "an operator in another case": (_operator("relu"), "'relu'"),
    "a custom domain": (_operator("Relu", "com.microsoft"), "com.microsoft"),
    "a graph inside a node": (_graph_inside, "inside a node"),
    "graphs inside a node": (_graphs_inside, "inside a node"),
    "a sparse weight": (_sparse_weight, "sparse"),
    "a sparse tensor inside a node": (_sparse_inside, "inside a node"),
    "sparse tensors inside a node": (_sparse_list_inside, "inside a node"),
    "a function": (_function, "functions"),
    "training information": (_training, "training"),
}


@pytest.mark.parametrize(("alter", "reason"), REFUSED.values(), ids=REFUSED)
def test_features_outside_the_allow_list_are_refused(
    alter: Callable[[onnx.ModelProto], None], reason: str
) -> None:
    """
    External data, functions, training information, sparse tensors and nested graphs.
    """
    model = small()
    alter(model)

    with pytest.raises(GraphError, match=reason):
        onnx_graph.read(model.SerializeToString())


def test_allowed_operators() -> None:
    """
    Adding an operator is a deliberate change, repeated here.
    """
    arithmetic = {"Add", "Div", "Gemm", "MatMul", "Mul", "Relu", "Softmax"}
    whole = {"MatMulInteger", "QuantizeLinear"}
    form = {"Cast", "Constant", "Flatten", "Identity", "Reshape"}

    assert arithmetic | whole | form == onnx_graph.OPERATORS


@pytest.mark.parametrize("code", [0, TensorProto.STRING, TensorProto.BOOL, TensorProto.FLOAT16, 99])
def test_weights_of_another_type_are_refused(code: int) -> None:
    """
    Strings, booleans and float16.
    """
    with pytest.raises(GraphError, match="type"):
        onnx_graph.read(with_tensor([1], b"00", code))


@pytest.mark.parametrize(
    ("dims", "raw"),
    [([2], b"0" * 4), ([2], b"0" * 12), ([], b""), ([0], b"0000"), ([-1], b"0000"), ([2**40], b"0000")],
)
def test_weights_whose_size_contradicts_their_shape_are_refused(dims: list[int], raw: bytes) -> None:
    """
    Too few or too many bytes, and invalid sizes.
    """
    with pytest.raises(GraphError, match="bytes"):
        onnx_graph.read(with_tensor(dims, raw))


@pytest.mark.parametrize("count", [65, 300])
@pytest.mark.parametrize("size", [1, 2**62])
def test_weights_with_many_axes_are_refused(count: int, size: int) -> None:
    """
    More axes than NumPy allows, or sizes whose product has thousands of digits.
    """
    with pytest.raises(GraphError):
        onnx_graph.read(with_tensor([size] * count, b"0000"))


def test_weights_with_many_axes_are_refused_quickly() -> None:
    """
    The product of 10,000 sizes, whose cost is quadratic, is not computed.
    """
    limit_s = 0.3  # about 1 s is what the product alone took; a refusal takes a few ms
    data = with_tensor([2**62] * 10_000, b"0000")
    started = time.process_time()

    with pytest.raises(GraphError):
        onnx_graph.read(data)
    assert time.process_time() - started < limit_s


def test_weights_in_the_typed_fields_are_refused() -> None:
    """
    Only raw data can be used without a copy.
    """
    model = small()
    model.graph.initializer.append(helper.make_tensor("typed", TensorProto.FLOAT, [2], [1.0, 2.0]))

    with pytest.raises(GraphError, match=r"should hold|few dimensions"):
        onnx_graph.read(model.SerializeToString())


def test_files_with_two_graphs_are_refused() -> None:
    """
    Protocol buffers would merge them.
    """
    with pytest.raises(GraphError, match="exactly one graph; got 2"):
        onnx_graph.read(SMALL + field(MODEL_GRAPH, b""))


def test_duplicate_names_of_weights_are_refused() -> None:
    model = small()
    model.graph.initializer.append(model.graph.initializer[2])

    with pytest.raises(GraphError, match="different names"):
        onnx_graph.read(model.SerializeToString())


def test_empty_files_are_refused() -> None:
    with pytest.raises(GraphError, match="exactly one graph; got 0"):
        onnx_graph.read(b"")


def test_truncated_files_are_refused() -> None:
    model = small()
    for tail in ("producer_name", "opset_import", "ir_version"):
        model.ClearField(tail)
    whole = model.SerializeToString()

    for length in range(len(whole)):
        with pytest.raises(GraphError):
            onnx_graph.read(whole[:length])
    assert onnx_graph.read(whole)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x3b", "wire type 3"),
        (b"\x3c", "wire type 4"),
        (b"\x3e", "wire type 6"),
        (b"\x38\x01", "a number where a message belongs"),
        (b"\x08" + b"\xff" * 10, "more than ten bytes"),
        (b"\x08\xff", "a number that ends after the file does"),
        (b"\x3a\x05abc", "a field that ends after the file does"),
        (b"\x3d\x00\x00", "a field that ends after the file does"),
        (field(MODEL_GRAPH, field(GRAPH_NODE, field(NODE_OPERATOR, b"\xff\xfe"))), "UTF-8"),
    ],
)
def test_invalid_protocol_buffers_are_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(GraphError, match=reason):
        onnx_graph.read(data)


# --- What a reader of its own must not get wrong


def test_operators_with_an_overlong_tag_are_not_ignored() -> None:
    """
    ONNX Runtime truncates a tag to 32 bits, so it would see the field while this parser would not.
    """
    node = field(NODE_OPERATOR, b"Relu") + hidden_field(NODE_OPERATOR, b"LogSoftmax")

    with pytest.raises(GraphError):
        onnx_graph.read(field(MODEL_GRAPH, field(GRAPH_NODE, node)))


def test_external_data_with_an_overlong_tag_is_not_ignored() -> None:
    where = field(1, b"location") + field(2, b"weights.bin")
    tensor = b"\x10\x01" + field(8, b"w") + field(1, b"\x00") + hidden_field(TENSOR_EXTERNAL, where)

    with pytest.raises(GraphError):
        onnx_graph.read(field(MODEL_GRAPH, field(GRAPH_INITIALIZER, tensor)))


@examples(300)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_raise_only_graph_errors(data: bytes) -> None:
    _read_or_refuse(data)


@examples(400)
@given(
    st.lists(
        st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 2), st.binary(min_size=1, max_size=6)),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, len(SMALL)),
)
def test_mutated_files_are_refused_or_parsed_like_the_onnx_package(
    changes: list[tuple[int, int, bytes]], cut: int
) -> None:
    """
    Bytes are overwritten, inserted or deleted.
    """
    data = bytearray(SMALL[:cut] if cut % 4 == 0 else SMALL)
    for at, kind, content in changes:
        if kind == 0:
            data[at : at + len(content)] = content
        elif kind == 1:
            data[at:at] = content
        else:
            del data[at : at + len(content)]

    found = _read_or_refuse(bytes(data))

    if found is not None:
        try:
            model = onnx.ModelProto.FromString(bytes(data))
        except DecodeError:
            return  # ONNX Runtime will not read it either
        assert found.operators == {node.op_type for node in model.graph.node}
        shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
        assert {name: tensor.shape for name, tensor in found.tensors.items()} == shapes
        assert not any(tensor.external_data for tensor in model.graph.initializer)


@examples(200)
@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 5), max_size=80),
    st.binary(max_size=64),
    st.integers(0, 30),
)
def test_arbitrary_tensors_raise_only_graph_errors(dims: list[int], raw: bytes, code: int) -> None:
    """
    Shapes, types and bytes that contradict each other.
    """
    _read_or_refuse(with_tensor(dims, raw, code))


def _read_or_refuse(data: bytes) -> onnx_graph.Graph | None:
    try:
        return onnx_graph.read(data)
    except GraphError:
        return None


def test_large_declared_sizes_allocate_no_memory() -> None:
    allowed = 2**20
    promises = [
        with_tensor([2**31, 2**20], b""),
        with_tensor([0, 2**62], b""),
        field(MODEL_GRAPH, b"")[:-1] + varint(2**40),
        field(MODEL_GRAPH, field(GRAPH_INITIALIZER, b"\x4a" + varint(2**62))),
    ]
    tracemalloc.start()
    try:
        for promise in promises:
            _read_or_refuse(promise)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < allowed
