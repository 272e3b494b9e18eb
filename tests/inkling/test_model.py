"""A network in process: the same predictions as the service, for every kind of input."""

import io
import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from inkling import Model, inputs
from inkling.errors import (
    BlankImage,
    BrokenPicture,
    MalformedRequest,
    ModelError,
    ModelNotFound,
    PayloadTooLarge,
    TensorMismatch,
)
from tests import digits, toys
from tests.conftest import REPOSITORY

SEVEN = digits.DIGITS["7"][0]


@pytest.fixture(scope="module")
def ink(published: Path) -> Model:
    return Model.load(published / "ink")


@pytest.fixture(scope="module")
def quadrants(toy_root: Path) -> Model:
    return Model.load(toy_root / "quadrants" / "1")


def png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def test_a_model_is_found_by_its_name_and_by_its_version(toy_root: Path) -> None:
    """
    The newest version, a version in the path, a version as an argument.
    """
    newest = Model.load(toy_root / "quadrants")

    assert (newest.name, newest.version, newest.shape) == ("quadrants", "2", (28, 28))
    assert newest.labels == toys.QUARTERS
    assert Model.load(str(toy_root / "quadrants" / "1")).version == "1"
    assert Model.load(toy_root / "quadrants", "1").version == "1"


def test_a_missing_model_is_named(toy_root: Path, tmp_path: Path) -> None:
    """
    With what was expected: a folder of a model, and one of its versions.
    """
    with pytest.raises(ModelNotFound, match=r"models/<name>.*no folder"):
        Model.load(tmp_path / "ink")
    with pytest.raises(ModelNotFound, match="without a version"):
        Model.load(toy_root)
    with pytest.raises(ModelNotFound, match="should be one of 1, 2; got '3'"):
        Model.load(toy_root / "quadrants", "3")


def test_a_damaged_model_is_refused(toy_root: Path, tmp_path: Path) -> None:
    """
    As the service does: the digest of the network differs from its manifest.
    """
    shutil.copytree(toy_root / "quadrants", tmp_path / "quadrants")
    network = tmp_path / "quadrants" / "1" / "model.onnx"
    network.write_bytes(network.read_bytes() + b"\0")

    with pytest.raises(ModelError, match="SHA-256"):
        Model.load(tmp_path / "quadrants" / "1")


@pytest.mark.parametrize("name", ["strokes", "picture", "array"])
def test_predictions_equal_those_of_the_service(ink: Model, real_client: TestClient, name: str) -> None:
    """
    Label, probabilities, sure and prepared; confidence to float32, which JSON has in full.
    """
    small = np.asarray(digits.canvas(SEVEN, dark_on_light=False).resize((28, 28)))
    sent: dict[str, tuple[Any, dict[str, Any]]] = {
        "strokes": (SEVEN, {"json": {"strokes": SEVEN}}),
        "picture": (
            digits.canvas(SEVEN),
            {"content": png(digits.canvas(SEVEN)), "headers": {"content-type": "image/png"}},
        ),
        "array": (small, {"json": {"image": small.tolist()}}),
    }
    image, request = sent[name]

    (found,) = ink.predict(image, top=10)
    answer = real_client.post("/v1/models/ink/predict?top=10", **request).json()["predictions"][0]

    assert found.label == answer["label"] == "7"
    assert (found.index, found.sure) == (answer["index"], answer["sure"])
    assert found.prepared == answer.get("prepared", False) == (name == "array")
    assert [part.label for part in found.top] == [part["label"] for part in answer["top"]]
    np.testing.assert_array_equal(
        np.array([part.probability for part in found.top], np.float32),
        np.array([part["probability"] for part in answer["top"]], np.float32),
    )


def kinds(folder: Path) -> dict[str, Any]:
    """Return a seven in every accepted form of one image."""
    picture = digits.canvas(SEVEN)
    path = folder / "seven.png"
    path.write_bytes(png(picture))
    strokes = folder / "seven.json"
    strokes.write_text(json.dumps({"strokes": SEVEN}))
    grey = np.asarray(picture)
    return {
        "path": path,
        "text of a path": str(path),
        "bytes": path.read_bytes(),
        "Pillow": picture,
        "Pillow in CMYK": picture.convert("CMYK"),
        "Pillow in float": picture.convert("F"),
        "grey array": grey,
        "array with a channel": grey[..., None],
        "colour array": np.stack([grey] * 3, axis=-1),
        "colour array with alpha": np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=-1),
        "strokes": SEVEN,
        "strokes as arrays": [np.array(stroke) for stroke in SEVEN],
        "strokes by name": {"strokes": SEVEN},
        "file of strokes": strokes,
        "Hugging Face's dictionary": {"bytes": path.read_bytes(), "path": None},
        "Hugging Face's path": {"bytes": None, "path": str(path)},
    }


