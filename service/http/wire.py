"""Bytes to images and answers to bytes, by content type.

The only room that knows how either is spelled; each kind of body is read in a file of its own. After it
nothing knows that JSON exists; before it nothing knows what a model is.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

import orjson
from starlette.responses import Response

from service.core.errors import UnsupportedMediaType
from service.core.trace import Trace
from service.http import array_body, entries, json_body, picture_body, steps
from service.http.drawings import Drawing, Drawings, Limits, Shape, quote
from service.http.headers import Headers
from service.serving.predictor import Prediction

JSON = "application/json"
OCTETS = "application/octet-stream"
NPY = "application/x-npy"
FORM = "multipart/form-data"
PICTURES = ("image/png", "image/jpeg", "image/webp")
AS_JSON: Headers = ((b"content-type", JSON.encode()),)
VARY_ACCEPT: Headers = ((b"vary", b"Accept"),)
CONTENT_TYPES = (JSON, OCTETS, NPY, *PICTURES, FORM)


def decode(
    content_type: bytes, body: bytes, shape: Shape, limits: Limits, is_blank_allowed: bool = False
) -> Drawings:
    """Read what a request carries.

    Args:
        content_type: The header as it came, parameters included; empty if it did not come.
        body: The whole body.
        shape: Of one image as the model takes it.
        limits: How much one request may hold.
        is_blank_allowed: Whether an image in JSON may be nothing but zeros.

    Returns:
        At least one image; picture files are not opened yet, so that this is quick.

    Raises:
        UnsupportedMediaType: The content type is none of `CONTENT_TYPES`.
        MalformedRequest: The body is not what its content type says, or not of the right shape, type
            or range.
        PayloadTooLarge: More images or points than the limits allow.
        BlankImage: A drawing of no points, or an image in JSON of zeros that is not allowed.
    """
    limits = limits.of(shape)
    kind = media_type(content_type)
    if kind == JSON:
        return json_body.read(body, shape, limits, is_blank_allowed)
    if kind == OCTETS:
        return array_body.read_octets(body, shape, limits)
    if kind == NPY:
        return array_body.read_npy(body, shape, limits)
    if kind in PICTURES:
        return [Drawing("Body", body)]
    if kind == FORM:
        return picture_body.read_form(content_type.decode("latin-1"), body, limits)
    raise UnsupportedMediaType("Content-Type", CONTENT_TYPES, quote(kind) if kind else "none")


@lru_cache(256)
def media_type(content_type: bytes) -> str:
    """Return the type of a header Content-Type in lower case, without its parameters."""
    return content_type.decode("latin-1").partition(";")[0].strip().lower()


def asks_for(kind: str, accepted: str | None) -> bool:
    """Tell whether a caller names a content type among those that it accepts.

    Args:
        kind: The content type, in small letters.
        accepted: The header Accept as it came; None if it did not.
    """
    if accepted is None or kind not in (lowered := accepted.lower()):
        return False
    for one in lowered.split(","):
        name, *parameters = (part.strip() for part in one.split(";"))
        if name == kind:
            return not any(re.fullmatch(r"q\s*=\s*0(\.0*)?", parameter) for parameter in parameters)
    return False


_PREPARED = ',"prepared":true'

Describe = Callable[[Prediction, int], Sequence[str]]
"""What an answer says of each image: of the prediction, and how many classes to name; the members of a JSON
object, without its braces."""


def encode(
    prediction: Prediction,
    describe: Describe,
    top: int,
    seen: bool,
    traces: list[Trace] | None = None,
    changed: Sequence[int] = (),
) -> bytes:
    """Write the answer of a POST.

    Args:
        prediction: What the model said.
        describe: `labels` or `probabilities`, or what adds to them.
        top: How many of the likeliest classes to name for each image.
        seen: Whether to add the pixels that the network saw.
        traces: How each image was prepared, to be added as steps; None adds none.
        changed: Numbers of the images to which `"prepared": true` is added.

    Returns:
        JSON.
    """
    said = [*describe(prediction, top)]
    for row in changed:
        said[row] += _PREPARED
    if seen:
        said = [add(entry, seen=image) for entry, image in zip(said, prediction.images, strict=True)]
    if traces is not None:
        said = [add(entry, steps=steps.write(trace)) for entry, trace in zip(said, traces, strict=True)]
    model = prediction.model
    said[0] = _head(model.name, model.version) + said[0]  # not to copy a long text once more
    said[-1] += "}]}"
    return "},{".join(said).encode()


def labels(prediction: Prediction, top: int) -> Sequence[str]:
    """Name the likeliest class of each image, and the `top` likeliest with their probabilities.

    A model that can tell what it does not know also says whether it is sure.
    """
    return entries.write(prediction, top, is_full=False)


def probabilities(prediction: Prediction, top: int) -> Sequence[str]:
    """Say what `labels` says, and the probability of every class."""
    return entries.write(prediction, top, is_full=True)


def add(entry: str, **members: object) -> str:
    """Add members to those of an object."""
    return f"{entry},{dump_json(members)[1:-1].decode()}"


@lru_cache
def _head(name: str, version: str) -> str:
    return f'{{"model":{_quoted(name)},"version":{_quoted(version)},"predictions":[{{'


def _quoted(text: str) -> str:
    return dump_json(text).decode()


def respond(document: object) -> Response:
    """Return a JSON answer with status 200."""
    return Response(dump_json(document), media_type=JSON)


def dump_json(document: object) -> bytes:
    """Write JSON; arrays become lists, float32 in as few digits as tell it from its neighbours."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
