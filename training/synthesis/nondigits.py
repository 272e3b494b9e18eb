"""Drawings that are no digits, as pen strokes: letters, signs, shapes, scribbles, dots.

Out-of-distribution examples. Training and evaluation use different drawings: no letter, sign or shape is in
both sets, scribbles are generated in different ways, and faces, spirals, blots and words occur in evaluation
only. The single dot is in both, since there is only one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from training.synthesis.nondigit_glyphs import EVALUATION_GLYPHS, TRAINING_GLYPHS, Corners, ellipse
from training.synthesis.polylines import Points

Purpose = Literal["training", "evaluation"]

Strokes = tuple[Points, ...]

_SIDE = 1000
"""Approximate side of a drawing, in the unit of the pen digits."""

_JITTER = 0.035
"""Standard deviation of a corner's position, relative to the unit square."""

_DISTORTION = 0.12
"""Standard deviation of the elements of the random linear map applied to a drawing."""


def draw(generator: np.random.Generator, purpose: Purpose) -> tuple[str, Strokes]:
    """Draw a random non-digit.

    Args:
        generator: Source of randomness; the same state gives the same drawing.
        purpose: Set of drawings; the two sets share only the single dot.

    Returns:
        The kind's name, and one (points, 2) float64 array per stroke: x to the right, y downwards, about
        1,000 units large.
    """
    kinds = _KINDS[purpose]
    names = list(kinds)
    shares = np.array([kinds[name][0] for name in names], np.float64)
    name = names[int(generator.choice(len(names), p=shares / shares.sum()))]
    drawn = kinds[name][1](generator)
    distortion = (np.eye(2) + _DISTORTION * generator.standard_normal((2, 2))) * _SIDE
    return name, tuple(np.asarray(stroke, np.float64) @ distortion.T for stroke in drawn)


def _glyph(glyphs: Mapping[str, tuple[Corners, ...]], generator: np.random.Generator) -> list[Points]:
    """Draw a random glyph with jittered corners, its strokes either straight or smoothed."""
    names = list(glyphs)
    glyph = glyphs[names[int(generator.integers(len(names)))]]
    pen = _smooth if generator.random() < 0.5 else _polygon
    return [pen(_jitter(np.array(corners), generator)) for corners in glyph]


def _word(
    glyphs: Mapping[str, tuple[Corners, ...]], count: int, generator: np.random.Generator
) -> list[Points]:
    """Draw random glyphs side by side."""
    return [
        stroke * (0.9, 1.0) + (1.25 * position, 0.0)
        for position in range(count)
        for stroke in _glyph(glyphs, generator)
    ]


def _jitter(corners: Points, generator: np.random.Generator) -> Points:
    return corners + _JITTER * generator.standard_normal(corners.shape)


def _polygon(corners: Points) -> Points:
    """Return points along straight lines between the corners."""
    places = np.linspace(0, len(corners) - 1, 12 * (len(corners) - 1) + 1)
    return np.stack([np.interp(places, np.arange(len(corners)), axis) for axis in corners.T], axis=-1)


def _smooth(corners: Points) -> Points:
    """Smooth a line by cutting its corners three times, ends kept (Chaikin 1974)."""
    points = corners
    for _ in range(3):
        cut = np.empty((2 * len(points) - 2, 2))
        cut[0::2] = 0.75 * points[:-1] + 0.25 * points[1:]
        cut[1::2] = 0.25 * points[:-1] + 0.75 * points[1:]
        points = np.concatenate((points[:1], cut, points[-1:]))
    return points


def _scribble(generator: np.random.Generator) -> list[Points]:
    """A smooth line through random points."""
    return [_smooth(generator.random((int(generator.integers(7, 30)), 2)))]


def _zigzag(generator: np.random.Generator) -> list[Points]:
    count = int(generator.integers(6, 15))
    heights = np.tile([0.0, 1.0], count)[:count] * generator.uniform(0.3, 1)
    return [_polygon(_jitter(np.stack((np.linspace(0, 1, count), heights), axis=-1), generator))]


def _wave(generator: np.random.Generator) -> list[Points]:
    turns = np.linspace(0, generator.uniform(2.5, 6) * 2 * math.pi, 120)
    return [np.stack((turns / turns[-1], np.sin(turns) * generator.uniform(0.08, 0.3)), axis=-1)]


