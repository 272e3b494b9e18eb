from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.core.artifact import artifact
from service.core.artifact.artifact import Artifact
from service.core.errors import (
    ArtifactError,
    GoldenMismatch,
    GraphRefused,
    InferenceFailed,
    TensorMismatch,
)
from service.core.network.engine import Engine
from tests import precision, toys
from tests.examples import examples

IMAGES = npst.arrays(np.uint8, st.tuples(st.integers(1, 5), st.just(28), st.just(28)))


@pytest.fixture(scope="module")
def quadrants(toy_root: Path) -> Artifact:
    return artifact.read(toy_root, "quadrants", "1")


@pytest.fixture(scope="module")
def engine(quadrants: Artifact) -> Engine:
    return Engine.load(quadrants)


def _with_model(published: Artifact, alter: Callable[[onnx.ModelProto], object]) -> Artifact:
    """Return the artifact with another graph."""
    model = toys.onnx_model(toys.quadrant_weights())
    alter(model)
    return replace(published, model=model.SerializeToString())


# --- Running


def test_scores_of_one_white_pixel(engine: Engine) -> None:
    """
    A pixel in the lower right: logit 1 for that quadrant, 0 for the others.
    """
    scores = engine.run(toys.dot(3)[None])

    np.testing.assert_array_equal(scores.logits, [[0, 0, 0, 1]])
    off = np.abs(scores.probabilities - np.array([[1, 1, 1, np.e]]) / (3 + np.e))
    assert np.all(off <= precision.softmax_error(scores.logits))


@examples(50)
@given(images=IMAGES)
def test_scores_equal_a_float64_forward_pass(engine: Engine, images: NDArray[np.uint8]) -> None:
    """
    Logits and probabilities of any batch, within the error of float32.
    """
    weights = toys.quadrant_weights()
    expected = toys.expected_logits(images, weights)
    error = precision.logit_error(toys.layers(weights), images)

    scores = engine.run(images)

    assert scores.logits.dtype == scores.probabilities.dtype == np.dtype(np.float32)
    assert np.all(np.abs(scores.logits - expected) <= error)
    off = np.abs(scores.probabilities - toys.softmax(expected))
    assert np.all(off <= precision.probability_error(error))
    own = np.abs(scores.probabilities - toys.softmax(scores.logits))
    assert np.all(own <= precision.softmax_error(scores.logits))


@examples(50)
@given(images=IMAGES)
def test_batch_equals_its_rows(engine: Engine, images: NDArray[np.uint8]) -> None:
    together = engine.run(images)
    alone = [engine.run(image[None]) for image in images]

    error = precision.logit_error(toys.layers(toys.quadrant_weights()), images)
    off = np.abs(together.logits - np.concatenate([it.logits for it in alone]))
    assert np.all(off <= 2 * error)
    assert together.logits.shape == together.probabilities.shape == (len(images), 4)


def test_views_of_images_are_supported(engine: Engine) -> None:
    """
    Such as a flipped image.
    """
    image = toys.dot(0)[None, ::-1, ::-1]

    assert engine.run(image).logits.argmax() == 3


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 28, 28), np.float32),
        np.zeros((1, 28, 28), np.int64),
        np.zeros((1, 28, 28), np.bool_),
        np.zeros((28, 28), np.uint8),
        np.zeros((1, 784), np.uint8),
        np.zeros((1, 28, 27), np.uint8),
        np.zeros((1, 28, 28, 1), np.uint8),
        np.zeros((0, 28, 28), np.uint8),
        np.zeros((), np.uint8),
    ],
    ids=lambda images: f"{images.shape} {images.dtype}",
)
def test_other_types_and_shapes_are_refused(engine: Engine, images: NDArray[np.uint8]) -> None:
    """
    The message contains the expected and the actual type and shape.
    """
    with pytest.raises(TensorMismatch) as caught:
        engine.run(images)
    assert caught.value.field == "Input 'image'"
    assert "(B, 28, 28) uint8" in caught.value.expected
    assert caught.value.got == f"{images.shape} {images.dtype}"


