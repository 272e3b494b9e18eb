"""Detection of drawings that show several digits, so that a prediction for them is not called sure.

Preprocessing finds the few drawings whose parts lie as several digits may (`preprocessing.Findings`). They
are read as `read` does, and that reading is compared with the prediction for the whole drawing.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.codecs.drawings import Drawing, Limits
from service.core.errors import BlankImage, PayloadTooLarge
from service.core.inputs import Inputs
from service.core.reading.candidates import Box
from service.inference import number_reading
from service.inference.models.model import Model
from service.inference.number_reading import NumberReader
from service.inference.predictor import Prediction, Run
from service.inference.preprocessing import Drawn
from service.memory.budget import Budget

MAX_CANDIDATES = 4096
"""Candidates of all drawings of one request; the drawings after that are not examined. A digit whose parts
lie apart has about 6, a number of three digits 30."""

_TALL = 0.45
"""Height of a digit, relative to the tallest one of the drawing."""

_LIKELY, _LIKELIER = 0.5, 0.9
"""Probability of the top class of a digit; and if the whole drawing is a digit for the network too."""

_EDGE = 0.01
"""Distance from the picture's left or right edge, relative to its width, within which a part may be a table
or a neighbour's ink that reaches in."""

_BESIDE = -0.15
"""Horizontal distance of two digits, in heights of the taller one, from which on they are apart if the whole
drawing is a digit for the network too."""

_BESIDE_IN_PICTURE = 0.02
"""The same in a picture, where parts of one connected component are closer."""

_BESIDE_IN_FOUR = 0.15
"""The same if that digit is a four, which many people draw in two tall strokes that do not touch."""

_BELOW = 0.3
"""The same vertically: the circles of an eight may be that far apart."""


def find(
    doubtful: Mapping[int, Drawn],
    images: Inputs,
    model: Model,
    run_model: Callable[[Model, NDArray[np.uint8]], Run],
    limits: Limits,
    budget: Budget | None = None,
) -> list[int]:
    """Return the indices of the drawings that show several digits.

    Args:
        doubtful: The drawings that may, by index.
        images: (B, 28, 28) uint8, the images of the whole drawings of the request.
        model: The model; its images are preprocessed as MNIST's.
        run_model: Runs it on a batch.
        limits: Limits of one request.
        budget: Memory budget from which reading acquires; None acquires nothing.

    Raises:
        TooManyBytes: Reading takes more memory than is available now.
    """
    if not doubtful:
        return []
    found = []
    left = MAX_CANDIDATES
    acquired = nullcontext() if budget is None else budget.acquired(number_reading.drawing_bytes(model))
    with acquired:
        for row, drawn in doubtful.items():
            if left <= 0:
                break
            reader = NumberReader(limits, budget)
            content = np.asarray(drawn) if isinstance(drawn, Image.Image) else drawn
            width = None if isinstance(drawn, list) else np.asarray(drawn).shape[1]
            try:
                candidates = reader.cut([Drawing(f"Image {row}", content)])
            except BlankImage:
                continue
            except PayloadTooLarge:  # more parts than any digit has
                left -= number_reading.MAX_CANDIDATES
                found.append(row)
                continue
            left -= len(candidates)
            run = run_model(model, np.concatenate([candidates, images[row : row + 1]]))
            digits = [digit for line in reader.digits(Prediction(run, 0, len(candidates))) for digit in line]
            boxes = [digit.box for digit in digits]
            probabilities = run.scores.probabilities[[digit.row for digit in digits]].max(axis=1).tolist()
            whole = Prediction(run, len(candidates), 1)
            if _are_several(boxes, probabilities, width, whole):
                found.append(row)
    return found


def _are_several(
    boxes: Sequence[Box], probabilities: Sequence[float], width: int | None, whole: Prediction
) -> bool:
    """Return whether several digits are likelier than the prediction for the whole drawing.

    Args:
        boxes: Bounding box of each part that was read as a digit.
        probabilities: Probability of its top class.
        width: Width of the picture; None for strokes.
        whole: Prediction for the whole drawing.
    """
    if not _is_digit(whole):
        return len(_digits(boxes, probabilities, width, _LIKELY)) > 1
    label = whole.model.manifest.labels[int(whole.scores.probabilities[0].argmax())]
    beside = _BESIDE if width is None else _BESIDE_IN_PICTURE
    if label == "4":
        beside = _BESIDE_IN_FOUR
    height = max(bottom - top for _, top, _, bottom in boxes)
    for one, other in combinations(_digits(boxes, probabilities, width, _LIKELIER), 2):
        gap_x = max(one[0] - other[2], other[0] - one[2])
        gap_y = max(one[1] - other[3], other[1] - one[3])
        if (gap_x >= beside * height and gap_y < 0) or gap_y >= _BELOW * height:
            return True
    return False


def _digits(
    boxes: Sequence[Box], probabilities: Sequence[float], width: int | None, least: float
) -> list[Box]:
    """Return the boxes of parts that are as tall as digits, likely digits, and not at a picture's side."""
    tallest = max(bottom - top for _, top, _, bottom in boxes)
    tall = [
        box
        for box, probability in zip(boxes, probabilities, strict=True)
        if probability >= least and box[3] - box[1] >= _TALL * tallest
    ]
    if width is None:
        return tall
    left, right = min(box[0] for box in boxes), max(box[2] for box in boxes)
    margin = max(1.0, _EDGE * width)
    if left <= margin and right >= width - margin:  # cropped to the ink
        return tall
    return [box for box in tall if box[0] > margin and box[2] < width - margin]


def _is_digit(whole: Prediction) -> bool:
    """Return whether the network takes the whole drawing for a digit."""
    likely = bool(whole.scores.probabilities.max() >= _LIKELY)
    return likely and (whole.sure is None or bool(whole.sure[0]))
