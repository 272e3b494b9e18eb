"""Data sets of the model `ink`: MNIST, pen strokes and canvases, evaluated on held-out writers.

Each group of donors and writers in turn is excluded from a fit, with their canvases and letters, and is that
fit's evaluation data. The published network is fitted on everyone.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.core.drawing import mnist as preprocessing
from service.core.errors import BlankImage
from service.core.segmentation import components, crowded, cutting, levels, morphology, paper, shapes
from training.data import mnist, pen_digits, pen_letters
from training.data.examples import Examples, Split, concatenate
from training.data.pen_digits import CLASSES, PEN_DIGITS, UCI_DIGITS, PenDigit, PenDigitSource
from training.data.pen_letters import PEN_LETTERS, PenLetter, PenLetterSource
from training.synthesis import nondigits, polylines, styles
from training.synthesis.canvases import generated

NAME = "MNIST and pen strokes"

CANVAS_KINDS: tuple[generated.Kind, ...] = ("clean", "clean", "tools", "scan", "scan")
"""Kinds of the canvases rendered from each digit."""

HELD_OUT_DONORS = (("apa", "apb"), ("ced", "gmd"), ("syn",))
"""Groups of donors that are held out together. Groups are large, since each costs one more fit."""

MNIST_HELD_OUT = 8000
"""Number of MNIST's training images, from the end, that the same fits exclude: temperature and threshold are
chosen on images that the network has not been fitted on."""

NONDIGITS = 32_000
"""Number of different non-digits to train on."""

STYLED = 20_000
"""Number of different digits in rare styles of writing to train on."""

OTHER_WRITERS = "strokes of writers of pendigits"
"""Name of the evaluation part of held-out writers whose donor is not held out."""

LETTERS = "letter"
"""Kind of the non-digits that held-out donors wrote."""


@dataclass(frozen=True)
class HeldOut:
    """People whom a fit excludes.

    Attributes:
        donors: Donors of digits, excluded whole.
        others: Further donors of letters, and further writers.
    """

    donors: tuple[str, ...]
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class InkSource:
    """The files of a data set of `ink`.

    Attributes:
        digits: Files of pen digits.
        letters: File of pen letters; None without letters and rare styles of writing.
        held_out: Groups that are held out in turn.
    """

    digits: tuple[PenDigitSource, ...]
    letters: PenLetterSource | None
    held_out: tuple[HeldOut, ...]


FIVE_DONORS = InkSource((PEN_DIGITS,), None, tuple(HeldOut(donors) for donors in HELD_OUT_DONORS))
"""Data set of `ink` 1 and 2."""


def _writers(begin: int) -> tuple[str, ...]:
    return tuple(f"pendigits/{number}" for number in range(begin, begin + 6))


MORE_HANDS = InkSource(
    (PEN_DIGITS, UCI_DIGITS),
    PEN_LETTERS,
    (
        HeldOut(("apa", "apb"), ("kai", *_writers(1))),
        HeldOut(("ced", "gmd"), ("lav", "mot", *_writers(13))),
        HeldOut(("syn",), ("sie", *_writers(25))),
    ),
)
"""Data set of `ink` from version 3. Each fit excludes 6 of the 30 writers of UCI's pen digits."""


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
        letters: Pen letters that no reader takes for a digit.
        styled: Digits in rare styles of writing, made by rule.
    """

    mnist: Examples
    digits: tuple[PenDigit, ...]
    canvases: Examples
    canvas_digits: NDArray[np.int64]
    canvas_kinds: NDArray[np.str_]
    nondigits: tuple[nondigits.Strokes, ...]
    letters: tuple[PenLetter, ...] = ()
    styled: tuple[PenDigit, ...] = ()

    @property
    def donors(self) -> NDArray[np.str_]:
        """(digits,) str, donor of each pen digit."""
        return np.array([digit.donor for digit in self.digits])

    def select(self, names: Collection[str]) -> "InkData":
        """Return the digits, canvases and letters of some donors or writers, with everything else."""
        return self._select(names, True)

    def exclude(self, names: Collection[str]) -> "InkData":
        """Exclude the digits, canvases and letters of some donors or writers."""
        return self._select(names, False)

    def _select(self, names: Collection[str], is_wanted: bool) -> "InkData":
        def is_chosen(written: PenDigit | PenLetter) -> bool:
            return (written.donor in names or written.writer in names) == is_wanted

        chosen = np.array([is_chosen(digit) for digit in self.digits])
        is_chosen_canvas = chosen[self.canvas_digits]
        new_index = np.cumsum(chosen) - 1
        return replace(
            self,
            digits=tuple(digit for digit in self.digits if is_chosen(digit)),
            canvases=self.canvases.select(np.flatnonzero(is_chosen_canvas)),
            canvas_digits=new_index[self.canvas_digits[is_chosen_canvas]],
            canvas_kinds=self.canvas_kinds[is_chosen_canvas],
            letters=tuple(letter for letter in self.letters if is_chosen(letter)),
        )

    def canvases_of_kind(self, kind: str) -> Examples:
        """Return the canvases of one kind."""
        return self.canvases.select(np.flatnonzero(self.canvas_kinds == kind))


def read(
    folder: Path, cache: Path, notice: Callable[[str], None], source: InkSource = FIVE_DONORS
) -> tuple[Split, InkData]:
    """Read MNIST and the pen strokes, and render the canvases unless they are cached.

    Args:
        folder: Data folder.
        cache: Folder of the cached canvases.
        notice: Called with a message before rendering, which takes minutes.
        source: The data set.

    Returns:
        MNIST's official split, and the training data.

    Raises:
        DataMissing, DataCorrupt: As for the data sets.
        OSError: The cache cannot be written.
    """
    official = mnist.official_split(folder)
    digits = read_digits(folder, source)
    letters: tuple[PenLetter, ...] = ()
    styled: tuple[PenDigit, ...] = ()
    if source.letters:
        letters = pen_letters.without_lookalikes(pen_letters.read(folder, source.letters))
        styled = _styled()
    images, digit_rows, kinds = _canvases(digits, cache, notice)
    return official, InkData(official.train, digits, images, digit_rows, kinds, _nondigits(), letters, styled)


def read_digits(folder: Path, source: InkSource) -> tuple[PenDigit, ...]:
    """Read all pen digits of a data set.

    Raises:
        DataMissing, DataCorrupt: As for `pen_digits.read`.
    """
    return tuple(digit for file in source.digits for digit in pen_digits.read(folder, file))


def published_split(official: Split, digits: Sequence[PenDigit]) -> Split:
    """Return the split of the published network: all donors and all of MNIST's training images."""
    train = concatenate([official.train, render_digits(digits)])
    return Split("all", NAME, CLASSES, train, None, official.test)