def test_failures_of_the_runtime_become_inference_failed(quadrants: Artifact) -> None:
    """
    The message names the model.
    """

    class Failing:
        def run(self, names: Sequence[str], inputs: dict[str, Any]) -> None:
            raise RuntimeError(names, inputs)

    engine = Engine(quadrants, Failing())

    with pytest.raises(InferenceFailed, match="'quadrants' version 1") as caught:
        engine.run(toys.dot(0)[None])
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("threads", [1, 3])
def test_number_of_threads_is_passed_to_the_runtime(
    quadrants: Artifact, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    asked: list[tuple[int, int]] = []

    class Recording(onnxruntime.InferenceSession):  # type: ignore[misc]  # it has no types
        def __init__(self, model: bytes, options: onnxruntime.SessionOptions, **others: object) -> None:
            asked.append((options.intra_op_num_threads, options.inter_op_num_threads))
            super().__init__(model, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Recording)
    Engine.load(quadrants, threads)

    assert asked == [(threads, 1)]


# --- Reproducing the golden examples


def test_altered_weights_are_refused(quadrants: Artifact) -> None:
    """
    They do not reproduce the golden examples.
    """
    other = toys.onnx_model(toys.quadrant_weights()[::-1].copy()).SerializeToString()

    with pytest.raises(GoldenMismatch, match=r"within 0\.0001"):
        Engine.load(replace(quadrants, model=other))


@pytest.mark.parametrize("part", ["logits", "probabilities"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 0.5])
def test_one_wrong_golden_output_is_refused(quadrants: Artifact, part: str, wrong: float) -> None:
    """
    In logits or probabilities; including NaN.
    """
    answers = getattr(quadrants.golden, part).copy()
    answers[1, 2] = wrong
    golden = replace(quadrants.golden, **{part: answers})

    with np.errstate(invalid="ignore"), pytest.raises(GoldenMismatch):
        Engine.load(replace(quadrants, golden=golden))


def test_networks_with_nan_outputs_are_refused(quadrants: Artifact) -> None:
    """
    In logits or probabilities.
    """

    def alter(model: onnx.ModelProto) -> None:
        zero = numpy_helper.from_array(np.array(0, np.float32), "zero")
        model.graph.initializer.append(zero)
        del model.graph.node[-1]
        model.graph.node.append(helper.make_node("Softmax", ["logits"], ["soft"], axis=1))
        model.graph.node.append(helper.make_node("Mul", ["soft", "zero"], ["none"]))
        model.graph.node.append(helper.make_node("Div", ["none", "zero"], ["probabilities"]))

    with pytest.raises(GoldenMismatch):
        Engine.load(_with_model(quadrants, alter))


@pytest.mark.parametrize(("off", "is_met"), [(0.9e-4, True), (1.1e-4, False)])
@pytest.mark.parametrize(("part", "size"), [("probabilities", 0.0), ("logits", 0.0), ("logits", 100.0)])
def test_tolerance_is_absolute_for_probabilities_and_relative_for_large_logits(
    quadrants: Artifact, part: str, size: float, off: float, is_met: bool
) -> None:
    """
    A logit of 100 may differ 100 times as much.
    """
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, :14, :14].flat[: int(size)] = 255
    logits = toys.expected_logits(image, toys.quadrant_weights())
    answers: dict[str, Any] = {"logits": logits, "probabilities": toys.softmax(logits)}
    assert logits[0, 0] == size
    answers[part] = answers[part] + np.float32(off * max(1, size)) * np.eye(1, 4, dtype=np.float32)
    golden = replace(quadrants.golden, images=image, **answers)

    assert _is_loaded(replace(quadrants, golden=golden)) is is_met


@pytest.mark.parametrize("temperature", [0.25, 1.7, 40.0])
def test_networks_with_the_temperature_of_their_manifest_are_loaded(
    tmp_path: Path, temperature: float
) -> None:
    published = toys.publish(tmp_path, temperature=temperature)

    scores = Engine.load(published).run(toys.dot(0, 1)[None])

    off = np.abs(scores.probabilities - toys.softmax(scores.logits, temperature))
    assert np.all(off <= precision.softmax_error(scores.logits, temperature))


@pytest.mark.parametrize(
    ("inside", "told"), [(1.0, 1.01), (2.0, 2.02), (2.0, 1.0), (1.0, 0.5), (0.01, 0.02), (0.001, 1.0)]
)
def test_networks_with_another_temperature_are_refused(tmp_path: Path, inside: float, told: float) -> None:
    """
    Golden examples cannot detect it, since the same graph made them; also with saturated probabilities.
    """
    published = toys.publish(tmp_path, temperature=inside)
    manifest = published.manifest.model_copy(update={"temperature": told})

    with pytest.raises(GraphRefused, match=f"softmax of the logits over {told:g}; got others"):
        Engine.load(replace(published, manifest=manifest))


