"""Content types of request bodies, and the decoder of each: the table of formats."""

import re
from contextlib import suppress
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from service.codecs import arrays, base64_text, multipart, npz, rows, signatures
from service.codecs.drawings import Drawing, Drawings, Limits, Shape
from service.codecs.json import documents
from service.core.errors import MalformedRequest, UnsupportedMediaType
from service.core.wording import quote

JSON = "application/json"
OCTETS = "application/octet-stream"
NPY = "application/x-npy"
NPZ = "application/x-npz"
FORM = "multipart/form-data"
PICTURES = ("image/png", "image/jpeg", "image/webp")
CONTENT_TYPES = (JSON, OCTETS, NPY, NPZ, *PICTURES, FORM)
ROW_CONTENT_TYPES = (JSON, NPY)

UNSTATED = ""
"""Type of a body without a content type, or with one that clients send by default: its first bytes decide."""

_MAY_BE_BASE64 = frozenset((OCTETS, UNSTATED, *PICTURES))

_ALIASES = {
    "text/json": JSON,
    "text/x-json": JSON,
    "application/x-json": JSON,
    "binary/octet-stream": OCTETS,
    "application/binary": OCTETS,
    "application/x-binary": OCTETS,
    "application/npy": NPY,
    "application/x-numpy": NPY,
    "application/npz": NPZ,
    "application/zip": NPZ,
    "application/x-zip-compressed": NPZ,
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-jpeg": "image/jpeg",
    "image/x-jpg": "image/jpeg",
    "image/jfif": "image/jpeg",
    "image/x-png": "image/png",
    "image/apng": "image/png",
    "image/x-webp": "image/webp",
    "application/x-www-form-urlencoded": UNSTATED,
    "text/plain": UNSTATED,
    "image/*": UNSTATED,
    "application/*": UNSTATED,
    "*/*": UNSTATED,
}
"""Types that mean another one: former and wrong names, and what clients send without being asked."""


def decode(
    content_type: bytes, body: bytes, shape: Shape, limits: Limits, is_blank_allowed: bool = False
) -> Drawings:
    """Decode a request body.

    Args:
        content_type: Value of the header Content-Type with its parameters; empty if it is absent.
        body: The whole body.
        shape: Shape of one image of the model.
        limits: Limits of one request.
        is_blank_allowed: Whether all pixels of an image in JSON may be 0.

    Returns:
        At least one image. Image files are not decoded yet, so that this is quick, unless `is_compressed`.

    Raises:
        UnsupportedMediaType: The content type is none of `CONTENT_TYPES`, and the first bytes of the body do
            not show what it is.
        MalformedRequest: The body does not match its content type, or has the wrong shape, dtype or range.
        PayloadTooLarge: More images or points than the limits allow.
        BlankImage: A drawing has no points, or all pixels of an image in JSON are 0 and that is not allowed.
    """
    limits = limits.of(shape)
    kind = media_type(content_type)
    if kind == FORM:
        return multipart.read_form(content_type.decode("latin-1"), body, limits)
    found = signatures.format_of(body)
    if found is not None:
        drawings = _decode_file(kind, found, body, shape, limits)
        if drawings is not None:
            return drawings
    if kind == JSON or (kind == UNSTATED and signatures.is_json(body)):
        return documents.read(body, shape, limits, is_blank_allowed)
    if kind == NPY:
        return arrays.read_npy(body, shape, limits)
    if kind == NPZ:
        return npz.read(body, shape, limits)
    if kind in _MAY_BE_BASE64 and signatures.may_be_base64_picture(body):
        with suppress(MalformedRequest):
            file = base64_text.decode(body, "Body")
            if signatures.format_of(file) in signatures.PICTURES:
                return [Drawing("Body", file)]
    if kind == OCTETS:
        if body[:1] in b"{ \t\r\n\xef" and signatures.is_json_object(body):
            expected = f"{OCTETS}, one byte a pixel"
            raise MalformedRequest("Body", expected, f"JSON, whose Content-Type is {JSON}")
        return arrays.read_octets(body, shape, limits)
    if kind in PICTURES:
        return [Drawing("Body", body)]
    raise UnsupportedMediaType("Content-Type", CONTENT_TYPES, _quoted(content_type))


def _decode_file(kind: str, found: str, body: bytes, shape: Shape, limits: Limits) -> Drawings | None:
    """Decode a file of a known format; None if it is not accepted with this content type.

    Args:
        kind: The content type, as `media_type` returns it.
        found: The format, as `signatures.format_of` returns it.
        body: The whole file.
        shape: Shape of one image of the model.
        limits: Limits of one request, for this shape.
    """
    if kind not in CONTENT_TYPES and kind != UNSTATED and not kind.startswith("image/"):
        return None
    if found == signatures.NPY:
        return arrays.read_npy(body, shape, limits)
    if found == signatures.ZIP:
        return npz.read(body, shape, limits)
    if found in signatures.PICTURES or kind in CONTENT_TYPES:
        return [Drawing("Body", body)]  # a file of another format is refused by its name
    return None


def is_compressed(body: bytes) -> bool:
    """Return whether a body is an archive, so that decoding it takes longer than its size suggests."""
    return body[:2] == b"PK"


def decode_rows(content_type: bytes, body: bytes, shape: Shape, limits: Limits) -> NDArray[np.float32]:
    """Decode a request body for a network whose input is a row of numbers.

    Args:
        content_type: As in `decode`.
        body: The whole body.
        shape: Shape of one row of the model, (n,).
        limits: Limits of one request.

    Returns:
        (B, n) float32, B >= 1.

    Raises:
        UnsupportedMediaType: The content type is none of `ROW_CONTENT_TYPES`.
        MalformedRequest: The body does not match its content type, or has the wrong shape, dtype or range.
        PayloadTooLarge: There are more rows than the limits allow.
    """
    limits = limits.of(shape)
    kind = media_type(content_type)
    if kind == JSON or (kind == UNSTATED and signatures.is_json(body)):
        return rows.read_json(body, shape, limits)
    if kind == NPY:
        return rows.read_npy(body, shape, limits)
    raise UnsupportedMediaType("Content-Type", ROW_CONTENT_TYPES, _quoted(content_type))


@lru_cache(256)
def media_type(content_type: bytes) -> str:
    """Return the type of a header Content-Type: one of `CONTENT_TYPES`, `UNSTATED`, or an unsupported one.

    In lower case, without parameters. Other names of a type, such as `image/jpg`, are replaced.
    """
    kind = content_type.decode("latin-1").partition(";")[0].strip().lower()
    if kind.startswith("application/") and kind.endswith("+json"):
        return JSON
    return _ALIASES.get(kind, kind)


def _quoted(content_type: bytes) -> str:
    """Return a content type as it was sent, for messages."""
    kind = content_type.decode("latin-1").partition(";")[0].strip().lower()
    return quote(kind) if kind else "none"


def is_accepted(kind: str, accepted: str | None) -> bool:
    """Return whether an Accept header names a content type explicitly; `*/*` does not count.

    Args:
        kind: The content type, in lower case.
        accepted: Value of the header; None if it is absent.
    """
    if accepted is None or kind not in (lowered := accepted.lower()):
        return False
    for one in lowered.split(","):
        name, *parameters = (part.strip() for part in one.split(";"))
        if name == kind:
            return not any(re.fullmatch(r"q\s*=\s*0(\.0*)?", parameter) for parameter in parameters)
    return False
