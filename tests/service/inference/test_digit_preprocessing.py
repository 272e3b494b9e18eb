"""`service/inference/preprocessing.py`: digits; photographs are in test_preprocessing.py."""

import base64
import json

import numpy as np
import pytest
from PIL import Image

from service.codecs import content_types
from service.codecs.drawings import Drawing, Drawings
from service.core.drawing import mnist
from service.core.errors import BlankImage, MalformedRequest, TensorMismatch
from service.inference import preprocessing
from tests import digits
from tests.service.http.bodies import LIMITS, SHAPE, form, images, picture, read

BATCH = images(1, 2)
ONE = picture(Image.fromarray(BATCH[0]))


def test_images_of_the_models_shape_are_unchanged_unless_preprocessing_is_requested() -> None:
    """
    Numbers and image files; `mnist` preprocesses them.
    """
    prepared = mnist.from_picture(BATCH[0])

    found = [read("application/octet-stream", BATCH[0].tobytes(), how) for how in (None, "none", "mnist")]
    drawn = [read("image/png", ONE, how) for how in (None, "none", "mnist")]

    for one, two, expected in zip(found, drawn, [BATCH[0], BATCH[0], prepared], strict=True):
        np.testing.assert_array_equal(one, expected[None])
        np.testing.assert_array_equal(two, expected[None])
    assert not np.array_equal(prepared, BATCH[0])


def test_image_files_of_another_size_and_strokes_are_preprocessed() -> None:
    """
    With `core.drawing.mnist`.
    """
    strokes = digits.DIGITS["4"][0]
    canvas = digits.canvas(strokes, 100)

    seen = read("image/png", picture(canvas))
    drawn = read("application/json", json.dumps({"strokes": strokes}).encode(), "mnist")

    np.testing.assert_array_equal(seen[0], mnist.from_picture(np.asarray(canvas)))
    np.testing.assert_array_equal(drawn[0], mnist.from_strokes(digits.arrays(strokes)))


def test_other_sizes_without_preprocessing_are_refused() -> None:
    """
    The message contains the field and both sizes.
    """
    strokes = json.dumps({"strokes": digits.DIGITS["1"][0]}).encode()

    with pytest.raises(TensorMismatch, match=r"^Body should be 28 x 28 pixels; got 20 x 30.$"):
        read("image/png", picture(Image.new("L", (20, 30))), "none")
    with pytest.raises(TensorMismatch, match=r"^Field 'strokes' should be 28 x 28 pixels; got strokes.$"):
        read("application/json", strokes, "none")


@pytest.mark.parametrize("how", [None, "none"])
def test_models_of_another_shape_accept_only_numbers(how: preprocessing.Preprocessing | None) -> None:
    """
    Image files and strokes are refused before decoding.
    """
    file = [Drawing("Body", b"no picture at all")]
    strokes = [Drawing("Field 'strokes'", digits.arrays(digits.DIGITS["1"][0]))]

    with pytest.raises(TensorMismatch, match=r"^Body should be 6 x 5 numbers for this model; got a picture"):
        preprocessing.prepare(file, (6, 5), LIMITS, how)
    with pytest.raises(TensorMismatch, match=r"^Field 'strokes' should be 6 x 5 numbers .*; got strokes.$"):
        preprocessing.prepare(strokes, (6, 5), LIMITS, how)


def test_models_of_another_shape_have_no_preprocessing() -> None:
    batch = np.zeros((1, 6, 5), np.uint8)

    with pytest.raises(MalformedRequest, match=r"^Query 'prepare' should be none, or left out, .* 6 x 5 "):
        preprocessing.prepare(batch, (6, 5), LIMITS, "mnist")


def test_blank_images_are_reported_with_their_index() -> None:
    batch = np.stack([BATCH[0], np.full(SHAPE, 9, np.uint8)])

    with pytest.raises(BlankImage, match=r"^Image 1 should show something drawn; got "):
        read("application/octet-stream", batch.tobytes(), "mnist")


@pytest.mark.parametrize(
    ("body", "how", "quick"),
    [(BATCH.tobytes(), None, True), (BATCH.tobytes(), "none", True), (BATCH.tobytes(), "mnist", False)],
)
def test_arrays_are_quick_without_preprocessing(
    body: bytes, how: preprocessing.Preprocessing | None, quick: bool
) -> None:
    numbers = content_types.decode(b"application/octet-stream", body, SHAPE, LIMITS)

    assert preprocessing.is_quick(numbers, how) == quick


def decoded(content_type: str, body: bytes) -> Drawings:
    return content_types.decode(content_type.encode(), body, SHAPE, LIMITS)


def canvas(side: int, mode: str) -> bytes:
    return picture(digits.canvas(digits.DIGITS["3"][0], side, 12).convert(mode))


@pytest.mark.parametrize(
    ("file", "quick"),
    [
        (ONE, True),
        (canvas(280, "L"), True),
        (canvas(280, "RGBA"), True),
        (canvas(480, "L"), True),
        (canvas(480, "RGB"), False),
        (canvas(700, "L"), False),
        (b"no picture", False),
    ],
)
@pytest.mark.parametrize("how", [None, "none", "mnist"])
def test_one_small_image_file_is_quick(
    file: bytes, quick: bool, how: preprocessing.Preprocessing | None
) -> None:
    """
    As a file, in JSON or in a form; large files and several files are not.
    """
    text = base64.b64encode(file).decode()
    alone = [
        content_types.decode(b"image/png", file, SHAPE, LIMITS),
        content_types.decode(b"application/json", json.dumps({"image": text}).encode(), SHAPE, LIMITS),
        decoded(*form(("a", file))),
    ]
    two = decoded(*form(("a", file), ("b", file)))

    assert [preprocessing.is_quick(drawings, how) for drawings in alone] == [quick] * 3
    assert not preprocessing.is_quick(two, how)


def test_small_image_files_are_preprocessed_if_their_background_is_light() -> None:
    """
    The networks expect light digits on a dark background, also for files of 28 x 28.
    """
    digit = mnist.from_strokes(digits.arrays(digits.DIGITS["3"][0]))
    dark, light = (picture(Image.fromarray(grey)) for grey in (digit, 255 - digit))

    np.testing.assert_array_equal(read("image/png", dark)[0], digit)
    np.testing.assert_array_equal(read("image/png", light)[0], mnist.from_picture(255 - digit))
    np.testing.assert_array_equal(read("image/png", light, "none")[0], 255 - digit)
