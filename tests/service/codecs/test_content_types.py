"""`service/http/messages/content_types.py`: bytes to images and answers to bytes, by content type."""

import base64
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from service.codecs import content_types
from service.codecs.drawings import Drawing, Drawings
from service.codecs.json import documents
from service.core.drawing import mnist
from service.core.errors import BlankImage, MalformedRequest, TensorMismatch, UnsupportedMediaType
from service.http.messages import prediction_json
from service.inference import preprocessing
from service.inference.models.registry import Registry
from service.inference.predictor import Predictor
from service.settings import Settings
from tests import digits, precision, toys
from tests.examples import examples
from tests.service.http.bodies import LIMITS, SHAPE, form, images, npy, picture, read

EXAMPLES = examples(40, HealthCheck.function_scoped_fixture)
BATCH = images(1, 2)
ONE = picture(Image.fromarray(BATCH[0]))
FORM_TYPE, FORM = form(("a", ONE), ("b", picture(Image.fromarray(BATCH[1]))))


@pytest.fixture(scope="module")
def predictor(toy_settings: Settings) -> Predictor:
    registry = Registry(toy_settings.models)
    registry.load()
    return Predictor(registry)


@pytest.mark.parametrize(
    ("content_type", "body", "count"),
    [
        ("application/json", json.dumps({"images": BATCH.tolist()}).encode(), 2),
        ("application/octet-stream", BATCH.tobytes(), 2),
        ("application/x-npy", npy(BATCH), 2),
        ("image/png", ONE, 1),
        ("image/webp", picture(Image.fromarray(BATCH[0]).convert("RGB"), "WEBP", lossless=True), 1),
        (FORM_TYPE, FORM, 2),
    ],
)
@pytest.mark.parametrize("spelling", ["{}", "{}; charset=utf-8", " {} ;q=1", "UPPER"])
def test_the_content_type_says_how_a_body_is_read(
    content_type: str, body: bytes, count: int, spelling: str
) -> None:
    """
    Upper case, white space and parameters change nothing.
    """
    kind, _, rest = content_type.partition(";")
    spelled = kind.upper() if spelling == "UPPER" else spelling.format(kind)

    found = read(f"{spelled};{rest}" if rest else spelled, body, "none")

    np.testing.assert_array_equal(found, BATCH[:count])


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "image/webp"])
def test_a_picture_is_known_by_its_bytes_whichever_of_the_three_it_is_called(kind: str) -> None:
    """
    A PNG sent as a JPEG is still read, as browsers do.
    """
    np.testing.assert_array_equal(read(kind, ONE, "none"), BATCH[:1])


@pytest.mark.parametrize(
    ("content_type", "got"),
    [
        ("", "none"),
        (";", "none"),
        ("application/x-www-form-urlencoded", "'application/x-www-form-urlencoded'"),
        ("text/plain", "'text/plain'"),
        ("image/gif", "'image/gif'"),
        ("image/svg+xml", "'image/svg+xml'"),
        ("application/jsonx", "'application/jsonx'"),
        ("json", "'json'"),
        ("a" * 1000, "..."),
    ],
)
def test_other_content_types_are_refused_with_those_that_are_known(content_type: str, got: str) -> None:
    """
    The message lists all that are taken and repeats little of what came.
    """
    with pytest.raises(UnsupportedMediaType) as caught:
        content_types.decode(content_type.encode("latin-1"), b"", SHAPE, LIMITS)

    message = str(caught.value)
    assert all(kind in message for kind in content_types.CONTENT_TYPES)
    assert message.rstrip(".").endswith(got.rstrip("."))
    assert len(message) < 250


def test_an_image_as_mnists_is_used_unchanged_unless_mnist_is_asked_for() -> None:
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
def test_numbers_that_are_not_as_mnists_are_prepared_by_default_of_v1_alone(kind: str) -> None:
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


def test_a_picture_of_another_size_and_strokes_are_prepared_by_ink() -> None:
    """
    The edge adds nothing to the one preprocessing.
    """
    strokes = digits.DIGITS["4"][0]
    canvas = digits.canvas(strokes, 100)

    seen = read("image/png", picture(canvas))
    drawn = read("application/json", json.dumps({"strokes": strokes}).encode(), "mnist")

    np.testing.assert_array_equal(seen[0], mnist.from_picture(np.asarray(canvas)))
    np.testing.assert_array_equal(drawn[0], mnist.from_strokes(digits.arrays(strokes)))


def test_without_preparation_another_size_is_a_mismatch() -> None:
    """
    The message names the field and both sizes.
    """
    strokes = json.dumps({"strokes": digits.DIGITS["1"][0]}).encode()

    with pytest.raises(TensorMismatch, match=r"^Body should be 28 x 28 pixels; got 20 x 30.$"):
        read("image/png", picture(Image.new("L", (20, 30))), "none")
    with pytest.raises(TensorMismatch, match=r"^Field 'strokes' should be 28 x 28 pixels; got strokes.$"):
        read("application/json", strokes, "none")


