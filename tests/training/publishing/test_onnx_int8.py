import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from service.core.artifact.manifest import Layer
from service.core.network import onnx_graph
from service.core.network.dense_layers import Dense
from service.core.network.int8 import Int8Dense
from tests import precision, toys
from training.publishing.onnx_int8 import layers as described
from training.publishing.onnx_int8 import to_onnx
from training.quantisation.comparison import layer_logits
from training.quantisation.gptq import quantise_layers

SHAPE = (6, 5)


def _images(seed: int, count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), np.uint8)


@pytest.fixture(scope="module")
def layers() -> dict[str, Int8Dense]:
    """A quantised network 30-12-8-4 with random weights."""
    generator = np.random.default_rng(1)

    def dense(inputs: int, units: int, is_rectified: bool) -> Dense:
        weight = generator.normal(size=(inputs, units)).astype(np.float32)
        return Dense(weight, generator.normal(size=units).astype(np.float32), is_rectified)

    floats = {
        "hidden1": dense(30, 12, is_rectified=True),
        "hidden2": dense(12, 8, is_rectified=True),
        "output": dense(8, 4, is_rectified=False),
    }
    return quantise_layers(floats, _images(2, 300))


@pytest.fixture(scope="module")
def content(layers: dict[str, Int8Dense]) -> bytes:
    return to_onnx(layers, SHAPE, 2.5)


def _session(content: bytes, level: onnxruntime.GraphOptimizationLevel) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def test_the_file_gives_the_logits_of_its_layers(layers: dict[str, Int8Dense], content: bytes) -> None:
    """
    Bit by bit, with and without operator fusion, and by ONNX's reference implementation.
    """
    images = _images(3, 200)
    expected = layer_logits(layers, images)
    levels = onnxruntime.GraphOptimizationLevel

    for level in (levels.ORT_ENABLE_ALL, levels.ORT_DISABLE_ALL):
        (logits,) = _session(content, level).run(["logits"], {"image": images})
        np.testing.assert_array_equal(logits, expected)
    (defined,) = ReferenceEvaluator(content).run(["logits"], {"image": images})
    np.testing.assert_array_equal(defined, expected)


def test_the_probabilities_are_those_of_the_temperature(layers: dict[str, Int8Dense], content: bytes) -> None:
    """
    Softmax of the logits over 2.5.
    """
    images = _images(3, 20)

    (found,) = _session(content, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL).run(
        ["probabilities"], {"image": images}
    )

    logits = layer_logits(layers, images)
    off = np.abs(found - toys.softmax(logits, 2.5))
    assert np.all(off <= precision.softmax_error(logits, 2.5))


def test_the_service_reads_the_quantised_file(content: bytes) -> None:
    """
    Its ONNX reader knows every operator, and finds int8 matrices.
    """
    found = onnx_graph.read(content)

    assert found.tensors["hidden1.weight"].dtype == np.dtype(np.int8)
    assert found.tensors["hidden1.weight"].shape == (30, 12)
    assert found.tensors["output.bias"].dtype == np.dtype(np.int32)


def test_the_same_layers_give_the_same_bytes(layers: dict[str, Int8Dense], content: bytes) -> None:
    """
    Without a temperature there is no division.
    """
    assert to_onnx(layers, SHAPE, 2.5) == content
    plain = onnx.ModelProto.FromString(to_onnx(layers, SHAPE))
    assert "Div" not in {node.op_type for node in plain.graph.node}


def test_the_manifests_layers_name_the_scales() -> None:
    """
    As for float32, except for the tensors; the last layer has no output scale.
    """
    floats = [
        Layer(name=name, inputs=inputs, units=units, activation=activation, weight="w", bias="b")
        for name, inputs, units, activation in (("hidden1", 30, 12, "relu"), ("output", 12, 4, "none"))
    ]

    first, last = described(floats)

    assert (first.inputs, first.units, first.activation) == (30, 12, "relu")
    assert (first.weight, first.bias) == ("hidden1.weight", "hidden1.bias")
    assert first.rounding is not None
    assert (first.rounding.step, first.rounding.given) == ("hidden1.step", "hidden1.given")
    assert last.rounding is not None
    assert (last.rounding.step, last.rounding.given) == ("output.step", None)
