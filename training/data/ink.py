"""What `ink` learns from and is measured on: MNIST, pen strokes, canvases; whole donors held out.

A network that is to read strangers must be measured on strangers. So each group of donors in turn is
left out of a fit, canvases of theirs included, and measured by it; what is published has seen them all.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.core import ink as preparation
from service.core import paper
from service.core.errors import BlankImage
from training.data import mnist
from training.data import pen_digits as strokes
from training.data.examples import Examples, Split
from training.data.pen_digits import CLASSES, PenDigit
from training.synthesis import canvases, nondigits

NAME = "MNIST and pen strokes"

KINDS: tuple[canvases.Kind, ...] = ("clean", "clean", "tools", "scan", "scan")
"""The canvases that are drawn of every digit."""

HELD_OUT = (("apa", "apb"), ("ced", "gmd"), ("syn",))
"""Donors that are left out together: large groups, since a fit without them takes as long as another."""

MNIST_HELD_OUT = 8000
"""Of MNIST's training images, the last of them: left out of the same fits, so that temperature and
threshold can be chosen by images that the network has not seen."""

NONDIGITS = 16_000
"""Different ones to learn from."""


@dataclass(frozen=True, eq=False)
class Ink:
    """What there is to learn from.

    Attributes:
        mnist: Images of MNIST.
        digits: Pen digits.
        canvases: Canvases of these digits, prepared.
        canvas_digits: (canvases,) int64, the place of each one's digit in `digits`.
        canvas_kinds: (canvases,) str, each one's kind.
        nondigits: Drawings of no digit, as strokes.
    """

    mnist: Examples
    digits: tuple[PenDigit, ...]
    canvases: Examples
    canvas_digits: NDArray[np.int64]
    canvas_kinds: NDArray[np.str_]
    nondigits: tuple[nondigits.Strokes, ...]

    @property
    def donors(self) -> NDArray[np.str_]:
        """(digits,) str, who gave each pen digit."""
        return np.array([digit.donor for digit in self.digits])

    def of(self, donors: Sequence[str]) -> "Ink":
        """Return what these donors gave, with all of MNIST and of the non-digits."""
        chosen = np.isin(self.donors, donors)
        on_canvas = chosen[self.canvas_digits]
        place = np.cumsum(chosen) - 1
        return replace(
            self,
            digits=tuple(digit for digit, is_chosen in zip(self.digits, chosen, strict=True) if is_chosen),
            canvases=self.canvases.take(np.flatnonzero(on_canvas)),
            canvas_digits=place[self.canvas_digits[on_canvas]],
            canvas_kinds=self.canvas_kinds[on_canvas],
        )

    def kind(self, name: str) -> Examples:
        """Return the canvases of one kind."""
        return self.canvases.take(np.flatnonzero(self.canvas_kinds == name))


def read(folder: Path, scratch: Path, notice: Callable[[str], None]) -> tuple[Split, Ink]:
    """Read MNIST and the pen strokes, and draw the canvases unless they have been drawn before.

    Args:
        folder: The data folder.
        scratch: Where the canvases are kept.
        notice: Told that drawing them takes minutes.

    Returns:
        MNIST's official split, and what there is to learn from.

    Raises:
        DataMissing, DataCorrupt: As for the two data sets.
        OSError: The canvases cannot be kept.
    """
    official = mnist.official_split(folder)
    digits = strokes.read(folder)
    drawn, places, kinds = _canvases(digits, scratch, notice)
    return official, Ink(official.train, digits, drawn, places, kinds, _nondigits())


def published(official: Split, digits: Sequence[PenDigit]) -> Split:
    """Return what the published network learns from: all donors, all of MNIST's training images."""
    return Split("all", NAME, CLASSES, _joined(official.train, drawn(digits)), None, official.test)


def without(ink: Ink, donors: Sequence[str]) -> tuple[Split, Ink]:
    """Return what a fit without some donors is measured on, and what it learns from.

    Args:
        ink: All there is.
        donors: Who is left out.

    Returns:
        A split whose valid part is what the donors drew, as strokes; further parts are the same, the
        MNIST images that are left out as well, and canvases of theirs. And what is left to learn from.
    """
    everyone = sorted(set(ink.donors))
    kept = replace(
        ink.of([donor for donor in everyone if donor not in donors]),
        mnist=Examples(ink.mnist.pixels[:-MNIST_HELD_OUT], ink.mnist.labels[:-MNIST_HELD_OUT]),
    )
    theirs = ink.of(donors)
    further = {
        "MNIST": Examples(ink.mnist.pixels[-MNIST_HELD_OUT:], ink.mnist.labels[-MNIST_HELD_OUT:]),
        "strokes": drawn(theirs.digits),
        **{f"{kind} canvases": theirs.kind(kind) for kind in dict.fromkeys(KINDS)},
    }
    name = f"without-{'-'.join(donors)}"
    return Split(
        name, NAME, CLASSES, _joined(kept.mnist, drawn(kept.digits)), further["strokes"], None, further
    ), kept


def _nondigits() -> tuple[nondigits.Strokes, ...]:
    generator = np.random.default_rng(1)
    return tuple(nondigits.draw(generator, "training")[1] for _ in range(NONDIGITS))


def drawn(digits: Sequence[PenDigit]) -> Examples:
    """Return pen digits as the service would draw them."""
    pixels = np.stack([preparation.from_strokes(digit.strokes) for digit in digits])
    return Examples(pixels, np.array([digit.label for digit in digits]))


def _joined(one: Examples, other: Examples) -> Examples:
    return Examples(np.concatenate((one.pixels, other.pixels)), np.concatenate((one.labels, other.labels)))


def _canvases(
    digits: Sequence[PenDigit], scratch: Path, notice: Callable[[str], None]
) -> tuple[Examples, NDArray[np.int64], NDArray[np.str_]]:
    """Return prepared canvases, the place of each one's digit, and its kind."""
    code = [Path(module.__file__ or "").read_text() for module in (canvases, preparation, paper)]
    facts = "\n".join((strokes.digest(digits), repr(KINDS), *code))
    path = scratch / f"canvases-{hashlib.sha256(facts.encode()).hexdigest()[:16]}.npz"
    if not path.is_file():
        notice(f"drawing {len(digits) * len(KINDS):,} canvases; they are kept in {path.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".new")
        with aside.open("wb") as target:
            pixels, places, kinds = _drawn_canvases(digits)
            np.savez_compressed(target, pixels=pixels, places=places, kinds=kinds)
        aside.replace(path)
    with np.load(path) as kept:
        labels = np.array([digits[place].label for place in kept["places"]])
        return Examples(kept["pixels"], labels), kept["places"], kept["kinds"]


def _drawn_canvases(
    digits: Sequence[PenDigit],
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.str_]]:
    generator = np.random.default_rng(1)
    pixels, places, kinds = [], [], []
    for place, digit in enumerate(digits):
        for kind in KINDS:
            try:
                canvas = canvases.render(digit.strokes, generator, kind)
                pixels.append(preparation.from_picture(np.asarray(canvas.convert("L"))))
            except BlankImage:
                continue  # a pale dot on a bad scan: nothing that anybody could read
            places.append(place)
            kinds.append(kind)
    return np.stack(pixels), np.array(places), np.array(kinds)
