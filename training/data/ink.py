"""Data set of the model `ink`: MNIST, pen strokes and canvases, evaluated on held-out writers.

Each group of donors in turn is excluded from a fit, with its canvases, and is that fit's evaluation data. The
published network is fitted on all donors.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.core.drawing import components, segmentation, sheet
from service.core.drawing import mnist as preprocessing
from service.core.errors import BlankImage
from training.data import mnist, pen_digits
from training.data.examples import Examples, Split, concatenate
from training.data.pen_digits import CLASSES, PenDigit
from training.synthesis import canvases, nondigits, polylines

NAME = "MNIST and pen strokes"

CANVAS_KINDS: tuple[canvases.Kind, ...] = ("clean", "clean", "tools", "scan", "scan")
"""Kinds of the canvases rendered from each digit."""

HELD_OUT_DONORS = (("apa", "apb"), ("ced", "gmd"), ("syn",))
"""Groups of donors that are held out together. Groups are large, since each costs one more fit."""

MNIST_HELD_OUT = 8000
"""Number of MNIST's training images, from the end, that the same fits exclude: temperature and threshold are
chosen on images that the network has not been fitted on."""

NONDIGITS = 16_000
"""Number of different non-digits to train on."""


@dataclass(frozen=True, eq=False)
class InkData:
    """Training data of `ink`.

    Attributes:
        mnist: MNIST images.
        digits: Pen digits.
        canvases: Preprocessed canvases of the pen digits.
        canvas_digits: (canvases,) int64, index of each canvas's digit in `digits`.
        canvas_kinds: (canvases,) str, kind of each canvas.
        nondigits: Non-digits, as strokes.
    """

    mnist: Examples
    digits: tuple[PenDigit, ...]
    canvases: Examples
    canvas_digits: NDArray[np.int64]
    canvas_kinds: NDArray[np.str_]
    nondigits: tuple[nondigits.Strokes, ...]

    @property
    def donors(self) -> NDArray[np.str_]:
        """(digits,) str, donor of each pen digit."""
        return np.array([digit.donor for digit in self.digits])

    def select_donors(self, donors: Sequence[str]) -> "InkData":
        """Return the digits and canvases of some donors, with all MNIST images and non-digits."""
        chosen = np.isin(self.donors, donors)
        is_chosen_canvas = chosen[self.canvas_digits]
        new_index = np.cumsum(chosen) - 1
        return replace(
            self,
            digits=tuple(digit for digit, is_chosen in zip(self.digits, chosen, strict=True) if is_chosen),
            canvases=self.canvases.select(np.flatnonzero(is_chosen_canvas)),
            canvas_digits=new_index[self.canvas_digits[is_chosen_canvas]],
            canvas_kinds=self.canvas_kinds[is_chosen_canvas],
        )

    def canvases_of_kind(self, kind: str) -> Examples:
        """Return the canvases of one kind."""
        return self.canvases.select(np.flatnonzero(self.canvas_kinds == kind))


def read(folder: Path, cache: Path, notice: Callable[[str], None]) -> tuple[Split, InkData]:
    """Read MNIST and the pen strokes, and render the canvases unless they are cached.

    Args:
        folder: Data folder.
        cache: Folder of the cached canvases.
        notice: Called with a message before rendering, which takes minutes.

    Returns:
        MNIST's official split, and the training data.

    Raises:
        DataMissing, DataCorrupt: As for the two data sets.
        OSError: The cache cannot be written.
    """
    official = mnist.official_split(folder)
    digits = pen_digits.read(folder)
    images, digit_rows, kinds = _canvases(digits, cache, notice)
    return official, InkData(official.train, digits, images, digit_rows, kinds, _nondigits())


def published_split(official: Split, digits: Sequence[PenDigit]) -> Split:
    """Return the split of the published network: all donors and all of MNIST's training images."""
    train = concatenate([official.train, render_digits(digits)])
    return Split("all", NAME, CLASSES, train, None, official.test)


def held_out_split(data: InkData, donors: Sequence[str]) -> tuple[Split, InkData]:
    """Exclude some donors from the training data, and make them the evaluation data.

    Args:
        data: All training data.
        donors: Donors to hold out.

    Returns:
        The split and the remaining training data. The valid part is the donors' digits, rendered from their
        strokes; extra parts are the same digits, the held-out MNIST images, and the donors' canvases.
    """
    remaining = replace(
        data.select_donors([donor for donor in sorted(set(data.donors)) if donor not in donors]),
        mnist=Examples(data.mnist.pixels[:-MNIST_HELD_OUT], data.mnist.labels[:-MNIST_HELD_OUT]),
    )
    held_out = data.select_donors(donors)
    extra = {
        "MNIST": Examples(data.mnist.pixels[-MNIST_HELD_OUT:], data.mnist.labels[-MNIST_HELD_OUT:]),
        "strokes": render_digits(held_out.digits),
        **{f"{kind} canvases": held_out.canvases_of_kind(kind) for kind in dict.fromkeys(CANVAS_KINDS)},
    }
    train = concatenate([remaining.mnist, render_digits(remaining.digits)])
    name = f"without-{'-'.join(donors)}"
    return Split(name, NAME, CLASSES, train, extra["strokes"], None, extra), remaining


def render_digits(digits: Sequence[PenDigit]) -> Examples:
    """Return pen digits rendered by the service."""
    pixels = np.stack([preprocessing.from_strokes(digit.strokes) for digit in digits])
    return Examples(pixels, np.array([digit.label for digit in digits]))


def _nondigits() -> tuple[nondigits.Strokes, ...]:
    generator = np.random.default_rng(1)
    return tuple(nondigits.draw(generator, "training")[1] for _ in range(NONDIGITS))


def _canvases(
    digits: Sequence[PenDigit], cache: Path, notice: Callable[[str], None]
) -> tuple[Examples, NDArray[np.int64], NDArray[np.str_]]:
    """Return preprocessed canvases, the index of each one's digit, and its kind.

    The name of the cache file depends on the digits and on the code that makes the canvases.
    """
    modules = (canvases, polylines, preprocessing, segmentation, sheet, components)
    code = [Path(module.__file__ or "").read_text() for module in modules]
    facts = "\n".join((pen_digits.digest(digits), repr(CANVAS_KINDS), *code))
    path = cache / f"canvases-{hashlib.sha256(facts.encode()).hexdigest()[:16]}.npz"
    if not path.is_file():
        notice(f"rendering {len(digits) * len(CANVAS_KINDS):,} canvases; they are cached in {path.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        with temporary.open("wb") as target:
            pixels, digit_rows, kinds = _render_canvases(digits)
            np.savez_compressed(target, pixels=pixels, places=digit_rows, kinds=kinds)
        temporary.replace(path)
    with np.load(path) as cached:
        labels = np.array([digits[row].label for row in cached["places"]])
        return Examples(cached["pixels"], labels), cached["places"], cached["kinds"]


def _render_canvases(
    digits: Sequence[PenDigit],
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.str_]]:
    generator = np.random.default_rng(1)
    pixels, digit_rows, kinds = [], [], []
    for row, digit in enumerate(digits):
        for kind in CANVAS_KINDS:
            try:
                canvas = canvases.render(digit.strokes, generator, kind)
                pixels.append(preprocessing.from_picture(np.asarray(canvas.convert("L"))))
            except BlankImage:
                continue  # for example a pale dot on a bad scan
            digit_rows.append(row)
            kinds.append(kind)
    return np.stack(pixels), np.array(digit_rows), np.array(kinds)
