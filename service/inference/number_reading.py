"""Reading of numbers: a drawing is cut into candidates, and their predictions are decoded to digits."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.codecs.drawings import Drawings, Limits
from service.codecs.pictures import image_files
from service.core.drawing import mnist
from service.core.errors import BlankImage, MalformedRequest, PayloadTooLarge, TensorMismatch
from service.core.network import ood_score
from service.core.reading import image, lattice, strokes, weights
from service.core.reading.candidates import Box, Lattice, TooManyCandidates
from service.core.reading.lattice import Sizes, Weights
from service.core.segmentation.paper import Blank
from service.core.wording import shape_text
from service.inference.models.model import Model
from service.inference.predictor import Prediction
from service.memory import costs
from service.memory.budget import Budget

MAX_CANDIDATES = 1024
"""Candidates of one drawing; a number of three digits has about ten as strokes, two hundred as a picture."""

_IMAGE_BYTES = 12 * 2**20
"""Memory that cutting a picture takes beside its candidates: a few arrays of 480 x 480, and its seams."""


@dataclass(frozen=True)
class Digit:
    """One digit of a number.

    Attributes:
        box: Bounding box in units of the drawing: of strokes, or pixels of the file.
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
    _lattice: Lattice | None = None
    _reduction: float = 1.0
    _weights: Weights = weights.STROKES
    _sizes: Mapping[str, Sizes] = field(default_factory=lambda: weights.STROKE_SIZES)

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
        try:
            self._lattice = self._cut(content, name)
        except Blank as error:
            raise BlankImage(name) from error
        except TooManyCandidates as error:
            got = f"{error.args[0]:,}"
            raise PayloadTooLarge(name, MAX_CANDIDATES, "parts that may be a digit", got) from error
        return self._lattice.images

    def digits(self, prediction: Prediction) -> list[list[Digit]]:
        """Return the most likely digits: lines from top to bottom, each from left to right.

        Args:
            prediction: The prediction for the candidates.
        """
        assert self._lattice is not None, "digits after cut"
        candidates, scores, manifest = self._lattice.candidates, prediction.scores, prediction.model.manifest
        certainty = np.zeros(len(candidates))
        if manifest.certainty is not None:
            energy = ood_score.negative_energy(scores.logits, manifest.temperature)
            certainty = energy - manifest.certainty.threshold
        usual = [self._sizes.get(label) for label in manifest.labels]
        terms = lattice.features(candidates, scores.probabilities, certainty, usual)
        lines = lattice.read(self._lattice, terms @ np.array(self._weights))
        return [[Digit(self._box_of(candidates[row].box), row) for row in line] for line in lines]

    def _box_of(self, box: Box) -> Box:
        """Return a box of the decoded image in pixels of the file."""
        left, top, right, bottom = box
        return (
            left * self._reduction,
            top * self._reduction,
            right * self._reduction,
            bottom * self._reduction,
        )

    def _cut(self, content: NDArray[np.uint8] | list[NDArray[np.float64]] | bytes, name: str) -> Lattice:
        if isinstance(content, list):
            drawn = [stroke for stroke in content if len(stroke)]
            if not drawn:
                raise BlankImage(name, "no points")
            self._weights, self._sizes = weights.STROKES, weights.STROKE_SIZES
            return strokes.cut(drawn, MAX_CANDIDATES)
        self._weights, self._sizes = weights.PICTURE, weights.PICTURE_SIZES
        if isinstance(content, bytes):
            grey, _, self._reduction = image_files.read_grey(
                content, name, self.limits.picture_pixels, self.budget
            )
            return image.cut(grey, MAX_CANDIDATES)
        return image.cut(content, MAX_CANDIDATES)


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
