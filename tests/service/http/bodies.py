"""Bodies for requests, the reading of them, and what every refusal must look like."""

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
"""As those of the `client` fixture."""

QUADRANTS = "/v1/models/quadrants"
PREDICT = f"{QUADRANTS}/predict"

MAX_SENTENCE = 400
"""Characters that a message may have: enough for names and numbers, too few for a payload."""

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
"""Kinds of problems that come up before anybody knows which path is asked for."""

PROBLEM_MEMBERS = {"type", "title", "status", "detail", "instance", "request_id", "error"}

_QUOTED = re.compile(r"""(['"]).*?(?:\1|$)""", re.DOTALL)
"""A value within a message, as `repr` and JSON write it; one that was cut has no end."""


class Answer(Protocol):
    """What the in-process client and a recorded exchange have in common."""

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Any: ...  # noqa: ANN401 - each client has a class of its own

    def json(self) -> Any: ...  # noqa: ANN401 - JSON can be anything


def problem(answer: Answer, status: int, kind: str) -> str:
    """Check that an answer is the problem it should be, with all its members; return its detail."""
    document = answer.json()
    assert answer.status_code == status, document
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(document) == PROBLEM_MEMBERS
    assert document["type"] == f"/problems/{kind}"
    assert document["status"] == status
    assert document["title"]
    assert document["error"] == document["detail"]
    assert document["instance"].startswith("/") or kind in BEFORE_A_PATH
    assert document["request_id"] == answer.headers["x-request-id"]
    detail = document["detail"]
    assert isinstance(detail, str)
    check_sentence(detail)
    return detail


def check_sentence(message: str) -> None:
    """
    Check that a message is one short line without a path or a traceback.

    What it quotes is what the caller sent, and may be anything.
    """
    assert 0 < len(message) <= MAX_SENTENCE, message
    assert "\n" not in message
    own = _QUOTED.sub("", message)
    for trace in ("Traceback", ".py", "/tmp", "/work", "/home", "0x", "Errno"):
        assert trace not in own, message


def check_images_or_refusal(read: Callable[[], NDArray[np.uint8]]) -> None:
    """Check that a body is read as images of 28 x 28, or refused with a sentence."""
    try:
        found = read()
    except RequestError as error:
        check_sentence(str(error))
    else:
        assert found.dtype == np.uint8
        assert found.shape[1:] == SHAPE


def images(*filled: int) -> NDArray[np.uint8]:
    """Return images that differ, one for each number: (n, 28, 28) uint8."""
    grey = np.arange(784).reshape(SHAPE)
    return np.stack([((grey * (number + 3) + number) % 256).astype(np.uint8) for number in filled])


def compressed(content: bytes, coding: str) -> bytes:
    """Compress as gzip and zlib do."""
    return gzip.compress(content) if coding == "gzip" else zlib.compress(content)


def npy(array: NDArray[Any]) -> bytes:
    """Write an array as NumPy does."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npy_file(header: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """Write a NumPy file by hand, with any header."""
    text = header.encode() + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + data


def picture(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:  # noqa: ANN401 - Pillow's
    """Write a picture file."""
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def form(*files: tuple[str, bytes], boundary: str = "a-boundary") -> tuple[str, bytes]:
    """Return the content type and the bytes of a form with picture files, by field name."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="digit"\r\n'
        "Content-Type: image/png\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, content in files
    ]
    return f"multipart/form-data; boundary={boundary}", b"".join([*parts, f"--{boundary}--\r\n".encode()])


def read(content_type: str, body: bytes, how: preprocessing.Preprocessing | None = None) -> NDArray[np.uint8]:
    """Read a body to the end: to images as the network takes them."""
    return preprocessing.prepare(
        content_types.decode(content_type.encode("latin-1"), body, SHAPE, LIMITS), SHAPE, LIMITS, how
    )