def _is_loaded(published: Artifact) -> bool:
    try:
        Engine.load(published)
    except GoldenMismatch:
        return False
    return True


def _initializer(model: onnx.ModelProto, name: str, values: NDArray[Any]) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(values, name))


def _two_rows_an_image(model: onnx.ModelProto) -> None:
    _initializer(model, "flat", np.array([-1, 392], np.int64))
    _initializer(model, "output.weight", np.ones((4, 392), np.float32))


def _one_row_for_three(model: onnx.ModelProto) -> None:
    _initializer(model, "flat", np.array([-1, 3 * 784], np.int64))
    _initializer(model, "output.weight", np.ones((4, 3 * 784), np.float32))


@pytest.mark.parametrize("alter", [_two_rows_an_image, _one_row_for_three])
def test_networks_with_a_wrong_batch_size_are_refused(
    quadrants: Artifact, alter: Callable[[onnx.ModelProto], None]
) -> None:
    """
    The declared batch size is dynamic, so only a run detects this.
    """
    with pytest.raises(GoldenMismatch):
        Engine.load(_with_model(quadrants, alter))


def test_outputs_are_not_broadcast_over_the_batch(quadrants: Artifact) -> None:
    """
    One row for three images is refused even if all outputs are equal.
    """
    images = np.zeros((3, 28, 28), np.uint8)
    golden = replace(
        quadrants.golden,
        images=images,
        logits=np.zeros((3, 4), np.float32),
        probabilities=np.full((3, 4), 0.25, np.float32),
    )

    with pytest.raises(GoldenMismatch):
        Engine.load(replace(_with_model(quadrants, _one_row_for_three), golden=golden))


def test_networks_that_fail_on_their_golden_examples_are_refused(quadrants: Artifact) -> None:
    """
    The file loads, but no input has the number of pixels of its weights.
    """

    def alter(model: onnx.ModelProto) -> None:
        _initializer(model, "flat", np.array([-1, 1000], np.int64))
        _initializer(model, "output.weight", np.ones((4, 1000), np.float32))

    with pytest.raises(GoldenMismatch, match="could not run"):
        Engine.load(_with_model(quadrants, alter))


# --- Refusing


def _value(name: str, code: int, shape: Sequence[int | str] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, code, shape)


def _renamed_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "pixels"
    model.graph.node[0].input[0] = "pixels"


def _input(code: int, shape: Sequence[int | str] | None) -> Callable[[onnx.ModelProto], None]:
    return lambda model: model.graph.input[0].CopyFrom(_value("image", code, shape))


def _another_input(shape: Sequence[int | str] | None) -> Callable[[onnx.ModelProto], None]:
    return lambda model: model.graph.input.append(_value("more", TensorProto.FLOAT, shape))


def _renamed_output(model: onnx.ModelProto) -> None:
    model.graph.output[1].name = "chances"
    model.graph.node[-1].output[0] = "chances"


def _no_probabilities(model: onnx.ModelProto) -> None:
    del model.graph.output[1]


def _outputs_swapped(model: onnx.ModelProto) -> None:
    first, second = onnx.ValueInfoProto(), onnx.ValueInfoProto()
    first.CopyFrom(model.graph.output[0])
    second.CopyFrom(model.graph.output[1])
    del model.graph.output[:]
    model.graph.output.extend([second, first])


def _more_outputs(model: onnx.ModelProto) -> None:
    model.graph.output.append(_value("rows", TensorProto.FLOAT, ["batch", 784]))


def _outputs_without_shape(model: onnx.ModelProto) -> None:
    for output in model.graph.output:
        output.CopyFrom(_value(output.name, TensorProto.FLOAT, None))
    _input(TensorProto.UINT8, None)(model)


def _other_classes(model: onnx.ModelProto) -> None:
    _initializer(model, "output.weight", np.ones((5, 784), np.float32))
    _initializer(model, "output.bias", np.ones(5, np.float32))
    for output in model.graph.output:
        output.CopyFrom(_value(output.name, TensorProto.FLOAT, ["batch", 5]))


WRONG_SIGNATURES: dict[str, Callable[[onnx.ModelProto], None]] = {
    "input's name": _renamed_input,
    "input's type": _input(TensorProto.FLOAT, ["batch", 28, 28]),
    "flat input": _input(TensorProto.UINT8, ["batch", 784]),
    "larger input": _input(TensorProto.UINT8, ["batch", 32, 32]),
    "open input": _input(TensorProto.UINT8, ["batch", "height", "width"]),
    "fixed batch": _input(TensorProto.UINT8, [3, 28, 28]),
    "input without shape": _input(TensorProto.UINT8, None),
    "another input": _another_input([1]),
    "a scalar input": _another_input([]),
    "output's name": _renamed_output,
    "no probabilities": _no_probabilities,
    "outputs in another order": _outputs_swapped,
    "more outputs": _more_outputs,
    "nothing has a shape": _outputs_without_shape,
    "other classes": _other_classes,
}


