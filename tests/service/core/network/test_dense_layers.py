from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from threadpoolctl import threadpool_info, threadpool_limits

from service.core.artifact import artifact
from service.core.artifact.artifact import Artifact
from service.core.errors import GraphRefused
from service.core.inputs import Inputs
from service.core.network import dense_layers
from service.core.network.engine import Engine
from tests import precision, toys


@pytest.fixture(scope="module")
def quadrants(toy_root: Path) -> Artifact:
    return artifact.read(toy_root, "quadrants", "1")


def test_weights_have_one_row_per_input_and_one_column_per_unit(quadrants: Artifact) -> None:
    """
    Column 1 has the weights of the second unit, the upper right quadrant.
    """
    layers = dense_layers.read(quadrants)

    assert list(layers) == ["output"]
    weights = layers["output"].weight
    assert weights.shape == (784, 4)
    assert weights.dtype == np.dtype(np.float32)
    upper_right = weights[:, 1].reshape(28, 28)
    assert upper_right[:14, 14:].all()
    assert upper_right.sum() == 14 * 14


@pytest.mark.parametrize("shift", range(4))
def test_weights_are_aligned_and_read_only(quadrants: Artifact, shift: int) -> None:
    """
    Wherever the tensor begins in the file: NumPy copies unaligned matrices for every product.
    """
    model = toys.onnx_model(toys.quadrant_weights())
    model.producer_name = "x" * (shift + 1)

    (layer,) = dense_layers.read(replace(quadrants, model=model.SerializeToString())).values()

    for array in (layer.weight, layer.bias):
        assert array.flags.aligned
        assert not array.flags.writeable


def _set(model: onnx.ModelProto, name: str, values: NDArray[np.generic]) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(values, name))


def _without_bias(model: onnx.ModelProto) -> None:
    del model.graph.initializer[3]


def _without_weight(model: onnx.ModelProto) -> None:
    del model.graph.initializer[2]


def _transposed(model: onnx.ModelProto) -> None:
    _set(model, "output.weight", np.zeros((784, 4), np.float32))


def _double(model: onnx.ModelProto) -> None:
    _set(model, "output.weight", np.zeros((4, 784), np.float64))


def _long_bias(model: onnx.ModelProto) -> None:
    _set(model, "output.bias", np.zeros(5, np.float32))


@pytest.mark.parametrize(
    ("alter", "named"),
    [
        (_without_bias, "output.bias"),
        (_without_weight, "output.weight"),
        (_transposed, "output.weight"),
        (_double, "output.weight"),
        (_long_bias, "output.bias"),
    ],
)
def test_files_without_the_tensors_of_the_manifest_are_refused(
    quadrants: Artifact, alter: Callable[[onnx.ModelProto], None], named: str
) -> None:
    """
    Missing, or with another shape or type; the message names the tensor.
    """
    model = toys.onnx_model(toys.quadrant_weights())
    alter(model)

    with pytest.raises(GraphRefused, match=f"quadrants/1: .*{named}"):
        dense_layers.read(replace(quadrants, model=model.SerializeToString()))


def test_bytes_that_are_not_onnx_are_refused(quadrants: Artifact) -> None:
    with pytest.raises(GraphRefused, match="is refused"):
        dense_layers.read(replace(quadrants, model=b"nothing"))


def test_logits_of_a_small_network(quadrants: Artifact) -> None:
    images = np.stack([toys.dot(0), toys.dot(1, 2)])

    logits = dense_layers.logits(dense_layers.read(quadrants), images)

    np.testing.assert_allclose(logits, [[1, 0, 0, 0], [0, 1, 1, 0]])


def test_relu_is_applied_to_hidden_layers() -> None:
    weight = np.array([[1, -1]] + [[0, 0]] * 783, np.float32)
    hidden = dense_layers.Dense(weight, np.zeros(2, np.float32), is_rectified=True)
    output = dense_layers.Dense(
        np.array([[2], [5]], np.float32), np.array([0.5], np.float32), is_rectified=False
    )
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 0, 0] = 255

    logits = dense_layers.logits({"hidden1": hidden, "output": output}, image)

    np.testing.assert_allclose(logits, [[2.5]])


def test_layers_equal_to_the_graph_pass_the_check(quadrants: Artifact) -> None:
    layers = dense_layers.read(quadrants)

    dense_layers.check(
        quadrants, layers, lambda images: dense_layers.logits(layers, images).astype(np.float32)
    )


@pytest.mark.parametrize("wrong", [1.0, np.nan])
@pytest.mark.parametrize("row", [0, -1], ids=["a golden example", "noise"])
def test_layers_different_from_the_graph_are_refused(quadrants: Artifact, wrong: float, row: int) -> None:
    """
    One wrong logit of one image suffices.
    """
    layers = dense_layers.read(quadrants)

    def run(images: Inputs) -> NDArray[np.float32]:
        found = dense_layers.logits(layers, images).astype(np.float32)
        found[row, 1] += wrong
        return found

    with pytest.raises(GraphRefused, match="quadrants/1: logits should be those of the manifest's layers"):
        dense_layers.check(quadrants, layers, run)