def test_every_kind_of_input_is_accepted(ink: Model, tmp_path: Path) -> None:
    """
    Alone, and in a list of all kinds.
    """
    accepted = kinds(tmp_path)

    alone = {name: [item.label for item in ink.predict(image)] for name, image in accepted.items()}
    together = ink.predict(list(accepted.values()))

    assert alone == {name: ["7"] for name in accepted}
    assert together.labels == ["7"] * len(accepted)


def test_stacks_of_pictures_are_several_images(ink: Model) -> None:
    """
    (n, H, W) and (n, H, W, 3), of another size than the model's.
    """
    grey = np.stack([np.asarray(digits.canvas(digits.DIGITS[label][0])) for label in "70"])

    assert ink.predict(grey).labels == ["7", "0"]
    assert ink.predict(np.stack([grey] * 3, axis=-1)).labels == ["7", "0"]


@pytest.mark.parametrize(
    ("change", "count"),
    [
        (lambda images: images, 3),
        (lambda images: images.reshape(3, 784), 3),
        (lambda images: images[0], 1),
        (lambda images: images[0].ravel(), 1),
        (lambda images: (images / 255).astype(np.float32), 3),
        (lambda images: images.tolist(), 3),
        (lambda images: images[0].tolist(), 1),
        (list, 3),
        (lambda images: [images[0].ravel(), images[1], images[2].tolist()], 3),
    ],
)
def test_arrays_of_the_models_shape_are_images(
    quadrants: Model, change: Callable[[NDArray[np.uint8]], Any], count: int
) -> None:
    """
    Nested or flat, integers or floats, as arrays or lists.
    """
    images = np.stack([toys.dot(0), toys.dot(3), toys.dot(2)])

    found = quadrants.predict(change(images), prepare="none")

    assert found.labels == [toys.QUARTERS[i] for i in (0, 3, 2)][:count]


class Frame:
    """What pandas and Polars have in common."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self._columns = columns
        self.columns = list(columns)

    def __getitem__(self, name: Any) -> Any:  # noqa: ANN401 - a column or a frame
        return (
            self._columns[name] if isinstance(name, str) else Frame({one: self._columns[one] for one in name})
        )

    def to_numpy(self) -> NDArray[Any]:
        return np.stack(list(self._columns.values()), axis=1)


def test_data_frames_have_a_column_a_pixel_or_a_column_of_pictures(quadrants: Model, ink: Model) -> None:
    """
    Kaggle's label is passed over; another number of columns is refused.
    """
    pixels = np.stack([toys.dot(1), toys.dot(2)]).reshape(2, 784)
    columns = {f"pixel{i}": pixels[:, i] for i in range(784)}

    assert quadrants.predict(Frame({"label": np.array([7, 8]), **columns}), prepare="none").labels == [
        toys.QUARTERS[1],
        toys.QUARTERS[2],
    ]
    assert ink.predict(Frame({"image": [png(digits.canvas(SEVEN))], "id": [5]})).labels == ["7"]
    with pytest.raises(MalformedRequest, match="784 columns of pixels, or a column 'image'; got 2 columns"):
        quadrants.predict(Frame({"a": pixels[:, 0], "b": pixels[:, 1]}))


def test_many_images_are_predicted_in_chunks(quadrants: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With the same result as one by one, and in their order.
    """
    images = np.stack([toys.dot(i % 4) for i in range(25)])
    together = quadrants.predict(images, prepare="none")
    monkeypatch.setattr(inputs, "CHUNK", 4)
    monkeypatch.setattr(inputs.chunks, "__defaults__", (inputs.LIMITS, 4))

    found = quadrants.predict(images, prepare="none")

    assert found == together
    assert len([*quadrants.runs(images, "none")]) == 7
    assert found.labels == [toys.QUARTERS[i % 4] for i in range(25)]
    np.testing.assert_array_equal(found.indices, np.arange(25) % 4)
    assert quadrants.probabilities(images, prepare="none").shape == (25, 4)


