"""Drawings that are no digits, as strokes: letters, signs, shapes, scribbles, dots.

What a network learns from and what it is measured by are different drawings: no letter, sign or shape
stands in both, scribbles are made in different ways, and faces, spirals, blots and words are only
measured. A lone dot is in both: there is only one. Letters that can be read as digits (O, l, I, S, Z, B,
q, g, …) are in neither.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Purpose = Literal["learning", "measuring"]

Points = NDArray[np.float64]
Strokes = tuple[Points, ...]

_Corners = tuple[tuple[float, float], ...]
"""Corners of one stroke in a box of 1 x 1, y downwards."""

_SIDE = 1000
"""Drawings are about as large as the pen digits, in their units."""

_UNSTEADY = 0.035
"""Standard deviation of a corner's place, in parts of the box."""

_SKEWED = 0.12
"""Standard deviation of what turns, slants and stretches a drawing."""


def _ring(x: float, y: float, wide: float, high: float, start: float = 0, end: float = 360) -> _Corners:
    """Points on an ellipse; degrees clockwise from three o'clock."""
    angles = np.radians(np.linspace(start, end, 14))
    return tuple((x + wide * math.cos(angle), y + high * math.sin(angle)) for angle in angles)


LEARNT: Mapping[str, tuple[_Corners, ...]] = {
    "A": (((0, 1), (0.5, 0), (1, 1)), ((0.2, 0.6), (0.8, 0.6))),
    "E": (((1, 0), (0, 0), (0, 1), (1, 1)), ((0, 0.5), (0.8, 0.5))),
    "F": (((1, 0), (0, 0), (0, 1)), ((0, 0.5), (0.8, 0.5))),
    "M": (((0, 1), (0, 0), (0.5, 0.6), (1, 0), (1, 1)),),
    "N": (((0, 1), (0, 0), (1, 1), (1, 0)),),
    "T": (((0, 0), (1, 0)), ((0.5, 0), (0.5, 1))),
    "X": (((0, 0), (1, 1)), ((1, 0), (0, 1))),
    "m": (
        ((0, 0), (0, 1), (0.05, 0.2), (0.3, 0.05), (0.5, 0.3), (0.5, 1), (0.55, 0.2), (0.8, 0.05), (1, 1)),
    ),
    "ш": (((0, 0), (0, 1), (1, 1), (1, 0)), ((0.5, 0), (0.5, 1))),
    "plus": (((0.5, 0), (0.5, 1)), ((0, 0.5), (1, 0.5))),
    "hash": (((0.3, 0), (0.3, 1)), ((0.7, 0), (0.7, 1)), ((0, 0.3), (1, 0.3)), ((0, 0.7), (1, 0.7))),
    "equal": (((0, 0.3), (1, 0.3)), ((0, 0.7), (1, 0.7))),
    "arrow": (((0, 0.5), (1, 0.5)), ((0.7, 0.2), (1, 0.5), (0.7, 0.8))),
    "envelope": (((0, 0), (1, 0), (1, 0.8), (0, 0.8), (0, 0)), ((0, 0), (0.5, 0.45), (1, 0))),
    "window": (((0, 0), (1, 0), (1, 1), (0, 1), (0, 0)), ((0.5, 0), (0.5, 1)), ((0, 0.5), (1, 0.5))),
    "ladder": (((0.2, 0), (0.2, 1)), ((0.8, 0), (0.8, 1)), *(((0.2, y), (0.8, y)) for y in (0.2, 0.5, 0.8))),
    "sun": (
        _ring(0.5, 0.5, 0.2, 0.2),
        *(
            ((0.5 + 0.3 * x, 0.5 + 0.3 * y), (0.5 + 0.5 * x, 0.5 + 0.5 * y))
            for x, y in ((1, 0), (0.7, 0.7), (0, 1), (-0.7, 0.7), (-1, 0), (-0.7, -0.7), (0, -1), (0.7, -0.7))
        ),
    ),
    "fish": ((*_ring(0.4, 0.5, 0.4, 0.25, 20, 340), (1, 0.8), (1, 0.2), (0.78, 0.58)),),
}
"""Letters, signs and shapes to learn from, by name."""