def test_number_of_blas_threads_is_set() -> None:
    with threadpool_limits(2, user_api="blas"):  # restores the number at the end
        dense_layers.set_blas_threads(1)
        found = [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]

    assert set(found) <= {1}


@pytest.fixture
def int8_network(tmp_path: Path) -> Artifact:
    """Return an int8 network."""
    return toys.publish_rounded(tmp_path)


def _altered(int8_network: Artifact, **tensors: NDArray[np.generic]) -> Artifact:
    """Return the network with other tensors in its file; `hidden1_step` is `hidden1.step`."""
    model = onnx.ModelProto.FromString(int8_network.model)
    for name, values in tensors.items():
        _set(model, name.replace("_", "."), values)
    return replace(int8_network, model=model.SerializeToString())


def test_int8_logits_equal_those_of_the_graph(int8_network: Artifact) -> None:
    """
    Bit for bit, also on noise, since all sums are exact.
    """
    layers = dense_layers.read(int8_network)
    engine = Engine.load(int8_network)
    noise = np.random.default_rng(1).integers(0, 256, (50, 28, 28), np.uint8)

    dense_layers.check(int8_network, layers, lambda images: engine.run(images).logits)
    found = dense_layers.logits(layers, noise)

    np.testing.assert_array_equal(found.astype(np.float32), engine.run(noise).logits)


def test_int8_weights_are_dequantized(int8_network: Artifact) -> None:
    """
    To float32 weights for pixels of 0 to 1 and for dequantized activations.
    """
    layers = dense_layers.read(int8_network)
    tensors = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx.ModelProto.FromString(int8_network.model).graph.initializer
    }

    pixels = tensors["hidden1.weight"] * tensors["hidden1.step"] * 255
    signals = tensors["output.weight"] * tensors["output.step"] / 0.125
    few = precision.gamma(4)  # a product and a quotient, here and there
    np.testing.assert_allclose(layers["hidden1"].weight, pixels, rtol=few)
    np.testing.assert_allclose(layers["output"].weight, signals, rtol=few)
    np.testing.assert_allclose(
        layers["output"].bias, tensors["output.bias"] * tensors["output.step"], rtol=few
    )
    for array in (layers["hidden1"].weight, layers["hidden1"].bias):
        assert array.dtype == np.dtype(np.float32)
        assert not array.flags.writeable


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        (
            {"hidden1_weight": np.full((784, 12), 65, np.int8)},
            "'hidden1': weights should be at most 64; got 65",
        ),
        ({"hidden1_weight": np.full((784, 12), -65, np.int8)}, "'hidden1': weights should be at most 64"),
        ({"output_bias": np.full(4, 2**24, np.int32)}, "'output': sums should be at most 16,777,216"),
        ({"hidden1_bias": np.full(12, -(2**31), np.int32)}, "'hidden1': sums should be at most"),
        ({"hidden1_step": np.full(12, 0.003, np.float32)}, "'hidden1': steps should be powers of two"),
        ({"hidden1_given": np.array(0.1, np.float32)}, "'hidden1': steps should be powers of two"),
        ({"hidden1_given": np.array(-0.5, np.float32)}, "'hidden1': steps should be powers of two"),
        ({"output_step": np.array([1, 1, np.nan, 1], np.float32)}, "'output': steps should be above 0"),
        ({"output_step": np.zeros(4, np.float32)}, "'output': steps should be above 0"),
        ({"hidden1_weight": np.zeros((12, 784), np.int8)}, "'hidden1.weight' should be .784, 12. int8"),
        ({"hidden1_weight": np.zeros((784, 12), np.float32)}, "'hidden1.weight' should be"),
        ({"output_bias": np.zeros(4, np.float32)}, "'output.bias' should be .4,. int32"),
    ],
)
def test_int8_layers_that_depend_on_the_processor_are_refused(
    int8_network: Artifact, tensors: dict[str, NDArray[np.generic]], reason: str
) -> None:
    """
    Pairs of products beyond 16 bits, sums that are not exact in float32, scales that require rounding.
    """
    with pytest.raises(GraphRefused, match=f"rounded/1: .*{reason}"):
        dense_layers.read(_altered(int8_network, **tensors))


@pytest.mark.parametrize(
    "tensors",
    [
        {"hidden1_weight": np.ones((784, 12), np.int8)},
        {"output_bias": np.zeros(4, np.int32)},
        {"hidden1_given": np.array(0.25, np.float32)},
    ],
    ids=["weights", "biases", "rounding"],
)
def test_int8_layers_different_from_the_graph_are_refused(
    int8_network: Artifact, tensors: dict[str, NDArray[np.generic]]
) -> None:
    """
    The tensors named in the manifest are not those that the graph uses.
    """
    engine = Engine.load(int8_network)
    layers = dense_layers.read(_altered(int8_network, **tensors))

    with pytest.raises(GraphRefused, match="logits should be those of the manifest's layers"):
        dense_layers.check(int8_network, layers, lambda images: engine.run(images).logits)