@pytest.mark.parametrize("alter", WRONG_SIGNATURES.values(), ids=WRONG_SIGNATURES)
def test_networks_with_other_inputs_or_outputs_are_refused(
    quadrants: Artifact, alter: Callable[[onnx.ModelProto], None]
) -> None:
    """
    Names, types and shapes are compared with the manifest.
    """
    with pytest.raises(GraphRefused, match="quadrants/1: "):
        Engine.load(_with_model(quadrants, alter))


def _unknown_tensor(model: onnx.ModelProto) -> None:
    model.graph.node[3].input[1] = "nowhere"


def _future_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 10_000


@pytest.mark.parametrize("alter", [_unknown_tensor, _future_opset])
def test_files_that_the_runtime_cannot_load_are_refused(
    quadrants: Artifact, alter: Callable[[onnx.ModelProto], None]
) -> None:
    """
    Valid ONNX with allowed operators, but not a valid graph.
    """
    with pytest.raises(GraphRefused, match="could not be loaded") as caught:
        Engine.load(_with_model(quadrants, alter))
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("model", [b"", b"not ONNX", b"\x00" * 100])
def test_bytes_that_are_not_onnx_are_refused(quadrants: Artifact, model: bytes) -> None:
    """
    Before they are passed to the runtime.
    """
    with pytest.raises(GraphRefused, match="is refused"):
        Engine.load(replace(quadrants, model=model))


def test_names_that_are_not_utf8_are_refused(quadrants: Artifact) -> None:
    """
    The runtime loads such a file but fails to return the names of its axes.
    """
    assert b"batch" in quadrants.model

    with pytest.raises(GraphRefused):
        Engine.load(replace(quadrants, model=quadrants.model.replace(b"batch", b"b\x80tch")))


def test_external_weights_are_refused(
    quadrants: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Even if the file with the right weights exists.
    """

    def alter(model: onnx.ModelProto) -> None:
        weights = model.graph.initializer[2]
        (tmp_path / "weights.bin").write_bytes(weights.raw_data)
        onnx.external_data_helper.set_external_data(weights, "weights.bin")
        weights.ClearField("raw_data")

    monkeypatch.chdir(tmp_path)

    with pytest.raises(GraphRefused, match="inside the file"):
        Engine.load(_with_model(quadrants, alter))


def test_operators_outside_the_allow_list_are_refused(quadrants: Artifact) -> None:
    """
    Although the outputs would be the same.
    """

    def alter(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Sin", ["logits"], ["nobody"]))

    with pytest.raises(GraphRefused, match="'Sin'"):
        Engine.load(_with_model(quadrants, alter))


def test_files_are_never_loaded_in_the_ort_format(quadrants: Artifact) -> None:
    """
    Bytes 4 to 8 are ORTM, by which the runtime recognises its own format, which is not checked.
    """
    model = toys.onnx_model(toys.quadrant_weights())
    producer = b"\x12\x08..ORTM.."  # the field producer_name

    engine = Engine.load(replace(quadrants, model=producer + model.SerializeToString()))

    assert engine.run(toys.dot(2)[None]).logits.tolist() == [[0, 0, 1, 0]]


@examples(60)
@given(
    st.lists(
        st.tuples(st.integers(0, 700), st.binary(min_size=1, max_size=3), st.booleans()),
        min_size=1,
        max_size=3,
    )
)
def test_mutated_files_raise_only_artifact_errors(
    toy_root: Path, changes: list[tuple[int, bytes, bool]]
) -> None:
    """
    Bytes before or after the weights are changed: the file is refused, or loaded with the same outputs.
    """
    quadrants = artifact.read(toy_root, "quadrants", "1")
    data = bytearray(quadrants.model)
    for at, content, from_end in changes:
        place = len(data) - 1 - at if from_end else at
        data[place : place + len(content)] = content

    try:
        engine = Engine.load(replace(quadrants, model=bytes(data)))
    except ArtifactError:
        return
    golden = quadrants.golden
    np.testing.assert_allclose(engine.run(golden.images).logits, golden.logits, atol=golden.tolerance)
