"""Checks and converts the service's answers: they may come from anything that listens at the address."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from inkling.client.connection import Answer
from inkling.errors import InvalidResponse, MalformedRequest
from inkling.predictions import ClassProbability, Prediction, Predictions
from service.codecs import arrays, content_types
from service.core.wording import quote

_MAX_SIDE = 10_000


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits of one request to a service.

    Attributes:
        images: Images.
        body_bytes: Size of the body in bytes.
        picture_pixels: Pixels of all picture files.
        points: Points of a drawing sent as strokes.
    """

    images: int
    body_bytes: int
    picture_pixels: int
    points: int


SMALLEST_LIMITS = RequestLimits(images=256, body_bytes=2**20, picture_pixels=4_000_000, points=10_000)
"""Limits of a service that does not tell them; a service with still lower ones answers 413."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that a service serves.

    Attributes:
        name: Its name.
        version: The version that answers.
        versions: All versions that are served.
        description: What it is.
        shape: Shape of one image.
        labels: The classes.
        limits: Limits of one request.
    """

    name: str
    version: str
    versions: tuple[str, ...]
    description: str
    shape: tuple[int, ...]
    labels: tuple[str, ...]
    limits: RequestLimits


def read_models(answer: Answer) -> tuple[str | None, list[ModelInfo]]:
    """Return the name of the default model, or None, and every model."""
    document = _object(answer)
    try:
        default = document["default"]
        models = [_info(item) for item in document["models"]]
    except _WRONG as error:
        raise InvalidResponse("a list of models", _shown(answer)) from error
    return (default if isinstance(default, str) else None), models


def read_model(answer: Answer) -> ModelInfo:
    """Return the model of an answer."""
    try:
        return _info(_object(answer))
    except _WRONG as error:
        raise InvalidResponse("a description of a model", _shown(answer)) from error


def read_predictions(answer: Answer, count: int) -> Predictions:
    """Return the predictions of an answer of `predict`.

    Args:
        answer: The answer.
        count: Number of images of the request.
    """
    document = _object(answer)
    try:
        items = [_prediction(item) for item in document["predictions"]]
        model, version = _text(document["model"]), _text(document["version"])
    except _WRONG as error:
        raise InvalidResponse("predictions", _shown(answer)) from error
    if len(items) != count:
        raise InvalidResponse(f"{count:,} predictions", f"{len(items):,}")
    return Predictions(model, version, items)


def read_probabilities(answer: Answer, count: int, classes: int | None) -> NDArray[np.float32]:
    """Return the array of an answer of `probabilities`.

    Args:
        answer: The answer.
        count: Number of images of the request.
        classes: Number of classes; None if it is not known.
    """
    kind = answer.headers.get("content-type", "")
    if kind != content_types.NPY:
        raise InvalidResponse(content_types.NPY, quote(kind))
    try:
        found = arrays.load_npy(answer.body)
    except MalformedRequest as error:
        raise InvalidResponse("a NumPy array", f"another file: {error}") from error
    is_matrix = found.dtype == np.float32 and found.ndim == 2 and len(found) == count
    if not is_matrix or (classes is not None and found.shape[1] != classes):
        expected = f"float32 of shape ({count}, {classes or 'classes'})"
        raise InvalidResponse(expected, f"{found.dtype} of shape {found.shape}")
    if not bool(np.all((found >= 0) & (found <= 1.000001))):  # NaN fails too
        raise InvalidResponse("probabilities 0..1", "other numbers")
    return found.astype(np.float32)


_WRONG = (KeyError, TypeError, ValueError, AttributeError)


def _object(answer: Answer) -> dict[str, Any]:
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError as error:
        raise InvalidResponse("JSON", _shown(answer)) from error
    if not isinstance(document, dict):
        raise InvalidResponse("a JSON object", _shown(answer))
    return document


def _shown(answer: Answer) -> str:
    return quote(answer.body[:100])


def _info(item: dict[str, Any]) -> ModelInfo:
    shape = tuple(_number(side, _MAX_SIDE) for side in item["input"])
    if not shape:
        raise ValueError
    limits = item.get("limits")
    return ModelInfo(
        name=_text(item["name"]),
        version=_text(item["version"]),
        versions=tuple(_text(version) for version in item["versions"]),
        description=_text(item["description"]),
        shape=shape,
        labels=tuple(_text(label) for label in item["labels"]),
        limits=SMALLEST_LIMITS
        if limits is None
        else RequestLimits(
            images=_number(limits["images"]),
            body_bytes=_number(limits["body_bytes"]),
            picture_pixels=_number(limits["picture_pixels"]),
            points=_number(limits["points"]),
        ),
    )


def _prediction(item: dict[str, Any]) -> Prediction:
    sure, index = item.get("sure"), item["index"]
    if type(sure) not in (bool, type(None)) or type(index) is not int or index < 0:
        raise ValueError
    return Prediction(
        label=_text(item["label"]),
        index=index,
        confidence=_probability(item["confidence"]),
        top=tuple(
            ClassProbability(_text(part["label"]), _probability(part["probability"])) for part in item["top"]
        ),
        sure=sure,
        prepared=item.get("prepared") is True,
        several=item.get("several") is True,
        unclear=item.get("unclear"),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _probability(value: object) -> float:
    if not isinstance(value, float | int) or not 0 <= value <= 1.000001:
        raise ValueError
    return float(value)


def _number(value: object, largest: int = 2**40) -> int:
    if type(value) is not int or not 1 <= value <= largest:
        raise ValueError
    return value
