"""Numbers of several digits, composed from the digits of one writer: as strokes, and as pictures.

The digits stand side by side with random gaps, which are negative where neighbours overlap; gap and slant
belong to the number, and vary a little within it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.synthesis.polylines import Points, resample

Pools = Mapping[int, Sequence[Sequence[Points]]]
"""By label, the digits of one writer, each as strokes."""

HEIGHT = 100.0
"""Mean height of a digit, in the unit of a number's coordinates."""

GAP, GAP_SPREAD, GAP_JITTER = 0.18, 0.12, 0.06
"""Gap between neighbours in heights, from line to line of their strokes: mean, standard deviation between
numbers, and within a number. One pair in twelve overlaps, one in four touches with a usual pen."""

SLANT, SIZE, BASELINE = 0.12, 0.12, 0.05
"""Standard deviation of the slant; largest relative difference from the mean height; standard deviation of
the vertical position, in heights."""

LENGTHS = (1, 2, 3, 3, 3, 4, 5)
"""Lengths of numbers, equally likely."""

_BAND, _REACH = 10, 17
"""Height of the rows in which the gap is measured, and how far from a row's middle strokes count."""

_CLOSEST = -0.8
"""Gap at least, in heights."""

_LINES_APART = (1.4, 1.7)
"""Range of the distance between lines of text, in heights."""

_PENS, _HEIGHTS, _MARGINS = (0.05, 0.13), (40, 160), (0.1, 0.6)
"""Ranges of a picture's pen in heights, of the height of a digit in pixels, and of the margin in heights."""

_TIMES = 2
"""A picture is drawn at this many times its size."""


@dataclass(frozen=True, eq=False)
class WrittenNumber:
    """A number as strokes.

    Attributes:
        text: Its digits; a line feed between two lines.
        strokes: One (points, 2) float64 array per stroke: x to the right, y downwards, digits about `HEIGHT`
            high.
        owners: For each stroke, the position of its digit among the digits.
    """

    text: str
    strokes: tuple[Points, ...]
    owners: tuple[int, ...]

    def boxes(self) -> NDArray[np.float64]:
        """Return left, top, right and bottom of each digit: (digits, 4)."""
        found = []
        for digit in range(max(self.owners) + 1):
            points = np.concatenate(self.strokes_of(digit))
            found.append(np.concatenate((points.min(axis=0), points.max(axis=0))))
        return np.stack(found)

    def strokes_of(self, digit: int) -> list[Points]:
        """Return the strokes of one digit."""
        return [stroke for stroke, owner in zip(self.strokes, self.owners, strict=True) if owner == digit]

    def touches(self, pen: float) -> bool:
        """Return whether neighbours are less than a pen apart, in units of the coordinates."""
        lines = np.concatenate([[row] * len(line) for row, line in enumerate(self.text.split("\n"))])
        return any(
            lines[digit] == lines[digit + 1]
            and _distance(self.strokes_of(digit), self.strokes_of(digit + 1)) < pen
            for digit in range(len(lines) - 1)
        )


def random_text(pools: Pools, generator: np.random.Generator, lines: int = 1) -> str:
    """Return a text of digits that a writer has."""
    labels = sorted(pools)
    text = []
    for _ in range(lines):
        length = int(generator.choice(LENGTHS))
        text.append("".join(str(label) for label in generator.choice(labels, length)))
    return "\n".join(text)


def compose(pools: Pools, text: str, generator: np.random.Generator) -> WrittenNumber:
    """Compose a number from a writer's digits.

    Args:
        pools: The writer's digits.
        text: The number; a line feed between two lines.
        generator: Source of randomness; the same state gives the same number.
    """
    gap, slant = GAP + GAP_SPREAD * generator.standard_normal(), SLANT * generator.standard_normal()
    apart = generator.uniform(*_LINES_APART) * HEIGHT
    strokes: list[Points] = []
    owners: list[int] = []
    for row, line in enumerate(text.split("\n")):
        before: list[Points] = []
        for character in line:
            pool = pools[int(character)]
            digit = _normalised(pool[int(generator.integers(len(pool)))], generator, slant)
            if before:
                own = max((gap + GAP_JITTER * generator.standard_normal()), _CLOSEST) * HEIGHT
                digit = [stroke + np.array((own - _free(before, digit), 0.0)) for stroke in digit]
            before = digit
            drop = BASELINE * HEIGHT * generator.standard_normal() + row * apart
            owners += [owners[-1] + 1 if owners else 0] * len(digit)
            strokes += [stroke + np.array((0.0, drop)) for stroke in digit]
    return WrittenNumber(text, tuple(strokes), tuple(owners))