MEASURED: Mapping[str, tuple[_Corners, ...]] = {
    "H": (((0, 0), (0, 1)), ((1, 0), (1, 1)), ((0, 0.5), (1, 0.5))),
    "K": (((0, 0), (0, 1)), ((1, 0), (0, 0.5), (1, 1))),
    "R": (((0, 1), (0, 0), (0.7, 0.02), (0.9, 0.25), (0.7, 0.5), (0, 0.5), (1, 1)),),
    "W": (((0, 0), (0.25, 1), (0.5, 0.3), (0.75, 1), (1, 0)),),
    "k": (((0, 0), (0, 1)), ((0.7, 0.35), (0.02, 0.7), (0.8, 1))),
    "w": (((0, 0), (0.1, 0.9), (0.4, 0.9), (0.5, 0.1), (0.6, 0.9), (0.9, 0.9), (1, 0)),),
    "h": (((0, 0), (0, 1), (0.05, 0.65), (0.4, 0.45), (0.7, 0.6), (0.75, 1)),),
    "Ω": (
        ((0, 1), (0.3, 1), (0.05, 0.6), (0.15, 0.1), (0.5, 0), (0.85, 0.1), (0.95, 0.6), (0.7, 1), (1, 1)),
    ),
    "Ψ": (((0, 0), (0.1, 0.5), (0.5, 0.6), (0.9, 0.5), (1, 0)), ((0.5, 0), (0.5, 1))),
    "π": (((0, 0.1), (1, 0)), ((0.3, 0.08), (0.2, 1)), ((0.7, 0.05), (0.7, 0.9), (0.9, 1))),
    "asterisk": (((0.5, 0), (0.5, 1)), ((0, 0.25), (1, 0.75)), ((1, 0.25), (0, 0.75))),
    "percent": (((1, 0), (0, 1)), _ring(0.2, 0.2, 0.18, 0.18), _ring(0.8, 0.8, 0.18, 0.18)),
    "heart": (((0.5, 1), (0, 0.4), (0.2, 0), (0.5, 0.3), (0.8, 0), (1, 0.4), (0.5, 1)),),
    "pentagram": (((0.2, 1), (0.5, 0), (0.8, 1), (0, 0.38), (1, 0.38), (0.2, 1)),),
    "house": (
        ((0, 1), (0, 0.4), (0.5, 0), (1, 0.4), (1, 1), (0, 1)),
        ((0.4, 1), (0.4, 0.6), (0.6, 0.6), (0.6, 1)),
    ),
    "person": (
        _ring(0.5, 0.15, 0.15, 0.15),
        ((0.5, 0.3), (0.5, 0.7)),
        ((0.1, 0.45), (0.9, 0.45)),
        ((0.2, 1), (0.5, 0.7), (0.8, 1)),
    ),
    "flower": (
        *(_ring(0.5 + 0.22 * x, 0.35 + 0.22 * y, 0.14, 0.14) for x, y in ((1, 0), (0, 1), (-1, 0), (0, -1))),
        ((0.5, 0.7), (0.5, 1.2)),
    ),
}
"""Letters, signs and shapes that are only measured."""


def strokes(generator: np.random.Generator, purpose: Purpose) -> tuple[str, Strokes]:
    """Draw something that is no digit.

    Args:
        generator: Source of randomness; the same state gives the same drawing.
        purpose: `learning` and `measuring` share no kind of drawing but the lone dot.

    Returns:
        The kind's name, and one (points, 2) float64 array a stroke: x to the right, y downwards, about
        1,000 units large.
    """
    kinds = _KINDS[purpose]
    names = list(kinds)
    shares = np.array([kinds[name][0] for name in names], np.float64)
    name = names[int(generator.choice(len(names), p=shares / shares.sum()))]
    drawn = kinds[name][1](generator)
    skew = (np.eye(2) + _SKEWED * generator.standard_normal((2, 2))) * _SIDE
    return name, tuple(np.asarray(stroke, np.float64) @ skew.T for stroke in drawn)


def _glyph(glyphs: Mapping[str, tuple[_Corners, ...]], generator: np.random.Generator) -> list[Points]:
    """Draw one of them, its corners unsteady, as angular or as round as chance will have it."""
    names = list(glyphs)
    glyph = glyphs[names[int(generator.integers(len(names)))]]
    pen = _rounded if generator.random() < 0.5 else _angular
    return [pen(_unsteady(np.array(corners), generator)) for corners in glyph]


def _row(
    glyphs: Mapping[str, tuple[_Corners, ...]], count: int, generator: np.random.Generator
) -> list[Points]:
    """Draw some of them side by side."""
    return [
        stroke * (0.9, 1.0) + (1.25 * place, 0.0)
        for place in range(count)
        for stroke in _glyph(glyphs, generator)
    ]


def _unsteady(corners: Points, generator: np.random.Generator) -> Points:
    return corners + _UNSTEADY * generator.standard_normal(corners.shape)


def _angular(corners: Points) -> Points:
    """Return points along straight lines from corner to corner."""
    places = np.linspace(0, len(corners) - 1, 12 * (len(corners) - 1) + 1)
    return np.stack([np.interp(places, np.arange(len(corners)), axis) for axis in corners.T], axis=-1)


def _rounded(corners: Points) -> Points:
    """Return the corners cut off three times, which makes a smooth line (Chaikin 1974); the ends stay."""
    points = corners
    for _ in range(3):
        cut = np.empty((2 * len(points) - 2, 2))
        cut[0::2] = 0.75 * points[:-1] + 0.25 * points[1:]
        cut[1::2] = 0.25 * points[:-1] + 0.75 * points[1:]
        points = np.concatenate((points[:1], cut, points[-1:]))
    return points


