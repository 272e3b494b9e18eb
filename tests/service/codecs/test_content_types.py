"""`service/codecs/content_types.py`: decoding by content type, and the header Accept."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from service.codecs import content_types
from service.core.errors import BrokenPicture, MalformedRequest, UnsupportedMediaType
from service.memory import costs
from tests.service.http.bodies import LIMITS, SHAPE, form, images, npy, picture, read

BATCH = images(1, 2)
ONE = picture(Image.fromarray(BATCH[0]))
FORM_TYPE, FORM = form(("a", ONE), ("b", picture(Image.fromarray(BATCH[1]))))


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
def test_bodies_are_decoded_by_content_type(
    content_type: str, body: bytes, count: int, spelling: str
) -> None:
    """
    Case, white space and parameters are ignored.
    """
    kind, _, rest = content_type.partition(";")
    spelled = kind.upper() if spelling == "UPPER" else spelling.format(kind)

    found = read(f"{spelled};{rest}" if rest else spelled, body, "none")

    np.testing.assert_array_equal(found, BATCH[:count])


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "image/webp"])
def test_format_of_image_files_is_detected_from_their_bytes(kind: str) -> None:
    """
    A PNG with the content type of JPEG is decoded.
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
def test_unsupported_content_types_are_refused(content_type: str, got: str) -> None:
    """
    The message lists the supported types, and shortens a long one.
    """
    with pytest.raises(UnsupportedMediaType) as caught:
        content_types.decode(content_type.encode("latin-1"), b"", SHAPE, LIMITS)

    message = str(caught.value)
    assert all(kind in message for kind in content_types.CONTENT_TYPES)
    assert message.rstrip(".").endswith(got.rstrip("."))
    assert len(message) < 250


NPZ = io.BytesIO()
np.savez(NPZ, images=BATCH)
JSON = json.dumps({"images": BATCH.tolist()}).encode()


@pytest.mark.parametrize(
    ("content_type", "body", "count"),
    [
        *(
            (kind, ONE, 1)
            for kind in ("image/jpg", "image/pjpeg", "image/x-png", "IMAGE/JPG; q=1", "image/*")
        ),
        *((kind, ONE, 1) for kind in ("image/gif", "image/anything")),
        *((kind, JSON, 2) for kind in ("text/json", "application/x-json", "application/vnd.api+json")),
        *((kind, BATCH.tobytes(), 2) for kind in ("binary/octet-stream", "application/x-binary")),
        *((kind, npy(BATCH), 2) for kind in ("application/npy", "application/x-numpy")),
        *((kind, NPZ.getvalue(), 2) for kind in ("application/x-npz", "application/zip")),
    ],
)
def test_other_names_of_content_types_are_accepted(content_type: str, body: bytes, count: int) -> None:
    """
    What clients write instead of the registered name.
    """
    np.testing.assert_array_equal(read(content_type, body, "none"), BATCH[:count])


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "*/*", "application/octet-stream"],
)
@pytest.mark.parametrize(
    ("body", "count"),
    [
        (ONE, 1),
        (npy(BATCH), 2),
        (NPZ.getvalue(), 2),
        (base64.b64encode(ONE), 1),
        (b"data:image/png;base64," + base64.encodebytes(ONE), 1),
    ],
)
def test_first_bytes_decide_where_the_content_type_does_not(
    content_type: str, body: bytes, count: int
) -> None:
    """
    curl, fetch and others send a content type of their own if none is set.
    """
    np.testing.assert_array_equal(read(content_type, body, "none"), BATCH[:count])


@pytest.mark.parametrize(
    "content_type", ["", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "application/json"]
)
@pytest.mark.parametrize("before", [b"", b" \r\n", b"\xef\xbb\xbf"])
def test_json_needs_no_content_type(content_type: str, before: bytes) -> None:
    np.testing.assert_array_equal(read(content_type, before + JSON), read("application/json", JSON))


@pytest.mark.parametrize(
    "content_type", ["application/json", "image/jpeg", "application/x-npy", "application/x-npz"]
)
def test_image_file_with_another_content_type_is_decoded(content_type: str) -> None:
    """
    No JSON and no NumPy file begins like one.
    """
    np.testing.assert_array_equal(read(content_type, ONE, "none"), BATCH[:1])


@pytest.mark.parametrize("size", [784, 1568, 3136])
def test_image_file_is_never_counted_as_pixels(size: int) -> None:
    """
    A PNG of 1,568 bytes gave two predictions.
    """
    padded = ONE + bytes(size - len(ONE))  # after its end, where nothing is read

    found = content_types.decode(b"application/octet-stream", padded, SHAPE, LIMITS)

    assert isinstance(found, list)
    assert len(found) == 1


def test_json_as_octets_is_refused_by_its_name() -> None:
    """
    Also if it has as many bytes as images have pixels. It would need more memory than octets are charged.
    """
    body = JSON[:-1] + b" " * (-len(JSON) % 784) + b"}"
    assert len(body) % 784 == 0

    with pytest.raises(MalformedRequest) as caught:
        content_types.decode(b"application/octet-stream", body, SHAPE, LIMITS)

    assert str(caught.value).endswith("got JSON, whose Content-Type is application/json.")


def test_other_files_as_octets_are_refused_by_their_format() -> None:
    file = picture(Image.fromarray(BATCH[0]), "GIF")

    with pytest.raises(BrokenPicture, match=r"got a GIF\.$"):
        read("application/octet-stream", file)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_pixels_need_a_content_type(content_type: str) -> None:
    """
    Nothing in them shows what they are.
    """
    with pytest.raises(UnsupportedMediaType):
        content_types.decode(content_type.encode(), bytes(784), SHAPE, LIMITS)


@pytest.mark.parametrize(
    "content_type", [*content_types.CONTENT_TYPES, "", "text/plain", "text/json", "image/jpg"]
)
def test_memory_is_charged_for_what_a_body_may_be(content_type: str) -> None:
    """
    What may be parsed as JSON costs as much as JSON.
    """
    kind = content_types.media_type(content_type.encode())
    may_be_json = kind in (content_types.JSON, content_types.UNSTATED)

    assert (costs.factor(kind) == costs.JSON_FACTOR) == may_be_json


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
def test_accept_header_names_a_content_type(accepted: str | None, asks: bool) -> None:
    """
    With the syntax of RFC 9110; `*/*` does not count.
    """
    assert content_types.is_accepted("application/x-npy", accepted) == asks
