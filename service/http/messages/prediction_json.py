"""Encodes predictions as JSON: the top classes of each image, and optionally all probabilities.

Objects are assembled as text: one call formats all numbers, and the text between them is cached per model.
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
from service.codecs.pictures import png
from service.core.drawing.steps import StepRecorder
from service.inference.predictor import Prediction, Run
from service.inference.preprocessing import Findings

Members = Callable[[Prediction, int], Sequence[str]]
"""Returns the members of the JSON object of each image, without braces, for a number of top classes."""


_MAX_CHARACTER = 6
"""Bytes of the longest character in JSON, `\\u001f`."""

_PREPARED = ',"prepared":true'
_SEVERAL = ',"several":true'
_IS_SURE, _IS_NOT_SURE = '],"sure":true', '],"sure":false'
"""No label contains the first: quotes in labels are escaped."""


def encode(
    prediction: Prediction,
    members: Members,
    top: int,
    seen: bool,
    recorders: list[StepRecorder] | None = None,
    findings: Findings | None = None,
    files: Sequence[str | None] = (),
) -> bytes:
    """Encode the response of `predict`, `probabilities` or `explain`.

    Args:
        prediction: The prediction.
        members: `labels`, `probabilities`, or a function that adds to their members.
        top: Number of top classes for each image.
        seen: Whether to add the preprocessed pixels.
        recorders: Preprocessing steps of each image to add; None for none.
        findings: Adds `"prepared": true` to the images that it names as changed; adds `"several": true`
            to those of several digits and `unclear` to
            those whose ink is in doubt, which are not sure.
        files: Name of each image's file to add; None for an image without one, empty if no image has one.

    Returns:
        JSON in UTF-8.
    """
    objects = [*members(prediction, top)]
    if findings is not None:
        for row in findings.changed:
            objects[row] += _PREPARED
        for row in findings.several:
            objects[row] = objects[row].replace(_IS_SURE, _IS_NOT_SURE, 1) + _SEVERAL
        for row, doubt in findings.unclear.items():
            objects[row] = f'{objects[row].replace(_IS_SURE, _IS_NOT_SURE, 1)},"unclear":"{doubt}"'
    for row, file in enumerate(files):
        if file is not None:
            objects[row] = add(objects[row], file=file)
    if seen:
        objects = [add(entry, seen=image) for entry, image in zip(objects, prediction.images, strict=True)]
    if recorders is not None:
        objects = [
            add(item, steps=write_steps(recorder)) for item, recorder in zip(objects, recorders, strict=True)
        ]
    model = prediction.model
    objects[0] = _head(model.name, model.version) + objects[0]  # saves one copy of a long text
    objects[-1] += "}]}"
    return "},{".join(objects).encode()


def labels(prediction: Prediction, top: int) -> Sequence[str]:
    """Return label, index and probability of the top class, the `top` classes, and `sure` if there is one."""
    return _members(prediction, top, is_full=False)


def probabilities(prediction: Prediction, top: int) -> Sequence[str]:
    """Return the members of `labels`, and the probability of every class."""
    return _members(prediction, top, is_full=True)


def add(entry: str, **members: object) -> str:
    """Return the members of an object with further members."""
    return f"{entry},{documents.dump(members)[1:-1].decode()}"


def longest(files: Sequence[str | None]) -> int:
    """Return the bytes of the longest of some files' names in a response, or more; 0 without names."""
    return max((_MAX_CHARACTER * len(file) for file in files if file is not None), default=0)


@lru_cache
def _head(name: str, version: str) -> str:
    return f'{{"model":{_quoted(name)},"version":{_quoted(version)},"predictions":[{{'


def _quoted(text: str) -> str:
    return documents.dump(text).decode()


_FEW = 6
"""Number of images below which `_by_rows` is faster than `_by_columns`: 7 and 14 microseconds for one image,
44 and 14 for 16, 2,800 and 400 for 1,024."""


@dataclass(frozen=True)
class _Fragments:
    """The text before the probability of each class, for its three places in an object.

    Attributes:
        confidence: As the top class.
        first: As the first of the top classes.
        next: As another of the top classes.
    """

    confidence: list[str]
    first: list[str]
    next: list[str]
    confidence_array: NDArray[np.object_]
    first_array: NDArray[np.object_]
    next_array: NDArray[np.object_]