def _scribble(generator: np.random.Generator) -> list[Points]:
    """To and fro between points anywhere in the box."""
    return [_rounded(generator.random((int(generator.integers(7, 30)), 2)))]


def _zigzag(generator: np.random.Generator) -> list[Points]:
    count = int(generator.integers(6, 15))
    heights = np.tile([0.0, 1.0], count)[:count] * generator.uniform(0.3, 1)
    return [_angular(_unsteady(np.stack((np.linspace(0, 1, count), heights), axis=-1), generator))]


def _wave(generator: np.random.Generator) -> list[Points]:
    turns = np.linspace(0, generator.uniform(2.5, 6) * 2 * math.pi, 120)
    return [np.stack((turns / turns[-1], np.sin(turns) * generator.uniform(0.08, 0.3)), axis=-1)]


def _lines(generator: np.random.Generator) -> list[Points]:
    return [_angular(generator.random((2, 2))) for _ in range(int(generator.integers(4, 9)))]


def _bar(generator: np.random.Generator) -> list[Points]:
    """A line from left to right."""
    return [_angular(np.array([[0.0, 0.0], [1.0, 0.06 * generator.standard_normal()]]))]


def _dots(generator: np.random.Generator) -> list[Points]:
    return [
        place + 0.01 * generator.standard_normal((2, 2))
        for place in generator.random((int(generator.integers(2, 9)), 2))
    ]


def _walk(generator: np.random.Generator) -> list[Points]:
    """A line that keeps turning, now this way, now that, from where it is."""
    count = int(generator.integers(240, 480))  # shorter ones can look like a 2, a 3 or a 5
    turns = np.cumsum(0.4 * generator.standard_normal(count) + generator.normal(0, 0.12))
    points = np.cumsum(np.stack((np.cos(turns), np.sin(turns)), axis=-1), axis=0)
    extent = np.ptp(points, axis=0)
    return [(points - points.min(axis=0)) / np.maximum(extent, extent.max() / 3)]


def _spiral(generator: np.random.Generator) -> list[Points]:
    turns = np.linspace(0, generator.uniform(2.5, 5) * 2 * math.pi, 150) * generator.choice([-1, 1])
    reach = np.abs(turns / turns[-1]) / 2
    return [np.stack((reach * np.cos(turns), reach * np.sin(turns)), axis=-1)]


def _face(generator: np.random.Generator) -> list[Points]:
    mouth = _ring(0.5, 0.55, 0.25, 0.2, 20, 160) if generator.random() < 0.7 else ((0.3, 0.72), (0.7, 0.72))
    eyes = [_ring(x, 0.38, 0.05, 0.06) for x in (0.33, 0.67)]
    return [_unsteady(np.array(line), generator) for line in (_ring(0.5, 0.5, 0.5, 0.5), *eyes, mouth)]


def _hatching(generator: np.random.Generator) -> list[Points]:
    """Lines side by side, as one fills an area."""
    count = int(generator.integers(4, 10))
    return [
        _angular(_unsteady(np.array([[place, 0.0], [place + 0.25, 1.0]]), generator))
        for place in np.linspace(0, 1, count)
    ]


def _blot(generator: np.random.Generator) -> list[Points]:
    """A dot that was filled with the pen."""
    angles = np.linspace(0, generator.uniform(6, 12) * 2 * math.pi, 200)
    reach = 0.5 * np.sqrt(generator.random(200))
    return [np.stack((reach * np.cos(angles), reach * np.sin(angles)), axis=-1)]


def _point(_: np.random.Generator) -> list[Points]:
    """The pen touched the paper once."""
    return [np.zeros((1, 2))]


_Draw = Callable[[np.random.Generator], Sequence[Points]]

_KINDS: Mapping[Purpose, Mapping[str, tuple[int, _Draw]]] = {
    "learning": {
        "glyph": (8, lambda generator: _glyph(LEARNT, generator)),
        "pair": (2, lambda generator: _row(LEARNT, 2, generator)),
        "scribble": (4, _scribble),
        "lines": (2, _lines),
        "zigzag": (1, _zigzag),
        "wave": (1, _wave),
        "bar": (1, _bar),
        "dots": (1, _dots),
        "point": (1, _point),
    },
    "measuring": {
        "other glyph": (8, lambda generator: _glyph(MEASURED, generator)),
        "word": (2, lambda generator: _row(MEASURED, int(generator.integers(3, 5)), generator)),
        "walk": (4, _walk),
        "spiral": (1, _spiral),
        "face": (1, _face),
        "hatching": (1, _hatching),
        "blot": (1, _blot),
        "point": (1, _point),
    },
}
"""By purpose and name: how often each kind comes, and what draws it."""
