"""Request bodies for tests, and checks of problem documents."""

import gzip
import io
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.codecs import content_types
from service.codecs.drawings import Limits
from service.core.errors import RequestError
from service.inference import preprocessing

SHAPE = (28, 28)
LIMITS = Limits(images=64, picture_pixels=250_000, points=500)
"""The limits of the `client` fixture."""

QUADRANTS = "/v1/models/quadrants"
PREDICT = f"{QUADRANTS}/predict"
PROBABILITIES = f"{QUADRANTS}/probabilities"
WEIGHTS = f"{QUADRANTS}/weights"

OCTETS = {"content-type": "application/octet-stream"}

MAX_SENTENCE = 400
"""Characters of the longest error message: enough for names and numbers, too few for a payload."""

BEFORE_A_PATH = {
    "broken-http",
    "head-too-large",
    "too-many-connections",
    "bad-host",
    "bad-target",
    "bad-framing",
    "http-version",
    "unknown-transfer-coding",
}
"""Kinds of problems that occur before the path is parsed."""

PROBLEM_MEMBERS = {"type", "title", "status", "detail", "instance", "request_id", "error"}

_QUOTED = re.compile(r"""(['"]).*?(?:\1|$)""", re.DOTALL)
"""A quoted value in a message; a cut one has no closing quote."""


def versioned(path: str, version: str) -> str:
    """Return a path of the model `quadrants` with a version."""
    return path.replace(QUADRANTS, f"{QUADRANTS}/versions/{version}")


class AnyResponse(Protocol):
    """Common interface of responses of the test client and recorded ones."""

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Any: ...  # noqa: ANN401 - depends on the client

    def json(self) -> Any: ...  # noqa: ANN401 - JSON can be anything


def problem(response: AnyResponse, status: int, kind: str) -> str:
    """Check that a response is a problem document of a status and kind; return its detail."""
    document = response.json()
    assert response.status_code == status, document
    assert response.headers["content-type"] == "application/problem+json"
    assert set(document) == PROBLEM_MEMBERS
    assert document["type"] == f"/problems/{kind}"
    assert document["status"] == status
    assert document["title"]
    assert document["error"] == document["detail"]
    assert document["instance"].startswith("/") or kind in BEFORE_A_PATH
    assert document["request_id"] == response.headers["x-request-id"]
    detail = document["detail"]
    assert isinstance(detail, str)
    check_sentence(detail)
    return detail


def check_sentence(message: str) -> None:
    """
    Check that a message is one short line without a path or a traceback, except in quoted values.
    """
    assert 0 < len(message) <= MAX_SENTENCE, message
    assert "\n" not in message
    own = _QUOTED.sub("", message)
    for trace in ("Traceback", ".py", "/tmp", "/work", "/home", "0x", "Errno"):
        assert trace not in own, message


def check_images_or_refusal(read: Callable[[], NDArray[np.uint8]]) -> None:
    """Check that a body is decoded to images of 28 x 28, or refused with a valid message."""
    try:
        found = read()
    except RequestError as error:
        check_sentence(str(error))
    else:
        assert found.dtype == np.uint8
        assert found.shape[1:] == SHAPE


def images(*filled: int) -> NDArray[np.uint8]:
    """Return different images, one per number: (n, 28, 28) uint8."""
    grey = np.arange(784).reshape(SHAPE)
    return np.stack([((grey * (number + 3) + number) % 256).astype(np.uint8) for number in filled])


def compressed(content: bytes, coding: str) -> bytes:
    """Compress with gzip or zlib."""
    return gzip.compress(content) if coding == "gzip" else zlib.compress(content)


def npy(array: NDArray[Any]) -> bytes:
    """Encode an array as npy."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npy_file(header: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """Return an npy file with any header."""
    text = header.encode() + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + data


def picture(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:  # noqa: ANN401 - Pillow's
    """Encode an image file."""
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def form(*files: tuple[str, bytes], boundary: str = "a-boundary") -> tuple[str, bytes]:
    """Return content type and body of a form with image files, by field name."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="digit"\r\n'
        "Content-Type: image/png\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, content in files
    ]
    return f"multipart/form-data; boundary={boundary}", b"".join([*parts, f"--{boundary}--\r\n".encode()])


def read(content_type: str, body: bytes, how: preprocessing.Preprocessing | None = None) -> NDArray[np.uint8]:
    """Decode and preprocess a body."""
    return preprocessing.prepare(
        content_types.decode(content_type.encode("latin-1"), body, SHAPE, LIMITS), SHAPE, LIMITS, how
    )