@lru_cache
def _fragments(labels: tuple[str, ...]) -> _Fragments:
    names = [_dump(label) for label in labels]
    columns = (
        [f'"label":{name},"index":{i},"confidence":' for i, name in enumerate(names)],
        [f',"top":[{{"label":{name},"probability":' for name in names],
        [f'}},{{"label":{name},"probability":' for name in names],
    )
    return _Fragments(*columns, *(np.array(column, object) for column in columns))


_WITHOUT_SURE = repeat("}]")
_SURE = {True: '}],"sure":true', False: '}],"sure":false'}


def _members(prediction: Prediction, top: int, is_full: bool) -> Sequence[str]:
    """Return the members of each object.

    Args:
        prediction: The prediction.
        top: Number of top classes; classes with equal probabilities keep their order.
        is_full: Whether to add the probability of every class.
    """
    return prediction.per_image(_write, top, is_full)


def _write(run: Run, top: int, is_full: bool) -> list[str]:
    scores = run.scores.probabilities
    fragments = _fragments(run.model.manifest.labels)
    rankings = (-scores).argsort(axis=1, kind="stable")[:, :top]
    sure = _WITHOUT_SURE if run.sure is None else map(_SURE.__getitem__, run.sure.tolist())
    if len(scores) < _FEW:
        return _by_rows(scores, rankings, fragments, sure, is_full)
    return _by_columns(scores, rankings, fragments, sure, is_full)


def _by_rows(
    scores: NDArray[np.float32],
    rankings: NDArray[np.intp],
    fragments: _Fragments,
    sure: Iterable[str],
    is_full: bool,
) -> list[str]:
    """Assemble each object in a loop."""
    confidence, first, following = fragments.confidence, fragments.first, fragments.next
    objects = []
    for row, ranking, end in zip(_rows(scores), rankings.tolist(), sure, strict=False):
        numbers = row.split(",")
        top = ranking[0]
        number = numbers[top]
        more = "".join([f"{following[i]}{numbers[i]}" for i in ranking[1:]])
        entry = f"{confidence[top]}{number}{first[top]}{number}{more}{end}"
        objects.append(f'{entry},"probabilities":[{row}]' if is_full else entry)
    return objects


def _by_columns(
    scores: NDArray[np.float32],
    rankings: NDArray[np.intp],
    fragments: _Fragments,
    sure: Iterable[str],
    is_full: bool,
) -> list[str]:
    """Assemble all objects at once from columns, each with one piece of every object."""
    images = len(scores)
    ranks = rankings.T  # (top, images)
    numbers = _dump(scores.take(ranks + np.arange(0, scores.size, scores.shape[1])).ravel())[1:-1].split(",")
    first = numbers[:images]
    columns: list[Iterable[str]] = [
        fragments.confidence_array.take(ranks[0]).tolist(),
        first,
        fragments.first_array.take(ranks[0]).tolist(),
        first,
    ]
    for place, texts in enumerate(fragments.next_array.take(ranks[1:]).tolist(), start=1):
        columns += texts, numbers[place * images : (place + 1) * images]
    columns.append(sure)
    if is_full:
        columns += repeat(',"probabilities":['), _rows(scores), repeat("]")
    return list(map("".join, zip(*columns, strict=False)))


def _rows(scores: NDArray[np.float32]) -> list[str]:
    """Return the probabilities of each image, joined by commas."""
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


def write_steps(recorder: StepRecorder) -> list[dict[str, Any]]:
    """Return the preprocessing steps of an image as JSON objects; pictures are data URLs of PNG files."""
    entries = []
    for step in recorder.steps:
        height, width = step.picture.shape[:2]
        titles = _TITLES if step.picture.ndim == 2 else _PHOTO_TITLES
        encoded = base64.b64encode(png.write(step.picture)).decode("ascii")
        entries.append(
            {
                "name": step.name,
                "title": titles[step.name],
                "width": width,
                "height": height,
                "picture": f"data:image/png;base64,{encoded}",
            }
        )
    return entries
