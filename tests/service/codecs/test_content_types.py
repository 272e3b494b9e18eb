"""`service/codecs/content_types.py`: decoding by content type, and the header Accept."""

import json

import numpy as np
import pytest
from PIL import Image

from service.codecs import content_types
from service.core.errors import UnsupportedMediaType
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