@pytest.mark.parametrize("how", [None, "none"])
def test_a_network_of_another_shape_takes_numbers_alone(how: preprocessing.Preprocessing | None) -> None:
    """
    Nothing is known of how its images were made, so pictures and strokes are refused, and nothing is decoded.
    """
    file = [Drawing("Body", b"no picture at all")]
    strokes = [Drawing("Field 'strokes'", digits.arrays(digits.DIGITS["1"][0]))]

    with pytest.raises(TensorMismatch, match=r"^Body should be 6 x 5 numbers for this model; got a picture"):
        preprocessing.prepare(file, (6, 5), LIMITS, how)
    with pytest.raises(TensorMismatch, match=r"^Field 'strokes' should be 6 x 5 numbers .*; got strokes.$"):
        preprocessing.prepare(strokes, (6, 5), LIMITS, how)


def test_a_network_of_another_shape_has_no_preparation_to_ask_for() -> None:
    """
    What MNIST's preparation makes is 28 x 28 and nothing else.
    """
    batch = np.zeros((1, 6, 5), np.uint8)

    with pytest.raises(MalformedRequest, match=r"^Query 'prepare' should be none, or left out, .* 6 x 5 "):
        preprocessing.prepare(batch, (6, 5), LIMITS, "mnist")


def test_the_blank_one_of_several_images_is_named() -> None:
    """
    By its row.
    """
    batch = np.stack([BATCH[0], np.full(SHAPE, 9, np.uint8)])

    with pytest.raises(BlankImage, match=r"^Image 1 should show something drawn; got "):
        read("application/octet-stream", batch.tobytes(), "mnist")


@EXAMPLES
@given(
    batch=arrays.arrays(np.uint8, st.integers(1, 3).map(lambda n: (n, *SHAPE))),
    top=st.integers(1, 9),
    seen=st.booleans(),
)
def test_an_answer_says_what_the_scores_say(
    predictor: Predictor, batch: NDArray[np.uint8], top: int, seen: bool
) -> None:
    """
    To the bit, for both kinds of answer; and the scores are those of the toy network computed by hand.
    """
    model = predictor.find("quadrants", "1")
    weights = toys.quadrant_weights()
    requested_output = toys.softmax(toys.expected_logits(batch, weights))
    allowed = precision.probability_error(precision.logit_error(toys.layers(weights), batch))
    prediction = predictor.predict(model, batch)

    short = json.loads(prediction_json.encode(prediction, prediction_json.labels, top, seen))
    long = json.loads(prediction_json.encode(prediction, prediction_json.probabilities, top, seen))

    assert {"model": short["model"], "version": short["version"]} == {"model": "quadrants", "version": "1"}
    assert len(short["predictions"]) == len(batch)
    for row, (brief, full) in enumerate(zip(short["predictions"], long["predictions"], strict=True)):
        said = np.array(full["probabilities"], np.float32)
        np.testing.assert_array_equal(said, prediction.scores.probabilities[row])
        assert np.abs(said - requested_output[row]).max() <= allowed[row]
        assert {**brief, "probabilities": full["probabilities"]} == full
        best = np.argsort(-np.array(full["probabilities"]), kind="stable")
        assert brief["index"] == best[0]
        assert brief["label"] == toys.QUARTERS[best[0]]
        assert brief["confidence"] == full["probabilities"][best[0]]
        assert brief["top"] == [
            {"label": toys.QUARTERS[i], "probability": full["probabilities"][i]} for i in best[: min(top, 4)]
        ]
        assert ("seen" in brief) == seen
        if seen:
            np.testing.assert_array_equal(brief["seen"], batch[row])


def test_numbers_are_written_in_as_few_digits_as_keep_them() -> None:
    """
    A float32 read again is the same float32.
    """
    values = np.random.default_rng(1).random(100, np.float32)

    text = documents.dump({"values": values})

    np.testing.assert_array_equal(np.array(json.loads(text)["values"], np.float32), values)
    assert len(text) < 100 * 14


@pytest.mark.parametrize(
    ("body", "how", "quick"),
    [(BATCH.tobytes(), None, True), (BATCH.tobytes(), "none", True), (BATCH.tobytes(), "mnist", False)],
)
def test_only_numbers_that_need_no_preparation_are_quick(
    body: bytes, how: preprocessing.Preprocessing | None, quick: bool
) -> None:
    """
    Whoever decides where work runs is told what takes long.
    """
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
def test_one_small_picture_is_quick(
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


@pytest.mark.parametrize(
    ("accepted", "asks"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("application/x-npy", True),
        ("Application/X-NPY", True),
        ("application/json, application/x-npy;q=0.5", True),
        ("application/x-npy ; q=0.0 , */*", False),
        ("application/x-npy;q=0", False),
        ("application/x-npyfoo", False),
        ("x-application/x-npy", False),
    ],
)
def test_a_content_type_is_asked_for_by_its_name(accepted: str | None, asks: bool) -> None:
    """
    As RFC 9110 writes it; whoever accepts anything gets what everybody gets.
    """
    assert content_types.is_accepted("application/x-npy", accepted) == asks
