"""Image sets of the preprocessing ablation: MNIST, centred drawings and canvases, after every step."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from training.data.examples import Examples
from training.data.pen_digits import PenDigit, donors
from training.evaluation.ablation import steps
from training.synthesis.canvases import client, generated, pictures

Pixels = NDArray[np.uint8]

MNIST = "MNIST test"
CENTRED = "drawn tidily"

PICTURES_EVERY = 10
"""Pictures are drawn of one digit in so many: they are many kinds, and each takes some 10 milliseconds."""

SIZES = (280, 260, 240, 220, 200)
"""Larger sides of centred drawings, in pixels of 280; MNIST's digits correspond to 200."""


@dataclass(frozen=True)
class ImageSet:
    """Images of one kind after every preprocessing step.

    Attributes:
        name: Name of the set.
        labels: (N,) int64.
        donors: (N,) str, donor of each image; empty for MNIST.
        by_step: (N, 28, 28) uint8, by step.
        clear: (N,) bool, by step: whether it was clear which ink is the digit's; without a step all were.
    """

    name: str
    labels: NDArray[np.int64]
    donors: NDArray[np.str_]
    by_step: Mapping[str, Pixels]
    clear: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)


def choose_digits(digits: Sequence[PenDigit], count: int) -> list[PenDigit]:
    """Return up to `count` digits of each donor, chosen at random with a fixed seed."""
    generator = np.random.default_rng(1)
    chosen = []
    for donor in donors(digits):
        own = [digit for digit in digits if digit.donor == donor]
        rows = generator.permutation(len(own))[:count]
        chosen += [own[row] for row in np.sort(rows)]
    return chosen


def all_sets(test: Examples, digits: Sequence[PenDigit]) -> Iterator[ImageSet]:
    """Yield MNIST's test images, digits drawn centred and in several sizes, and on every kind of canvas."""
    yield mnist_set(test)
    yield centred_set(digits)
    yield sizes_set(digits)
    for kind in generated.KINDS:
        yield canvas_set(digits, kind)
    for kind_of_client in client.KINDS:
        yield client_set(digits, kind_of_client)
    yield pictures_set(digits[::PICTURES_EVERY])


def mnist_set(test: Examples) -> ImageSet:
    """Preprocess MNIST's test images as if each were a canvas."""
    images = map(steps.preprocess, test.pixels)
    return ImageSet(MNIST, test.labels, np.array([], np.str_), _stack(images))


def centred_set(digits: Sequence[PenDigit]) -> ImageSet:
    """Preprocess digits drawn centred; also rendered from their strokes."""
    images = (steps.preprocess(np.asarray(generated.render_centred(digit.strokes))) for digit in digits)
    from_strokes = np.stack([steps.render_strokes(digit.strokes) for digit in digits])
    return _image_set(CENTRED, digits, {**_stack(images), steps.DRAWN: from_strokes})


def sizes_set(digits: Sequence[PenDigit]) -> ImageSet:
    """Draw digits centred in several sizes, and only scale them down."""
    by_size = {
        f"{size} of {generated.CENTRED_SIDE} pixels": np.stack(
            [steps.scale(np.asarray(generated.render_centred(digit.strokes, size))) for digit in digits]
        )
        for size in SIZES
    }
    return _image_set(f"{CENTRED}, only {steps.SCALED}, by the drawing's size", digits, by_size)


def canvas_set(digits: Sequence[PenDigit], kind: generated.Kind) -> ImageSet:
    """Preprocess digits on random canvases of one kind."""
    generator = np.random.default_rng(2)
    images = (
        steps.preprocess(np.asarray(generated.render(digit.strokes, generator, kind))) for digit in digits
    )
    return _image_set(f"{kind} canvases", digits, _stack(images))


def client_set(digits: Sequence[PenDigit], kind: client.Kind) -> ImageSet:
    """Scale canvases down to 28 x 28 as clients do, and preprocess them as `prepare=auto`."""
    generator = np.random.default_rng(3)
    images = np.stack([client.render(digit.strokes, generator, kind) for digit in digits])
    by_step = {steps.SENT: images, steps.AUTO: steps.prepare_small(images)}
    return _image_set(f"scaled down by the client, {kind}", digits, by_step)


def pictures_set(digits: Sequence[PenDigit]) -> ImageSet:
    """Preprocess pictures of every kind as image files are."""
    by_kind, clear = {}, {}
    for kind in pictures.KINDS:
        generator = np.random.default_rng(4)
        prepared = [
            steps.prepare_picture(pictures.render(digit.strokes, generator, kind)) for digit in digits
        ]
        by_kind[kind] = np.stack([image for image, _ in prepared])
        clear[kind] = np.array([is_clear for _, is_clear in prepared])
    return replace(_image_set("pictures of more than a digit", digits, by_kind), clear=clear)


def _image_set(name: str, digits: Sequence[PenDigit], by_step: Mapping[str, Pixels]) -> ImageSet:
    labels = np.array([digit.label for digit in digits])
    return ImageSet(name, labels, np.array([digit.donor for digit in digits]), by_step)


def _stack(images: Iterable[Mapping[str, Pixels]]) -> dict[str, Pixels]:
    """Return the images of each step as one array: (N, 28, 28)."""
    rows = list(images)
    return {step: np.stack([row[step] for row in rows]) for step in rows[0]}