def held_out_split(data: InkData, donors: Sequence[str], others: Sequence[str] = ()) -> tuple[Split, InkData]:
    """Exclude some people from the training data, and make them the evaluation data.

    Args:
        data: All training data.
        donors: Donors to hold out.
        others: Writers of other donors to hold out, and donors of letters.

    Returns:
        The split and the remaining training data. The valid part is the donors' digits, rendered from their
        strokes; extra parts are the same digits, the held-out MNIST images, the donors' canvases, and the
        digits of the other writers.
    """
    remaining = replace(
        data.exclude({*donors, *others}),
        mnist=Examples(data.mnist.pixels[:-MNIST_HELD_OUT], data.mnist.labels[:-MNIST_HELD_OUT]),
    )
    held_out = data.select(donors)
    extra = {
        "MNIST": Examples(data.mnist.pixels[-MNIST_HELD_OUT:], data.mnist.labels[-MNIST_HELD_OUT:]),
        "strokes": render_digits(held_out.digits),
        **{f"{kind} canvases": held_out.canvases_of_kind(kind) for kind in dict.fromkeys(CANVAS_KINDS)},
    }
    if writers := data.select(others).digits:
        extra[OTHER_WRITERS] = render_digits(writers)
    train = concatenate([remaining.mnist, render_digits(remaining.digits)])
    name = f"without-{'-'.join(donors)}"
    return Split(name, NAME, CLASSES, train, extra["strokes"], None, extra), remaining


def render_letters(letters: Sequence[PenLetter]) -> NDArray[np.uint8]:
    """Return (letters, 28, 28) uint8: pen letters rendered by the service."""
    return np.stack([preprocessing.from_strokes(letter.strokes) for letter in letters])


def render_digits(digits: Sequence[PenDigit]) -> Examples:
    """Return pen digits rendered by the service."""
    pixels = np.stack([preprocessing.from_strokes(digit.strokes) for digit in digits])
    return Examples(pixels, np.array([digit.label for digit in digits]))


def _nondigits() -> tuple[nondigits.Strokes, ...]:
    generator = np.random.default_rng(1)
    return tuple(nondigits.draw(generator, "training")[1] for _ in range(NONDIGITS))


def _styled() -> tuple[PenDigit, ...]:
    generator = np.random.default_rng(3)
    return tuple(
        PenDigit(label, "rule", f"rule/{name}", strokes)
        for name, label, strokes in (styles.draw(generator) for _ in range(STYLED))
    )


def _canvases(
    digits: Sequence[PenDigit], cache: Path, notice: Callable[[str], None]
) -> tuple[Examples, NDArray[np.int64], NDArray[np.str_]]:
    """Return preprocessed canvases, the index of each one's digit, and its kind.

    The name of the cache file depends on the digits and on the code that makes the canvases.
    """
    segments = (components, crowded, cutting, levels, morphology, paper, shapes)
    modules = (generated, polylines, preprocessing, *segments)
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
                canvas = generated.render(digit.strokes, generator, kind)
                pixels.append(preprocessing.from_picture(np.asarray(canvas.convert("L"))))
            except BlankImage:
                continue  # for example a pale dot on a bad scan
            digit_rows.append(row)
            kinds.append(kind)
    return np.stack(pixels), np.array(digit_rows), np.array(kinds)
