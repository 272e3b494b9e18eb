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
from tests.service.http.bodies import LIMITS, SHAPE, form, images, npy, picture, read

BATCH = images(1, 2)
ONE = picture(Image.fromarray(BATCH[0]))


def decoded(content_type: str, body: bytes) -> Drawings:
    return content_types.decode(content_type.encode(), body, SHAPE, LIMITS)


def canvas(side: int, mode: str) -> bytes:
    return picture(digits.canvas(digits.DIGITS["3"][0], side, 12).convert(mode))


def test_an_image_like_mnists_is_unchanged_unless_preprocessing_is_requested() -> None:
    """
    As numbers or as a picture; `mnist` prepares it all the same.
    """
    digit = mnist.from_picture(np.asarray(digits.canvas(digits.DIGITS["3"][0])))
    file = picture(Image.fromarray(digit))
    ways: list[preprocessing.Preprocessing] = ["auto", "none", "mnist"]

    found = [read("application/octet-stream", digit.tobytes(), how) for how in ways]
    drawn = [read("image/png", file, how) for how in ways]

    for one, two, wanted in zip(found, drawn, [digit, digit, mnist.from_picture(digit)], strict=True):
        np.testing.assert_array_equal(one, wanted[None])
        np.testing.assert_array_equal(two, wanted[None])


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream", "application/x-npy"])
def test_other_arrays_are_preprocessed_by_auto_only(kind: str) -> None:
    """
    `auto` prepares them; None, which tensors of the open protocol have, and `none` do not.
    """
    small = digits.canvas(digits.DIGITS["3"][0], dark_on_light=False).resize((20, 20))
    canvas = np.pad(np.asarray(small), ((1, 7), (5, 3)))
    body = {
        "application/json": json.dumps({"image": canvas.tolist()}).encode(),
        "application/octet-stream": canvas.tobytes(),
        "application/x-npy": npy(canvas),
    }[kind]

    np.testing.assert_array_equal(read(kind, body, "auto")[0], mnist.from_picture(canvas))
    np.testing.assert_array_equal(read(kind, body)[0], canvas)
    np.testing.assert_array_equal(read(kind, body, "none")[0], canvas)


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
    """
    Whoever decides where work runs is told what takes long.
    """
    numbers = content_types.decode(b"application/octet-stream", body, SHAPE, LIMITS)

    assert preprocessing.is_quick(numbers, how) == quick


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
    A canvas of a page is, in a file or in JSON; a large picture is not, nor are several small ones.
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


def test_a_small_negative_of_an_mnist_image_is_inverted() -> None:
    """
    An MNIST image has a black background; black on white is answered like white on black.
    """
    digit = mnist.from_picture(np.asarray(digits.canvas(digits.DIGITS["3"][0])))
    dark, light = (picture(Image.fromarray(grey)) for grey in (digit, 255 - digit))

    np.testing.assert_array_equal(read("image/png", dark)[0], digit)
    np.testing.assert_array_equal(read("image/png", light)[0], digit)
    np.testing.assert_array_equal(read("image/png", light, "none")[0], 255 - digit)


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize(
    "kind", ["application/json", "application/octet-stream", "application/x-npy", "image/png"]
)
def test_an_even_28_x_28_image_is_blank_in_every_form(kind: str, level: int) -> None:
    """
    Except with `prepare=none`.
    """
    even = np.full((28, 28), level, np.uint8)
    body = {
        "application/json": json.dumps({"image": even.tolist()}).encode(),
        "application/octet-stream": even.tobytes(),
        "application/x-npy": npy(even),
        "image/png": picture(Image.fromarray(even)),
    }[kind]

    with pytest.raises(BlankImage):
        read(kind, body, "auto")
    bare = content_types.decode(kind.encode(), body, SHAPE, LIMITS, is_blank_allowed=True)
    np.testing.assert_array_equal(preprocessing.prepare(bare, SHAPE, LIMITS, "none")[0], even)


def test_many_images_to_prepare_are_not_prepared_on_the_event_loop() -> None:
    """
    Images as MNIST's cost next to nothing; others half a millisecond each.
    """
    digit = mnist.from_picture(np.asarray(digits.canvas(digits.DIGITS["3"][0])))
    as_mnist, moved = (np.repeat(image[None], 20, axis=0) for image in (digit, np.roll(digit, 3, axis=1)))

    assert preprocessing.is_quick(as_mnist, "auto")
    assert preprocessing.is_quick(moved[:2], "auto")
    assert not preprocessing.is_quick(moved, "auto")
    assert preprocessing.is_quick(moved, None)
