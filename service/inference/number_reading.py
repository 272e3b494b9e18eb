"""Reading of numbers: a drawing is cut into candidates, and their predictions are decoded to digits."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.codecs.drawings import Drawings, Limits
from service.codecs.pictures import image_files
from service.core.drawing import mnist, segmentation
from service.core.errors import BlankImage, MalformedRequest, PayloadTooLarge, TensorMismatch
from service.core.network import ood_score
from service.core.reading import candidates as lattices
from service.core.reading import image, lattice
from service.core.reading.candidates import Box, Candidate, Line
from service.core.wording import shape_text
from service.inference.models.model import Model
from service.inference.predictor import Prediction
from service.memory import costs
from service.memory.budget import Budget

MAX_CANDIDATES = 512
"""Candidates of one drawing; a number of ten digits has about thirty as strokes, a hundred as a picture."""

_IMAGE_BYTES = 12 * 2**20
"""Memory that cutting a picture takes beside its candidates: a few float32 arrays of 480 x 480."""

_STROKES = lattice.Weights(1.96, 0.67, -3.99, -2.79, -0.85, 4.23, -0.15)
_PICTURE = lattice.Weights(0.43, 0.38, -5.52, -3.26, -0.39, 3.56, -0.61)
"""Weights by an averaged structured perceptron on numbers of one to five digits, composed from the digits of
one writer each (M. Collins, "Discriminative training methods for hidden Markov models", EMNLP 2002)."""


@dataclass(frozen=True)
class Digit:
    """One digit of a number.

    Attributes:
        box: Bounding box in units of the drawing.
        row: Row of its candidate in the prediction.
    """

    box: Box
    row: int


@dataclass
class NumberReader:
    """Reads the digits of one drawing.

    Attributes:
        limits: Limits of one request.
        budget: Memory budget from which decoding an image file acquires; None acquires nothing.
    """

    limits: Limits
    budget: Budget | None
    _lines: list[Line] = field(default_factory=list)
    _candidates: list[Candidate] = field(default_factory=list)
    _weights: lattice.Weights = _STROKES

    def cut(self, drawings: Drawings) -> NDArray[np.uint8]:
        """Cut the drawing into candidates, and preprocess each.

        Returns:
            (N, 28, 28) uint8.

        Raises:
            MalformedRequest: There are several drawings.
            BlankImage: Nothing is drawn.
            PayloadTooLarge: There are more than `MAX_CANDIDATES` candidates, or too many pixels.
            BrokenPicture, TooManyBytes: As `preprocessing.prepare`.
        """
        if len(drawings) != 1:
            raise MalformedRequest("Body", "one drawing", f"{len(drawings):,}")
        drawing = drawings[0]
        content = drawing if isinstance(drawing, np.ndarray) else drawing.content
        name = "Image 0" if isinstance(drawing, np.ndarray) else drawing.field
        if isinstance(content, list):
            return self._cut_strokes([stroke for stroke in content if len(stroke)], name)
        if isinstance(content, bytes):
            content = image_files.read_grey(content, name, self.limits.picture_pixels, self.budget)[0]
        try:
            pieces, self._lines = image.pieces(content)
        except segmentation.Blank as error:
            raise BlankImage(name) from error
        self._weights = _PICTURE
        self._find([piece.box for piece in pieces], name)
        return np.stack(
            [
                mnist.from_ink(image.joined([pieces[piece] for piece in self._pieces(one)]))
                for one in self._candidates
            ]
        )

    def digits(self, prediction: Prediction) -> list[list[Digit]]:
        """Return the most likely digits: lines from top to bottom, each from left to right.

        Args:
            prediction: The prediction for the candidates.
        """
        scores = prediction.scores
        rule = prediction.model.manifest.certainty
        certainty = np.zeros(len(self._candidates))
        if rule is not None:
            temperature = prediction.model.manifest.temperature
            certainty = ood_score.negative_energy(scores.logits, temperature) - rule.threshold
        terms = lattice.features(self._candidates, scores.probabilities, certainty)
        totals = terms @ np.array(self._weights)
        found = []
        for number, line in enumerate(self._lines):
            rows = [row for row, one in enumerate(self._candidates) if one.line == number]
            path = lattice.best_path([self._candidates[row] for row in rows], totals[rows], len(line.pieces))
            found.append([Digit(self._candidates[rows[step]].box, rows[step]) for step in path])
        return found

    def _cut_strokes(self, strokes: list[NDArray[np.float64]], name: str) -> NDArray[np.uint8]:
        if not strokes:
            raise BlankImage(name, "no points")
        boxes: list[Box] = []
        for stroke in strokes:
            (left, top), (right, bottom) = stroke.min(axis=0).tolist(), stroke.max(axis=0).tolist()
            boxes.append((left, top, right, bottom))
        self._lines = lattices.lines(boxes)
        self._find(boxes, name)
        return np.stack(
            [mnist.from_strokes([strokes[piece] for piece in self._pieces(one)]) for one in self._candidates]
        )

    def _find(self, boxes: list[Box], name: str) -> None:
        for number, line in enumerate(self._lines):
            self._candidates += lattices.runs(boxes, line, number)
        if len(self._candidates) > MAX_CANDIDATES:
            got = f"{len(self._candidates):,}"
            raise PayloadTooLarge(name, MAX_CANDIDATES, "parts that may be a digit", got)

    def _pieces(self, candidate: Candidate) -> tuple[int, ...]:
        return self._lines[candidate.line].pieces[candidate.start : candidate.end]


def check_model(model: Model) -> None:
    """Raise TensorMismatch if a model does not classify images that are preprocessed as MNIST's."""
    if model.preprocessing != "mnist":
        shape = shape_text(model.shape)
        got = f"one of {shape} with preprocessing {model.preprocessing!r}"
        raise TensorMismatch("Model", "of 28 x 28 pixels, to read numbers", got)


def drawing_bytes(model: Model) -> int:
    """Return the memory that reading one drawing takes."""
    each = costs.image_cost(mnist.SIDE * mnist.SIDE, len(model.manifest.labels))
    return _IMAGE_BYTES + MAX_CANDIDATES * each