def test_an_error_names_the_image_by_its_place_in_the_input(
    quadrants: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Also in a later chunk, for arrays, floats and lists.
    """
    monkeypatch.setattr(inputs.chunks, "__defaults__", (inputs.LIMITS, 4))
    images = np.stack([np.asarray(toys.dot(0, 3))] * 10)
    images[6] = 0
    floats = np.full((10, 28, 28), 0.5)
    floats[9, 3, 2] = 1.5

    with pytest.raises(BlankImage, match="Image 6 "):
        quadrants.predict(images)
    with pytest.raises(BlankImage, match="Image 6 "):
        quadrants.predict([Image.fromarray(image) for image in images])
    with pytest.raises(MalformedRequest, match=r"Array\[9, 3, 2\] should be a number 0..1; got 1.5"):
        quadrants.predict(floats, prepare="none")


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ([], MalformedRequest, "at least one; got none"),
        (5, MalformedRequest, "arrays, pictures, paths, strokes or a data frame; got int"),
        ([object()], MalformedRequest, "Image 0 should be an array, a picture"),
        (np.zeros((3, 27, 27)), TensorMismatch, "float64 of shape"),
        (np.zeros((0, 28, 28), np.uint8), MalformedRequest, "n >= 1"),
        (np.array([["a"] * 28] * 28), MalformedRequest, "floats 0..1 or booleans"),
        ([[1, 2], [3]], MalformedRequest, "equal lengths"),
        (b"no picture", BrokenPicture, "Image 0 should be a PNG, JPEG or WebP picture"),
        ({"strokes": [[[1, 2]]], "more": 1}, MalformedRequest, "Image 0"),
        ({"strokes": [[[1, 1e12]]]}, MalformedRequest, "1,000,000,000; got"),
        ([[[1, 2]] * 10_001], PayloadTooLarge, "10,000 points"),
        (toys.dot(), BlankImage, "Image 0 "),
    ],
)
def test_bad_input_is_refused(quadrants: Model, image: Any, error: type[Exception], message: str) -> None:  # noqa: ANN401 - anything
    """
    With what was expected and what was received.
    """
    with pytest.raises(error, match=message):
        quadrants.predict(image)


def test_a_missing_file_is_an_os_error(quadrants: Model, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        quadrants.predict(tmp_path / "none.png")


def test_a_bomb_is_refused_in_process_as_well(quadrants: Model) -> None:
    """
    16 million pixels at most; the file is not decoded.
    """
    with pytest.raises(PayloadTooLarge, match="16,000,000 pixels"):
        quadrants.predict(png(Image.new("1", (19_000, 1_000))))


def test_a_model_without_a_threshold_is_never_sure(quadrants: Model) -> None:
    found = quadrants.predict(toys.dot(1), prepare="none")

    assert found.sure is None
    assert found[0].sure is None


def test_threads_share_a_model(ink: Model) -> None:
    """
    Eight threads get the predictions of one.
    """
    pictures = [np.asarray(digits.canvas(way[0])) for way in digits.DIGITS.values()]
    expected = ink.predict(pictures)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: ink.predict(pictures), range(16)))

    assert all(one == expected for one in found)


def test_a_pickled_model_is_its_path_and_version(toy_root: Path) -> None:
    """
    The copy predicts the same, and few bytes travel.
    """
    model = Model.load(toy_root / "quadrants", "1")

    data = pickle.dumps(model)
    copy = pickle.loads(data)

    assert len(data) < 1000
    assert (copy.version, copy.predict(toys.dot(2), prepare="none").labels) == ("1", [toys.QUARTERS[2]])


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_share_a_model(toy_root: Path, method: str) -> None:
    """
    Started afresh or forked.
    """
    model = Model.load(toy_root / "quadrants", "1", threads=2)
    model.predict(toys.dot(2), prepare="none")

    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        found = list(pool.map(predicted, [model] * 4))

    assert found == [[toys.QUARTERS[2]]] * 4


def predicted(model: Model) -> list[str]:
    return model.predict(toys.dot(2), prepare="none").labels


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_other_threads_predict_can_predict(toy_root: Path) -> None:
    """
    With an engine of several threads, which do not survive the fork.
    """
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.inkling.forks", str(toy_root)]

    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)

    assert found.returncode == 0, found.stderr


def test_predictions_are_a_sequence(quadrants: Model) -> None:
    """
    With slices, arrays of their columns, and a short representation.
    """
    found = quadrants.predict(np.stack([toys.dot(i) for i in range(4)]), prepare="none", top=2)

    assert len(found) == 4
    assert found[1:].labels == list(toys.QUARTERS[1:])
    assert found[-1].top[0].label == toys.QUARTERS[3]
    assert len(found[0].top) == 2
    assert found.confidences.dtype == np.float32
    assert found != [*found]
    assert hash(found) == hash(found[:])
    assert repr(found).startswith("Predictions('quadrants', '1', 4 images: ['upper left'")
    assert sys.getsizeof(found[0]) < 200


def test_a_number_is_several_digits_and_not_sure(ink: Model) -> None:
    """
    As the service says.
    """
    three = digits.DIGITS["3"][0]
    number = three + [[[x + 70, y] for x, y in stroke] for stroke in three]

    many = ink.predict([{"strokes": number}, {"strokes": three}])

    assert [(item.several, item.sure) for item in many] == [(True, False), (False, True)]
