"""Content types of request bodies, and the decoder of each: the table of formats."""

import re
from functools import lru_cache

from service.codecs import arrays, multipart
from service.codecs.drawings import Drawing, Drawings, Limits, Shape
from service.codecs.json import documents
from service.core.errors import UnsupportedMediaType
from service.core.wording import quote

JSON = "application/json"
OCTETS = "application/octet-stream"
NPY = "application/x-npy"
FORM = "multipart/form-data"
PICTURES = ("image/png", "image/jpeg", "image/webp")
CONTENT_TYPES = (JSON, OCTETS, NPY, *PICTURES, FORM)


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
        At least one image. Image files are not decoded yet, so that this is quick.

    Raises:
        UnsupportedMediaType: The content type is none of `CONTENT_TYPES`.
        MalformedRequest: The body does not match its content type, or has the wrong shape, dtype or range.
        PayloadTooLarge: More images or points than the limits allow.
        BlankImage: A drawing has no points, or all pixels of an image in JSON are 0 and that is not allowed.
    """
    limits = limits.of(shape)
    kind = media_type(content_type)
    if kind == JSON:
        return documents.read(body, shape, limits, is_blank_allowed)
    if kind == OCTETS:
        return arrays.read_octets(body, shape, limits)
    if kind == NPY:
        return arrays.read_npy(body, shape, limits)
    if kind in PICTURES:
        return [Drawing("Body", body)]
    if kind == FORM:
        return multipart.read_form(content_type.decode("latin-1"), body, limits)
    raise UnsupportedMediaType("Content-Type", CONTENT_TYPES, quote(kind) if kind else "none")


@lru_cache(256)
def media_type(content_type: bytes) -> str:
    """Return the type of a header Content-Type in lower case, without its parameters."""
    return content_type.decode("latin-1").partition(";")[0].strip().lower()


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