def _normalised(digit: Sequence[Points], generator: np.random.Generator, slant: float) -> list[Points]:
    """Return a digit about `HEIGHT` high, slanted, with its left edge at 0."""
    points = np.concatenate(digit)
    low, (width, height) = points.min(axis=0), np.ptp(points, axis=0)
    side = width if height < 0.3 * width else height
    scale = HEIGHT * generator.uniform(1 - SIZE, 1 + SIZE) / max(float(side), 1e-9)
    scaled = [(stroke - low) * scale for stroke in digit]
    slanted = [stroke + np.outer(HEIGHT - stroke[:, 1], (slant, 0.0)) for stroke in scaled]
    left = min(float(stroke[:, 0].min()) for stroke in slanted)
    return [stroke - np.array((left, 0.0)) for stroke in slanted]


def _free(before: Sequence[Points], after: Sequence[Points]) -> float:
    """Return the least horizontal distance of two digits within rows."""
    one, two = np.concatenate(before), np.concatenate(after)
    found = []
    for middle in np.arange(-20, 140, _BAND) + _BAND / 2:
        left = one[np.abs(one[:, 1] - middle) <= _REACH, 0]
        right = two[np.abs(two[:, 1] - middle) <= _REACH, 0]
        if len(left) and len(right):
            found.append(float(right.min() - left.max()))
    return min(found, default=float(two[:, 0].min() - one[:, 0].max()))


def _distance(one: Sequence[Points], two: Sequence[Points]) -> float:
    """Return the least distance of two digits' strokes, from points about 3 units apart."""
    dense = [np.concatenate([_dense(stroke) for stroke in digit]) for digit in (one, two)]
    steps = dense[0][:, None] - dense[1][None]
    return float(np.hypot(steps[..., 0], steps[..., 1]).min())


def _dense(stroke: Points) -> Points:
    length = float(np.hypot(*np.diff(stroke, axis=0).T).sum())
    return resample(stroke, max(2, round(length / 3)))[0]


@dataclass(frozen=True, eq=False)
class NumberPicture:
    """A picture of a number.

    Attributes:
        pixels: (H, W) uint8, dark on light or light on dark.
        scale: Pixels for one unit of the number's coordinates.
        shift: Where the origin of the coordinates is, in pixels: x and y.
        pen: Width of the pen, in pixels.
    """

    pixels: NDArray[np.uint8]
    scale: float
    shift: tuple[float, float]
    pen: float


def draw(number: WrittenNumber, generator: np.random.Generator) -> NumberPicture:
    """Draw a number with a random pen on paper of a random size; one in four is light on dark.

    Every second picture has grey paper, grey ink and noise.
    """
    height = generator.uniform(*_HEIGHTS)
    scale = height / HEIGHT
    pen = max(1.5, height * generator.uniform(*_PENS))
    margin = pen + generator.uniform(*_MARGINS) * height
    points = np.concatenate(number.strokes)
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    width, tall = ((extent * scale + 2 * margin) * _TIMES).astype(int).tolist()
    picture = Image.new("L", (width, tall), 0)
    pencil, radius = ImageDraw.Draw(picture), pen * _TIMES / 2
    for stroke in number.strokes:
        at = [tuple(point) for point in (((stroke - low) * scale + margin) * _TIMES).tolist()]
        if len(at) > 1:
            pencil.line(at, fill=255, width=max(1, int(2 * radius)), joint="curve")
        for x, y in at:
            pencil.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)
    size = width // _TIMES, tall // _TIMES
    ink = np.asarray(picture.resize(size, Image.Resampling.BOX), np.float32) / np.float32(255)
    shift = margin - low * scale
    return NumberPicture(_on_paper(ink, generator), scale, (float(shift[0]), float(shift[1])), pen)


def _on_paper(ink: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.uint8]:
    paper, full, noise = 255.0, 0.0, 0.0
    if generator.random() < 0.5:
        paper, full = generator.uniform(190, 255), generator.uniform(0, 90)
        noise = generator.uniform(0, 8)
    if generator.random() < 0.25:
        paper, full = 255 - paper, 255 - full
    grey = paper + (full - paper) * ink + noise * generator.standard_normal(ink.shape, np.float32)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)