def _lissajous(generator: np.random.Generator) -> list[Points]:
    """A closed curve with many crossings; the simplest ones, which look like 0 and 8, are left out."""
    x_turns, y_turns = ((2, 3), (3, 2), (3, 4), (3, 5), (4, 3), (5, 3))[int(generator.integers(6))]
    turns = np.linspace(0, 2 * math.pi, 160)
    phase = generator.uniform(0.3, 1.2)
    return [np.stack((np.cos(x_turns * turns + phase), np.sin(y_turns * turns)), axis=-1) / 2]


def _coil(generator: np.random.Generator) -> list[Points]:
    """Loops in a row, across or down."""
    turns = np.linspace(0, generator.uniform(3, 7) * 2 * math.pi, 200)
    height = generator.uniform(0.15, 0.45)
    along = turns / turns[-1] + height * generator.uniform(0.25, 0.6) * np.cos(turns)
    coil = np.stack((along, height * np.sin(turns)), axis=-1)
    return [coil if generator.random() < 0.7 else coil[:, ::-1]]


def _lines(generator: np.random.Generator) -> list[Points]:
    return [_polygon(generator.random((2, 2))) for _ in range(int(generator.integers(4, 9)))]


def _bar(generator: np.random.Generator) -> list[Points]:
    """A horizontal line."""
    return [_polygon(np.array([[0.0, 0.0], [1.0, 0.06 * generator.standard_normal()]]))]


def _dots(generator: np.random.Generator) -> list[Points]:
    return [
        place + 0.01 * generator.standard_normal((2, 2))
        for place in generator.random((int(generator.integers(2, 9)), 2))
    ]


def _walk(generator: np.random.Generator) -> list[Points]:
    """A random walk of the direction."""
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
    mouth = ellipse(0.5, 0.55, 0.25, 0.2, 20, 160) if generator.random() < 0.7 else ((0.3, 0.72), (0.7, 0.72))
    eyes = [ellipse(x, 0.38, 0.05, 0.06) for x in (0.33, 0.67)]
    return [_jitter(np.array(line), generator) for line in (ellipse(0.5, 0.5, 0.5, 0.5), *eyes, mouth)]


def _hatching(generator: np.random.Generator) -> list[Points]:
    """Parallel lines, as used to fill an area."""
    count = int(generator.integers(4, 10))
    return [
        _polygon(_jitter(np.array([[place, 0.0], [place + 0.25, 1.0]]), generator))
        for place in np.linspace(0, 1, count)
    ]


def _blot(generator: np.random.Generator) -> list[Points]:
    """A filled dot."""
    angles = np.linspace(0, generator.uniform(6, 12) * 2 * math.pi, 200)
    reach = 0.5 * np.sqrt(generator.random(200))
    return [np.stack((reach * np.cos(angles), reach * np.sin(angles)), axis=-1)]


def _point(_: np.random.Generator) -> list[Points]:
    """A single point."""
    return [np.zeros((1, 2))]


_Draw = Callable[[np.random.Generator], Sequence[Points]]

_KINDS: Mapping[Purpose, Mapping[str, tuple[int, _Draw]]] = {
    "training": {
        "glyph": (8, lambda generator: _glyph(TRAINING_GLYPHS, generator)),
        "pair": (2, lambda generator: _word(TRAINING_GLYPHS, 2, generator)),
        "scribble": (4, _scribble),
        "lines": (2, _lines),
        "zigzag": (1, _zigzag),
        "wave": (1, _wave),
        "lissajous": (1, _lissajous),
        "coil": (1, _coil),
        "bar": (1, _bar),
        "dots": (1, _dots),
        "point": (1, _point),
    },
    "evaluation": {
        "other glyph": (8, lambda generator: _glyph(EVALUATION_GLYPHS, generator)),
        "word": (
            2,
            lambda generator: _word(EVALUATION_GLYPHS, int(generator.integers(3, 5)), generator),
        ),
        "walk": (4, _walk),
        "spiral": (1, _spiral),
        "face": (1, _face),
        "hatching": (1, _hatching),
        "blot": (1, _blot),
        "point": (1, _point),
    },
}
"""By purpose and kind: relative frequency and drawing function."""
