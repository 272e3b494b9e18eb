"""Encodes predictions as JSON: the likeliest classes of each image, and optionally all probabilities.

The members of each object are assembled as text. All numbers are formatted by one call, and the text between
them is looked up, so that a large batch needs no Python loop per image.
"""

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.codecs.json import documents
from service.codecs.pictures import image_files
from service.core.drawing.steps import Trace
from service.inference.predictor import Prediction, Run

Describe = Callable[[Prediction, int], Sequence[str]]
"""What an answer says of each image: of the prediction, and how many classes to name; the members of a JSON
object, without its braces."""


def encode(
    prediction: Prediction, describe: Describe, top: int, seen: bool, traces: list[Trace] | None = None
) -> bytes:
    """Write the answer of a POST.

    Args:
        prediction: What the model said.
        describe: `labels` or `probabilities`, or what adds to them.
        top: How many of the likeliest classes to name for each image.
        seen: Whether to add the pixels that the network saw.
        traces: How each image was prepared, to be added as steps; None adds none.

    Returns:
        JSON.
    """
    said = [*describe(prediction, top)]
    if seen:
        said = [add(entry, seen=image) for entry, image in zip(said, prediction.images, strict=True)]
    if traces is not None:
        said = [add(entry, steps=write_steps(trace)) for entry, trace in zip(said, traces, strict=True)]
    model = prediction.model
    said[0] = _head(model.name, model.version) + said[0]  # not to copy a long text once more
    said[-1] += "}]}"
    return "},{".join(said).encode()


def labels(prediction: Prediction, top: int) -> Sequence[str]:
    """Name the likeliest class of each image, and the `top` likeliest with their probabilities.

    A model that can tell what it does not know also says whether it is sure.
    """
    return _members(prediction, top, is_full=False)


def probabilities(prediction: Prediction, top: int) -> Sequence[str]:
    """Say what `labels` says, and the probability of every class."""
    return _members(prediction, top, is_full=True)


def add(entry: str, **members: object) -> str:
    """Add members to those of an object."""
    return f"{entry},{documents.dump(members)[1:-1].decode()}"


@lru_cache
def _head(name: str, version: str) -> str:
    return f'{{"model":{_quoted(name)},"version":{_quoted(version)},"predictions":[{{'


def _quoted(text: str) -> str:
    return documents.dump(text).decode()


_FEW = 6
"""Images below which a loop takes less than whole columns do."""


@dataclass(frozen=True)
class _Words:
    """What stands before the numbers of each class; the same as arrays, to look up many at once.

    Attributes:
        likeliest: Before its probability where it is the likeliest.
        first: And again, as the first of those that are named.
        others: As another of those that are named.
    """

    likeliest: list[str]
    first: list[str]
    others: list[str]
    many_likeliest: NDArray[np.object_]
    many_first: NDArray[np.object_]
    many_others: NDArray[np.object_]


@lru_cache
def _words(labels: tuple[str, ...]) -> _Words:
    names = [_dump(label) for label in labels]
    columns = (
        [f'"label":{name},"index":{i},"confidence":' for i, name in enumerate(names)],
        [f',"top":[{{"label":{name},"probability":' for name in names],
        [f'}},{{"label":{name},"probability":' for name in names],
    )
    return _Words(*columns, *(np.array(column, object) for column in columns))


_UNSAID = repeat("}]")
_SURE = {True: '}],"sure":true', False: '}],"sure":false'}


def _members(prediction: Prediction, top: int, is_full: bool) -> Sequence[str]:
    """Write what is said of each image.

    Args:
        prediction: What the model said.
        top: How many of the likeliest classes to name; of equally likely ones the first comes first.
        is_full: Whether to give the probability of every class.

    Returns:
        The members of an object for each image.
    """
    return prediction.per_image(_write, top, is_full)


def _write(run: Run, top: int, is_full: bool) -> list[str]:
    scores = run.scores.probabilities
    words = _words(run.model.manifest.labels)
    rankings = (-scores).argsort(axis=1, kind="stable")[:, :top]
    sure = _UNSAID if run.sure is None else map(_SURE.__getitem__, run.sure.tolist())
    if len(scores) < _FEW:
        return _one_by_one(scores, rankings, words, sure, is_full)
    return _together(scores, rankings, words, sure, is_full)


def _one_by_one(
    scores: NDArray[np.float32],
    rankings: NDArray[np.intp],
    words: _Words,
    sure: Iterable[str],
    is_full: bool,
) -> list[str]:
    likeliest, first, others = words.likeliest, words.first, words.others
    entries = []
    for row, best, certainty in zip(_rows(scores), rankings.tolist(), sure, strict=False):
        numbers = row.split(",")
        one = best[0]
        number = numbers[one]
        more = "".join([f"{others[i]}{numbers[i]}" for i in best[1:]])
        entry = f"{likeliest[one]}{number}{first[one]}{number}{more}{certainty}"
        entries.append(f'{entry},"probabilities":[{row}]' if is_full else entry)
    return entries


def _together(
    scores: NDArray[np.float32],
    rankings: NDArray[np.intp],
    words: _Words,
    sure: Iterable[str],
    is_full: bool,
) -> list[str]:
    """Write the same column by column: first what begins every entry, then what comes second in each."""
    images = len(scores)
    best = rankings.T
    numbers = _dump(scores.take(best + np.arange(0, scores.size, scores.shape[1])).ravel())[1:-1].split(",")
    first = numbers[:images]
    columns: list[Iterable[str]] = [
        words.many_likeliest.take(best[0]).tolist(),
        first,
        words.many_first.take(best[0]).tolist(),
        first,
    ]
    for place, others in enumerate(words.many_others.take(best[1:]).tolist(), start=1):
        columns += others, numbers[place * images : (place + 1) * images]
    columns.append(sure)
    if is_full:
        columns += repeat(',"probabilities":['), _rows(scores), repeat("]")
    return list(map("".join, zip(*columns, strict=False)))


def _rows(scores: NDArray[np.float32]) -> list[str]:
    """Write the numbers of each image, joined by commas."""
    return _dump(scores)[2:-2].split("],[")


def _dump(value: NDArray[Any] | str) -> str:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()


_TITLES = {
    "drawn": "As drawn",
    "ink": "Ink found",
    "cropped": "Cropped",
    "pen": "Pen made usual",
    "fitted": "Fitted into 20 x 20",
    "centred": "Centred by mass in 28 x 28",
    "taken": "As the network sees it",
}

_PHOTO_TITLES = {**_TITLES, "drawn": "As photographed", "cropped": "Middle square"}


def write_steps(trace: Trace) -> list[dict[str, Any]]:
    """Return what an answer says of an image's steps, in order, their pictures as data: URLs of PNG files."""
    entries = []
    for step in trace.steps:
        height, width = step.picture.shape[:2]
        titles = _TITLES if step.picture.ndim == 2 else _PHOTO_TITLES
        png = base64.b64encode(image_files.write_png(step.picture)).decode("ascii")
        entries.append(
            {
                "name": step.name,
                "title": titles[step.name],
                "width": width,
                "height": height,
                "picture": f"data:image/png;base64,{png}",
            }
        )
    return entries
