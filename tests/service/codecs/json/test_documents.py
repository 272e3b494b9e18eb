"""`service/codecs/json/documents.py`: images, image files and strokes in JSON, valid and invalid."""

import base64
import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from service.codecs import content_types
from service.codecs.drawings import Drawing, Drawings
from service.codecs.json import documents
from service.core.errors import BlankImage, MalformedRequest, PayloadTooLarge, RequestError
from tests import digits
from tests.examples import examples
from tests.service.http.bodies import (
    LIMITS,
    SHAPE,
    check_images_or_refusal,
    check_sentence,
    images,
    picture,
    read,
)

PIXELS = arrays.arrays(np.uint8, SHAPE)
TIE = 1e-12
"""Tolerance for numbers half-way between two greys, on a scale of 0 to 1; far above float64 rounding."""

EXAMPLES = examples(60, HealthCheck.data_too_large, HealthCheck.large_base_example)


def read_json(document: object) -> Drawings:
    return documents.read(json.dumps(document).encode(), SHAPE, LIMITS)


def refusal(body: object, kind: type[RequestError] = MalformedRequest) -> str:
    """Decode a document or bytes that must be refused; return the message."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(kind) as caught:
        documents.read(sent, SHAPE, LIMITS)
    assert type(caught.value) is kind
    check_sentence(str(caught.value))
    return str(caught.value)


def image_with(value: object, row: int = 2, column: int = 7) -> list[list[Any]]:
    """Return a nested image, 0 except for one value."""
    image: list[list[Any]] = [[0] * 28 for _ in range(28)]
    image[row][column] = value
    return image


@EXAMPLES
@given(pixels=PIXELS, nested=st.booleans(), floats=st.booleans())
def test_images_of_integers_are_decoded_unchanged(
    pixels: NDArray[np.uint8], nested: bool, floats: bool
) -> None:
    """
    Nested or flat, 12 or 12.0, with or without `scale`.
    """
    assume(pixels.any())
    numbers = (pixels if nested else pixels.ravel()).astype(np.float64 if floats else np.uint8).tolist()

    found = read_json({"image": numbers})
    named = read_json({"scale": "byte", "image": numbers})

    np.testing.assert_array_equal(found, pixels[None])
    np.testing.assert_array_equal(named, pixels[None])


@EXAMPLES
@given(batch=arrays.arrays(np.uint8, st.integers(1, 4).map(lambda n: (n, *SHAPE))), data=st.data())
def test_batches_may_mix_nested_and_flat_images(batch: NDArray[np.uint8], data: st.DataObject) -> None:
    assume(batch.any(axis=(1, 2)).all())
    nested = data.draw(st.lists(st.booleans(), min_size=len(batch), max_size=len(batch)))
    numbers = [(item if n else item.ravel()).tolist() for item, n in zip(batch, nested, strict=True)]

    found = read_json({"images": numbers})

    np.testing.assert_array_equal(found, batch)


@EXAMPLES
@given(pixels=PIXELS, nested=st.booleans())
def test_pixels_divided_by_255_are_decoded_on_the_unit_scale(pixels: NDArray[np.uint8], nested: bool) -> None:
    assume(pixels.any())
    numbers = (pixels if nested else pixels.ravel()) / 255

    found = read_json({"image": numbers.tolist(), "scale": "unit"})

    np.testing.assert_array_equal(found, pixels[None])


@EXAMPLES
@given(units=arrays.arrays(np.float64, 784, elements=st.floats(0, 1)))
@example(units=np.linspace(0, 1, 784))
def test_unit_numbers_are_rounded_to_the_nearest_grey(units: NDArray[np.float64]) -> None:
    """
    No pixel differs from its number by more than half a grey.
    """
    assume(units.max() > 0.5 / 255)

    found = np.asarray(read_json({"image": units.tolist(), "scale": "unit"}))

    assert np.abs(found.ravel() / 255 - units).max() <= 0.5 / 255 + TIE


@EXAMPLES
@given(
    strokes=st.lists(
        st.lists(st.tuples(st.floats(-1e9, 1e9), st.integers(-(10**9), 10**9)), min_size=1, max_size=9),
        min_size=1,
        max_size=4,
    )
)
def test_strokes_are_decoded_to_one_array_each(strokes: list[list[tuple[float, int]]]) -> None:
    found = read_json({"strokes": strokes})

    assert isinstance(found, list)
    assert [item.field for item in found] == ["Field 'strokes'"]
    assert isinstance(found[0].content, list)
    assert len(found[0].content) == len(strokes)
    for got, sent in zip(found[0].content, strokes, strict=True):
        np.testing.assert_array_equal(got, np.array(sent, np.float64))


def test_empty_strokes_are_ignored() -> None:
    found = read_json({"strokes": [[], [[1, 2]], []]})

    assert isinstance(found, list)
    assert isinstance(found[0].content, list)
    assert [stroke.tolist() for stroke in found[0].content] == [[[1, 2]]]


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,", "DATA:Image/PNG;BASE64,"])
@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_image_files_in_base64_are_decoded(prefix: str, form: str) -> None:
    """
    With and without the prefix of a data: URL; a lossless 28 x 28 picture keeps its pixels.
    """
    pixels = images(1)[0]
    file = picture(
        Image.fromarray(pixels).convert("RGB"), form, **({"lossless": True} if form == "WEBP" else {})
    )
    text = prefix + base64.b64encode(file).decode()

    found = read("application/json", json.dumps({"image": text}).encode(), "none")

    np.testing.assert_array_equal(found, pixels[None])


def test_batches_may_mix_image_files_and_numbers() -> None:
    """
    The order is kept.
    """
    first, second = images(1, 2)
    text = base64.b64encode(picture(Image.fromarray(second))).decode()

    found = read("application/json", json.dumps({"images": [first.tolist(), text]}).encode(), "none")

    np.testing.assert_array_equal(found, [first, second])


@EXAMPLES
@given(body=st.binary(max_size=300))
@example(body=b"")
@example(body=b"\xef\xbb\xbf{}")
@example(body='{"image": []}'.encode("utf-16"))
@example(body=b'{"image": "\\ud800"}')
@example(body=b'{"image": [1e400]}')
def test_arbitrary_bytes_give_a_request_error(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        read("application/json", body)

    check_sentence(str(caught.value))


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=40,
)
ROW = LEAVES | st.lists(LEAVES, max_size=3) | st.just([0] * 28)


@EXAMPLES
@given(
    document=st.dictionaries(
        st.sampled_from(["image", "images", "strokes", "scale", "Image", ""]),
        ANYTHING | st.lists(ROW, min_size=28, max_size=28) | st.just([0] * 784) | st.just("unit"),
        max_size=3,
    )
)
@example(document={"image": [[]]})
@example(document={"image": [{}] * 784})
@example(document={"image": [[0] * 28] * 27 + [0]})
@example(document={"images": [[0] * 784, None]})
@example(document={"strokes": [[[1e308, 1]]]})
def test_any_json_gives_images_or_a_request_error(document: dict[str, Any]) -> None:
    """
    Valid field names with any values.
    """
    body = json.dumps(document).encode()

    check_images_or_refusal(lambda: read("application/json", body))


@EXAMPLES
@given(data=st.data(), which=st.sampled_from(["image", "unit", "strokes", "base64"]))
def test_mutated_bodies_give_images_or_a_request_error(data: st.DataObject, which: str) -> None:
    """
    Bytes of a valid body are replaced, deleted and inserted.
    """
    good = {
        "image": {"image": images(1)[0].tolist()},
        "unit": {"image": [0.5] * 784, "scale": "unit"},
        "strokes": {"strokes": digits.DIGITS["2"][0]},
        "base64": {"image": base64.b64encode(picture(digits.canvas(digits.DIGITS["2"][0], 40))).decode()},
    }
    body = bytearray(json.dumps(good[which]).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(body) - 1))
        end = start + data.draw(st.sampled_from([0, 0, 1, 1, 3]))
        body[start:end] = data.draw(st.binary(max_size=3) | st.sampled_from([b"[", b"]", b"-", b"e9", b'"']))

    check_images_or_refusal(lambda: read("application/json", bytes(body)))


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("true", "true"),
        ("false", "false"),
        ("null", "null"),
        ('"7"', "'7'"),
        ("256", "256"),
        ("-1", "-1"),
        ("0.5", "0.5"),
        ("1e300", "1e+300"),
        ("123456789012345678901234567890", "1.2345678901234568e+29"),
        ("[1]", "a list of 1"),
        ("{}", "an object"),
    ],
)
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("many", [False, True])
def test_invalid_pixels_are_reported_with_their_position(text: str, got: str, flat: bool, many: bool) -> None:
    """
    The message contains the position, the expected value and the actual value.
    """
    image: list[Any] = image_with("HERE")
    if flat:
        image = [value for row in image for value in row]
    document = {"images": [[0] * 784, image]} if many else {"image": image}
    body = json.dumps(document).replace('"HERE"', text).encode()

    message = refusal(body)

    assert message.startswith(
        f"Field '{'images[1]' if many else 'image'}[2][7]' should be a whole number 0..255"
    )
    assert f"got {got}" in message


@pytest.mark.parametrize("value", [True, None, "0.5", 1.0001, -0.1, 255, [0.5], {}])
def test_invalid_unit_numbers_are_reported_with_their_position(value: object) -> None:
    message = refusal({"image": image_with(value), "scale": "unit"})

    assert message.startswith("Field 'image[2][7]' should be a number 0..1; got ")


def test_fractions_on_the_byte_scale_get_a_hint() -> None:
    message = refusal({"image": image_with(0.25)})

    assert '"scale": "unit"' in message


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "01", "+1", "0x10"])
@pytest.mark.parametrize("scale", ["byte", "unit"])
def test_numbers_that_are_not_json_are_refused(literal: str, scale: str) -> None:
    """
    Infinity is refused, by name and as a large exponent.
    """
    body = json.dumps({"image": image_with("HERE"), "scale": scale}).replace('"HERE"', literal).encode()

    refusal(body)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ([], "a list of 0"),
        ([0] * 783, "a list of 783"),
        ([0] * 785, "a list of 785"),
        ([[0] * 28] * 27, "a list of 27 lists"),
        ([[0] * 28] * 29, "a list of 29 lists"),
        (None, "null"),
        (True, "true"),
        (7, "7"),
        ({}, "an object"),
    ],
)
@pytest.mark.parametrize("scale", ["byte", "unit"])
def test_images_of_another_shape_are_refused(value: object, got: str, scale: str) -> None:
    """
    The message contains the accepted shapes.
    """
    message = refusal({"image": value, "scale": scale})

    assert message.startswith("Field 'image' should be 28 x 28 numbers nested, 784 flat")
    assert message.endswith(f"got {got}.")


@pytest.mark.parametrize(("row", "got"), [([0] * 27, "a list of 27"), ([0] * 29, "a list of 29"), (0, "0")])
def test_rows_of_another_length_are_reported(row: object, got: str) -> None:
    image: list[Any] = [[0] * 28 for _ in range(28)]
    image[5] = row

    message = refusal({"images": [image]})

    assert message == f"Field 'images[0][5]' should be a list of 28; got {got}."


def test_deeper_nesting_than_two_is_refused() -> None:
    message = refusal({"image": [[[0, 0]] * 28] * 28})

    assert message.startswith("Field 'image[0][0]' should be a whole number 0..255")


@pytest.mark.parametrize(
    ("document", "got"),
    [
        ({}, "one with none of them"),
        ({"scale": "unit"}, "one with none of them"),
        ({"image": [0] * 784, "images": []}, "one with image and images"),
        ({"image": [0] * 784, "strokes": []}, "one with image and strokes"),
    ],
)
def test_exactly_one_of_image_images_and_strokes_is_required(document: object, got: str) -> None:
    assert refusal(document) == f"Body should be an object with one of image, images, strokes; got {got}."


def test_unknown_fields_are_refused_and_long_names_are_shortened() -> None:
    message = refusal({"image": [0] * 784, "secret" * 1000: 1})

    assert "'secretsecret" in message
    assert "..." in message


@pytest.mark.parametrize("document", [[], [0] * 784, 7, None, True, "image"])
def test_json_other_than_objects_is_refused(document: object) -> None:
    assert refusal(document).startswith("Body should be a JSON object; got ")


@pytest.mark.parametrize("scale", ["bytes", "UNIT", "", 1, None, True, [], {}, ["unit"]])
def test_unknown_scales_are_refused(scale: object) -> None:
    message = refusal({"image": [0] * 784, "scale": scale})

    assert message.startswith("Field 'scale' should be 'byte' (0..255) or 'unit' (0..1); got ")


@pytest.mark.parametrize("depth", [1025, 10_000])
@pytest.mark.parametrize("closed", [False, True])
def test_deep_nesting_is_refused(depth: int, closed: bool) -> None:
    """
    With and without closing brackets.
    """
    message = refusal(b'{"image":' + b"[" * depth + (b"]" * depth + b"}" if closed else b""))

    assert message.startswith("Body should be JSON in UTF-8, nested at most 1,024 deep; got ")


@pytest.mark.parametrize("part", [b"[", b"{", b"[[],", b"0,", b'{"a":'])
def test_documents_with_too_many_values_are_refused_before_parsing(part: bytes) -> None:
    body = b'{"image":' + part * 1_000_000

    tracemalloc.start()
    message = refusal(body, PayloadTooLarge)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert "JSON values; got more." in message
    assert peak < len(body) + 1_000_000


def test_syntax_errors_are_reported_with_line_and_column() -> None:
    assert "line 2 column" in refusal(b'{\n"image" [1]}')


@pytest.mark.parametrize("body", [b"", b"  \n"])
def test_empty_bodies_are_refused(body: bytes) -> None:
    """
    Including bodies of white space only.
    """
    assert refusal(body).endswith("got nothing.")


def test_last_of_duplicate_fields_is_used() -> None:
    """
    As in most JSON parsers.
    """
    first, last = images(1, 2)
    body = f'{{"image": {first.tolist()}, "image": {last.tolist()}}}'.encode()

    found = documents.read(body, SHAPE, LIMITS)

    np.testing.assert_array_equal(found, last[None])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "PNG, JPEG or WebP"),
        ("no base64!", "base64"),
        ("AAAAA", "base64"),
        ("AAA=AAAA", "base64"),
        ("AA AA", "a space within a line"),
        ("http://example.com/digit.png", "an address, which is not fetched"),
        ("ünïcode", "base64"),
        ("data:image/png,plain", "data: URL"),
        ("data:text/plain;base64,AAAA", "data: URL"),
        ("data:image/png;base64,!!!!", "base64"),
        ("data:image/svg+xml;base64,PHN2Zy8+", "PNG, JPEG or WebP"),
        ("AAAA" * 5000, "PNG, JPEG or WebP"),
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_invalid_image_files_in_base64_are_reported_with_their_field(
    text: str, part: str, many: bool
) -> None:
    """
    Invalid base64, other data: URLs, and bytes that are no image file.
    """
    document = {"images": [[1] * 784, text]} if many else {"image": text}

    with pytest.raises(MalformedRequest) as caught:
        read("application/json", json.dumps(document).encode())

    message = str(caught.value)
    check_sentence(message)
    assert message.startswith(f"Field '{'images[1]' if many else 'image'}' should be ")
    assert part in message
    assert "AAAAAAAA" not in message


@pytest.mark.parametrize(
    ("strokes", "place", "got"),
    [
        ("x", "strokes", "'x'"),
        ({}, "strokes", "an object"),
        (None, "strokes", "null"),
        ([7], "strokes[0]", "7"),
        ([[[1, 2]], "x"], "strokes[1]", "'x'"),
        ([[[1, 2], 3]], "strokes[0][1]", "3"),
        ([[[1]]], "strokes[0][0]", "a list of 1"),
        ([[[1, 2, 3]]], "strokes[0][0]", "a list of 3"),
        ([[[1, True]]], "strokes[0][0][1]", "true"),
        ([[[1, None]]], "strokes[0][0][1]", "null"),
        ([[["1", 2]]], "strokes[0][0][0]", "'1'"),
        ([[[1e10, 2]]], "strokes[0][0][0]", "10000000000.0"),
        ([[[1, -(10**18)]]], "strokes[0][0][1]", "-1000000000000000000"),
    ],
)
def test_invalid_strokes_and_points_are_reported_with_their_position(
    strokes: object, place: str, got: str
) -> None:
    message = refusal({"strokes": strokes})

    assert message.startswith(f"Field '{place}' should be ")
    assert message.endswith(f"got {got}.")


@pytest.mark.parametrize("strokes", [[], [[]], [[], []]])
def test_strokes_without_points_are_blank(strokes: object) -> None:
    message = refusal({"strokes": strokes}, BlankImage)

    assert message.startswith("Field 'strokes' ")


def test_more_points_than_the_limit_are_refused() -> None:
    """
    The limit is inclusive, and counts the points of all strokes.
    """
    stroke = [[0, 0]] * (LIMITS.points // 2)

    taken = read_json({"strokes": [stroke, stroke]})
    message = refusal({"strokes": [stroke, stroke, [[0, 0]]]}, PayloadTooLarge)

    assert len(taken) == 1
    assert message == "Field 'strokes' should be at most 500 points; got 501 or more."


def test_more_images_than_the_limit_are_refused() -> None:
    """
    The limit is inclusive, and is checked before any image is decoded.
    """
    taken = read_json({"images": [[1] * 784] * LIMITS.images})
    message = refusal({"images": [None] * (LIMITS.images + 1)}, PayloadTooLarge)

    assert len(taken) == LIMITS.images
    assert message == "Batch should be at most 64 images; got 65."


@pytest.mark.parametrize("value", [[], {}, None, "x", 7])
def test_images_must_be_a_list_of_at_least_one(value: object) -> None:
    assert refusal({"images": value}).startswith(
        "Field 'images' should be a list of at least one image; got "
    )


def test_long_values_are_shortened_in_messages() -> None:
    message = refusal({"image": image_with("p" * 10_000)})

    assert "p" * 50 not in message


def test_colour_images_are_decoded_with_the_shape_of_the_model() -> None:
    """
    Height, width and channels are nested lists; positions have three indices.
    """
    shape = (2, 3, 3)
    pixels = np.arange(18, dtype=np.uint8).reshape(shape)
    numbers: list[Any] = pixels.tolist()

    found = documents.read(json.dumps({"image": numbers}).encode(), shape, LIMITS)
    numbers[1][2][0] = 256
    with pytest.raises(MalformedRequest) as caught:
        documents.read(json.dumps({"image": numbers}).encode(), shape, LIMITS)

    np.testing.assert_array_equal(found, pixels[None])
    assert str(caught.value).startswith("Field 'image[1][2][0]' should be ")


def test_drawings_contain_the_name_of_their_field() -> None:
    text = base64.b64encode(picture(Image.new("L", (30, 30)))).decode()

    found = content_types.decode(b"application/json", json.dumps({"images": [text]}).encode(), SHAPE, LIMITS)

    assert [drawing.field for drawing in found if isinstance(drawing, Drawing)] == ["Field 'images[0]'"]


@pytest.mark.parametrize("flood", ["[]", "0", '""', "{}"])
def test_limit_of_values_follows_from_the_limits_of_images_and_points(flood: str) -> None:
    most = LIMITS.images * (784 + 29) + 4 * LIMITS.points + 100
    body = f'{{"images": [{",".join([flood] * (most + 1))}]}}'.encode()

    with pytest.raises(PayloadTooLarge, match=f"at most {most:,} JSON values; got more"):
        documents.read(body, SHAPE, LIMITS)


@pytest.mark.parametrize("item", [[1], [[1]], [], {}, [[0] * 28] * 28])
def test_lists_among_the_numbers_of_an_image_are_reported(item: object) -> None:
    body = json.dumps({"image": [0] * 783 + [item]}).encode()

    with pytest.raises(MalformedRequest, match=r"^Field 'image\[27\]\[27\]' should be a whole number"):
        documents.read(body, SHAPE, LIMITS)


@pytest.mark.parametrize("value", [[0] * 784, [[0.0] * 28] * 28])
def test_images_of_zeros_are_blank(value: object) -> None:
    body = json.dumps({"images": [[1] * 784, value]}).encode()

    with pytest.raises(BlankImage, match=r"^Field 'images\[1\]' should .* got 0 everywhere"):
        documents.read(body, SHAPE, LIMITS)


def test_float32_is_encoded_in_the_fewest_digits() -> None:
    """
    Decoding gives the same float32.
    """
    values = np.random.default_rng(1).random(100, np.float32)

    text = documents.dump({"values": values})

    np.testing.assert_array_equal(np.array(json.loads(text)["values"], np.float32), values)
    assert len(text) < 100 * 14


@pytest.mark.parametrize("value", [1.0000001, -1e-6, 1 + 9e-6])
def test_rounding_errors_of_unit_numbers_are_accepted(value: float) -> None:
    """
    float32 computes 1.0000001 where 1 is meant.
    """
    found = read_json({"image": [1.0, *[value] * 783], "scale": "unit"})

    assert isinstance(found, np.ndarray)
    assert set(found.flat) == {255, round(value) * 255}


@pytest.mark.parametrize(
    "image",
    [
        np.ones((1, 28, 28)),
        np.ones((1, 1, 28, 28)),
        np.ones((28, 28, 1)),
        np.ones((784, 1)),
        np.ones((1, 784)),
        np.ones((28, 28), bool) * 1,
    ],
    ids=lambda image: str(image.shape),
)
@pytest.mark.parametrize("many", [False, True])
def test_lists_of_one_do_not_matter(image: NDArray[Any], many: bool) -> None:
    """
    As arrays with one channel, or of one image, become when they are written as JSON.
    """
    document = {"images": [image.tolist()] * 3} if many else {"image": image.tolist()}

    found = read_json(document)

    np.testing.assert_array_equal(found, np.ones((3 if many else 1, *SHAPE)))


def test_long_lists_of_images_with_one_channel_are_read() -> None:
    """
    Long enough to be parsed item by item.
    """
    batch = images(*range(30))

    found = read_json({"images": batch[..., None].tolist()})

    np.testing.assert_array_equal(found, batch)


@pytest.mark.parametrize("scale", ["byte", "unit"])
def test_images_of_booleans_are_black_and_white(scale: str) -> None:
    drawn = images(1)[0] > 99

    found = read_json({"image": drawn.tolist(), "scale": scale})

    np.testing.assert_array_equal(found, drawn[None] * 255)


@pytest.mark.parametrize("value", [254.99998, 255.0003])
def test_rounding_errors_of_whole_numbers_are_accepted(value: float) -> None:
    """
    float32 computes 254.99998 from 255 / 255 * 255.
    """
    np.testing.assert_array_equal(read_json({"image": [value] * 784}), np.full((1, *SHAPE), 255))


def test_byte_order_mark_is_ignored() -> None:
    """
    Editors on Windows write it.
    """
    short, long = json.dumps({"image": [1] * 784}), json.dumps({"images": [[1] * 784] * 60})

    for text in (short, long):
        found = documents.read(text.encode("utf-8-sig"), SHAPE, LIMITS)
        np.testing.assert_array_equal(found, documents.read(text.encode(), SHAPE, LIMITS))
    instances = json.dumps({"instances": [[1] * 784]}).encode("utf-8-sig")
    assert len(documents.read_instances(instances, SHAPE, LIMITS)) == 1


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_by_its_name(coding: str) -> None:
    text = json.dumps({"image": [1] * 784})
    body = text.encode(coding) if coding == "utf-16" else f"\ufeff{text}".encode(coding)

    assert refusal(body) == "Body should be JSON in UTF-8, nested at most 1,024 deep; got UTF-16."


def test_messages_do_not_contradict_themselves() -> None:
    """
    What was received differs visibly from what was expected.
    """
    limit = refusal({"strokes": [[[2e9, 1]]]})
    row = refusal({"image": [0] * 28})
    with pytest.raises(MalformedRequest) as caught:
        documents.read_instances(b'{"inputs": []}', SHAPE, LIMITS)

    assert limit == (
        "Field 'strokes[0][0][0]' should be a number -1,000,000,000..1,000,000,000; got 2000000000.0."
    )
    assert row.endswith("got a list of 28 without lists in it.")
    assert str(caught.value) == "Body should be a JSON object with instances; got one with 'inputs'."
