"""Composed numbers as the service reads them: candidates, predictions and terms of the scores."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.core.network.ood_score import negative_energy
from service.core.reading import image, lattice, strokes
from service.core.reading.candidates import Lattice
from service.core.reading.lattice import Sizes
from training.data.pen_digits import CLASSES, PenDigit
from training.synthesis.numbers import HEIGHT, Pools, WrittenNumber, compose, draw, random_text

Predict = Callable[[NDArray[np.uint8]], NDArray[np.floating]]
"""Maps (N, 28, 28) uint8 to logits, (N, 10)."""

MOST_CANDIDATES = 1024
"""Candidates of one drawing at most, as in the service."""

STROKES_PEN = 2.4 / 20
"""Width of the pen that strokes are rendered with, in heights: digits closer than that touch."""

_BATCH_SIZE = 1000


@dataclass(frozen=True)
class Network:
    """A network that classifies candidates.

    Attributes:
        predict: Computes logits.
        temperature: Temperature of its softmax.
        threshold: Threshold of its out-of-distribution score; None without one.
    """

    predict: Predict
    temperature: float
    threshold: float | None


@dataclass(frozen=True, eq=False)
class Sample:
    """A number with its candidates.

    Attributes:
        text: The number.
        boxes: True boxes of the digits, in units of the drawing: (digits, 4).
        touches: Whether neighbouring digits touch.
        lattice: The candidates; without images.
        labels: Label of each candidate by the network.
        probabilities: (N, 10) of the network.
        certainty: (N,) negative energy less the threshold.
        terms: (N, 13) terms of the scores.
    """

    text: str
    boxes: NDArray[np.float64]
    touches: bool
    lattice: Lattice
    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]
    certainty: NDArray[np.float64]
    terms: NDArray[np.float64]

    def resized(self, sizes: Mapping[str, Sizes]) -> "Sample":
        """Return the sample with the terms of other usual sizes."""
        usual = [sizes.get(label) for label in CLASSES]
        terms = lattice.features(self.lattice.candidates, self.probabilities, self.certainty, usual)
        return replace(self, terms=terms)

    def read(self, weights: Sequence[float]) -> list[list[int]]:
        """Return the candidates of each line with the highest total score."""
        return lattice.read(self.lattice, self.terms @ np.asarray(weights))

    def text_of(self, lines: Iterable[Sequence[int]]) -> str:
        """Return what candidates read."""
        return "\n".join("".join(self.labels[row] for row in line) for line in lines)


def by_writer(digits: Iterable[PenDigit]) -> dict[str, Pools]:
    """Return the digits of each writer by label."""
    pools: dict[str, dict[int, list[Sequence[NDArray[np.float64]]]]] = {}
    for digit in digits:
        pools.setdefault(digit.writer, {}).setdefault(digit.label, []).append(digit.strokes)
    return {writer: pools[writer] for writer in sorted(pools)}


def numbers(writers: Mapping[str, Pools], count: int, seed: int, lines: int = 1) -> list[WrittenNumber]:
    """Compose numbers, each from the digits of a random writer.

    Args:
        writers: The digits of each writer.
        count: How many numbers.
        seed: Seed of the randomness.
        lines: Lines of text of each.
    """
    generator = np.random.default_rng(seed)
    pools = list(writers.values())
    found = []
    for _ in range(count):
        own = pools[int(generator.integers(len(pools)))]
        found.append(compose(own, random_text(own, generator, lines), generator))
    return found


def as_strokes(
    written: Iterable[WrittenNumber], network: Network, sizes: Mapping[str, Sizes]
) -> list[Sample]:
    """Return numbers as the service reads them from strokes."""
    parts = []
    for number in written:
        cut = strokes.cut(number.strokes, MOST_CANDIDATES)
        parts.append((number.text, number.boxes(), number.touches(STROKES_PEN * HEIGHT), cut))
    return _samples(parts, network, sizes)


def as_pictures(
    written: Iterable[WrittenNumber], network: Network, sizes: Mapping[str, Sizes], seed: int
) -> list[Sample]:
    """Return numbers as the service reads them from pictures, drawn with random pens."""
    generator = np.random.default_rng(seed)
    parts = []
    for number in written:
        picture = draw(number, generator)
        half = picture.pen / 2
        boxes = number.boxes() * picture.scale + np.tile(picture.shift, 2) + (-half, -half, half, half)
        cut = image.cut(picture.pixels, MOST_CANDIDATES)
        parts.append((number.text, boxes, number.touches(picture.pen / picture.scale), cut))
    return _samples(parts, network, sizes)


def _samples(
    parts: Sequence[tuple[str, NDArray[np.float64], bool, Lattice]],
    network: Network,
    sizes: Mapping[str, Sizes],
) -> list[Sample]:
    usual = [sizes.get(label) for label in CLASSES]
    images = np.concatenate([cut.images for *_, cut in parts])
    starts = range(0, len(images), _BATCH_SIZE)
    logits = np.concatenate([network.predict(images[start : start + _BATCH_SIZE]) for start in starts])
    found = []
    for text, boxes, touches, cut in parts:
        own, logits = logits[: len(cut.images)], logits[len(cut.images) :]
        certainty = np.zeros(len(own))
        if network.threshold is not None:
            certainty = negative_energy(own, network.temperature) - network.threshold
        tempered = own / network.temperature
        probabilities = np.exp(tempered - np.logaddexp.reduce(tempered, axis=1)[:, None]).astype(np.float32)
        terms = lattice.features(cut.candidates, probabilities, certainty, usual)
        labels = tuple(CLASSES[row] for row in own.argmax(axis=1).tolist())
        without = Lattice(cut.candidates, cut.cuts, cut.images[:0])
        found.append(Sample(text, boxes, touches, without, labels, probabilities, certainty, terms))
    return found
