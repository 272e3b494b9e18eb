"""Digits in styles of writing that few writers of the training data use, made by rule, as pen strokes.

A style is a list of corners and curves in a unit square, y downwards, with random proportions. What is common
to all styles (slant, bends, tremor, pens) is added by `handwriting.render`.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

from training.synthesis.polylines import Points

Strokes = tuple[Points, ...]

_SIDE = 1000
"""Approximate side of a digit, in the unit of the pen digits."""

_JITTER = 0.032
"""Standard deviation of a control point's position, relative to the unit square."""

_WIDTH = 0.18
"""Standard deviation of the logarithm of the width."""

_POINTS_PER_SEGMENT = 10

_Drawn = list[Points]


def draw(generator: np.random.Generator) -> tuple[str, int, Strokes]:
    """Draw a digit in a random style.

    Args:
        generator: Source of randomness; the same state gives the same digit.

    Returns:
        Name of the style, the digit, and one (points, 2) float64 array per stroke: x to the right, y
        downwards, about 1,000 units large.
    """
    names = list(STYLES)
    shares = np.array([STYLES[name][0] for name in names], np.float64)
    name = names[int(generator.choice(len(names), p=shares / shares.sum()))]
    _, label, style = STYLES[name]
    width = math.exp(_WIDTH * generator.standard_normal())
    return name, label, tuple(stroke * (width * _SIDE, _SIDE) for stroke in style(generator))


def _line(generator: np.random.Generator, *corners: tuple[float, float]) -> Points:
    """Return points along straight lines between jittered corners."""
    return _interpolate(_jitter(generator, corners), is_smooth=False)


def _curve(generator: np.random.Generator, *points: tuple[float, float]) -> Points:
    """Return points along a smooth curve through jittered points."""
    return _interpolate(_jitter(generator, points), is_smooth=True)


def _jitter(generator: np.random.Generator, points: tuple[tuple[float, float], ...]) -> Points:
    return np.array(points) + _JITTER * generator.standard_normal((len(points), 2))


def _interpolate(points: Points, is_smooth: bool) -> Points:
    """Interpolate a polyline linearly or as a Catmull-Rom spline, ends kept."""
    padded = np.concatenate((2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]))
    before, start, end, after = (padded[row : len(padded) - 3 + row, None] for row in range(4))
    t = np.linspace(0, 1, _POINTS_PER_SEGMENT, endpoint=False)[None, :, None]
    if is_smooth:
        inner = start + 0.5 * t * (
            end
            - before
            + t * (2 * before - 5 * start + 4 * end - after + t * (3 * (start - end) + after - before))
        )
    else:
        inner = start + t * (end - start)
    return np.concatenate((inner.reshape(-1, 2), points[-1:]))


def _narrow(strokes: _Drawn, factor: float) -> _Drawn:
    return [stroke * (factor, 1.0) for stroke in strokes]


def _one_with_upstroke(generator: np.random.Generator) -> _Drawn:
    """A one with a long upstroke, straight, bent or rounded at the top, with or without a foot."""
    reach, begin = generator.uniform(0.2, 0.6), generator.uniform(0.3, 1.02)
    lean, kind = generator.uniform(-0.08, 0.08), generator.random()
    if kind < 0.4:
        strokes = [_line(generator, (-reach, begin), (0, 0), (lean, 1))]
    elif kind < 0.7:
        bend = (-reach * generator.uniform(0.3, 0.6), begin / 2)
        up = _curve(generator, (-reach, begin), bend, (0, 0))
        strokes = [np.concatenate((up, _line(generator, (0, 0), (lean, 1))[1:]))]
    else:
        begin = min(begin, 0.55)
        bow = [(-reach, begin - 0.12), (-reach + 0.05, begin), (-reach / 2, begin * 0.6), (0, 0.02)]
        strokes = [_curve(generator, *bow, (0.03, 0.3), (lean, 1))]
    if generator.random() < 0.4:
        left, right = generator.uniform(0.12, 0.4, 2)
        strokes.append(_line(generator, (lean - left, 1), (lean + right, 1)))
    return strokes


def _one_with_retraced_foot(generator: np.random.Generator) -> _Drawn:
    """A one whose stem goes up again at its foot, because the pen was lifted late."""
    lean, side = generator.uniform(-0.2, 0.2), generator.choice([-1, 1, 1])
    width, height = generator.uniform(0.02, 0.22), generator.uniform(0.12, 0.5)
    end = (lean + side * width, 1 - height)
    return [np.concatenate((_line(generator, (0, 0), (lean, 1)), _line(generator, (lean, 1), end)[1:]))]


def _two_with_loops(generator: np.random.Generator) -> _Drawn:
    """A two with a loop at its base, a curl at its head, or both."""
    kind = generator.random()
    head = [(0.08, 0.28), (0.2, 0.08)]
    if kind < 0.45:
        head = [(0.3, 0.2), (0.24, 0.33), (0.08, 0.3), (0.1, 0.1)]
    points = [*head, (0.48, 0.0), (0.8, 0.18), (0.72, 0.45), (0.42, 0.75)]
    if kind < 0.25:
        return [
            np.concatenate(
                (_curve(generator, *points, (0.05, 1.0)), _line(generator, (0.05, 1.0), (0.9, 0.98))[1:])
            )
        ]
    size = generator.uniform(0.6, 1.4)
    top = 1 - 0.22 * size
    end = (0.95, generator.uniform(0.6, 1.0))
    loop = [(0.15, 0.99), (0.15 - 0.14 * size, 0.9), (0.13, top), (0.36, 0.88), (0.62, 1.0), end]
    return [_curve(generator, *points, *loop)]


def _three_with_flat_top(generator: np.random.Generator) -> _Drawn:
    belly = [(0.35, 0.42), (0.75, 0.5), (0.82, 0.75), (0.5, 1.0), (0.05, 0.9)]
    top = _line(generator, (0.08, 0.02), (0.8, 0.0), (0.35, 0.42))
    return [np.concatenate((top, _curve(generator, *belly)))]


def _three_with_curled_end(generator: np.random.Generator) -> _Drawn:
    """A three whose lower end curls inwards, up to a closed loop."""
    top = [(0.1, 0.12), (0.42, 0.0), (0.74, 0.16), (0.36, 0.42)]
    if generator.random() < 0.4:
        top = [(0.08, 0.04), (0.7, 0.02), (0.36, 0.42)]
    curl = generator.uniform(0.1, 0.55)
    belly = [(0.76, 0.56), (0.78, 0.82), (0.42, 1.0), (0.06, 0.9), (0.04, 0.76), (curl, 0.68)]
    return _narrow([_curve(generator, *top, *belly)], generator.uniform(0.6, 1.2))


def _four_in_one_stroke(generator: np.random.Generator) -> _Drawn:
    """A four without lifting the pen: like a flash of lightning, open with a retraced stem, or closed."""
    kind, bar = generator.random(), generator.uniform(0.45, 0.68)
    right = generator.uniform(0.7, 1.0)
    if kind < 0.45:
        top, end = generator.uniform(0.3, 0.6), generator.uniform(0.4, 0.85)
        return [_line(generator, (top, 0), (0.05, bar), (right, bar - 0.05), (min(end, right), 1))]
    if kind < 0.8:
        arm = _curve(generator, (0.15, 0.05), (0.05, 0.35), (0.15, bar), (0.5, bar), (0.75, 0.1))
        return [np.concatenate((arm, _line(generator, (0.75, 0.1), (generator.uniform(0.55, 0.78), 1))))]
    stem = generator.uniform(0.55, 0.75)
    return [_line(generator, (stem, 1), (stem, 0), (0.02, bar + 0.1), (right, bar + 0.1))]


def _four_with_short_stem(generator: np.random.Generator) -> _Drawn:
    """A narrow four whose stem begins little above the bar."""
    bar, stem = generator.uniform(0.5, 0.68), generator.uniform(0.45, 0.65)
    arm = _curve(
        generator,
        (generator.uniform(0.2, 0.55), 0.0),
        (0.15, 0.3),
        (0.04, bar),
        (0.4, bar),
        (0.8, bar - 0.08),
    )
    top = bar - generator.uniform(0.08, 0.3)
    return _narrow(
        [arm, _line(generator, (stem, top), (stem + generator.uniform(-0.1, 0.1), 1))],
        generator.uniform(0.5, 1.0),
    )


def _five_with_separate_bar(generator: np.random.Generator) -> _Drawn:
    """A five whose bar is a stroke of its own, mostly without touching."""
    across, above = generator.uniform(0.0, 0.22), generator.uniform(-0.14, 0.06)
    belly = [(0.2, 0.4), (0.48, 0.34), (0.78, 0.52), (0.78, 0.8), (0.48, 1.0), (0.05, 0.9)]
    stem = _line(generator, (0.26, 0.06), (0.2, 0.4))
    bar = _line(
        generator, (0.28 + across, 0.02 + above), (0.28 + across + generator.uniform(0.3, 0.75), 0.0 + above)
    )
    return [np.concatenate((stem, _curve(generator, *belly))), bar]


def _narrow_six(generator: np.random.Generator) -> _Drawn:
    top = generator.uniform(0.5, 0.75)
    points = [(0.65, 0.0), (0.28, 0.35), (0.08, 0.75), (0.3, 1.0), (0.62, 0.86), (0.5, top), (0.12, 0.82)]
    return _narrow([_curve(generator, *points)], generator.uniform(0.3, 0.75))


def _open_six(generator: np.random.Generator) -> _Drawn:
    """A six whose loop is as wide as high and does not meet the stem."""
    high, inner = generator.uniform(0.36, 0.58), generator.uniform(0.2, 0.6)
    points = [
        (0.25, 0.0),
        (0.08, 0.45),
        (0.12, 0.9),
        (0.45, 1.0),
        (0.78, 0.75),
        (0.72, high),
        (0.48, high + 0.05),
    ]
    points += [(inner, generator.uniform(0.6, 0.8))] * (generator.random() < 0.7)
    return _narrow([_curve(generator, *points)], generator.uniform(0.55, 1.1))


def _seven_with_joined_bar(generator: np.random.Generator) -> _Drawn:
    """A seven whose bar is drawn without lifting the pen, by way of a loop at the foot of the stem."""
    foot, level = generator.uniform(0.2, 0.45), generator.uniform(0.46, 0.62)
    top = _line(generator, (0.08, generator.uniform(0.05, 0.25)), (0.15, 0.04), (0.75, 0.04))
    stem = _curve(
        generator,
        (0.75, 0.04),
        (0.6, 0.4),
        (foot, 1.0),
        (foot - 0.14, 0.92),
        (foot - 0.08, level),
        (generator.uniform(0.7, 1.0), level),
    )
    return [np.concatenate((top, stem))]


def _seven_with_bar_and_hook(generator: np.random.Generator) -> _Drawn:
    """A seven with a hook at the start of its top, a bar through its stem, or both."""
    kind, foot = generator.random(), generator.uniform(0.15, 0.55)
    start: list[tuple[float, float]] = [(0.05, 0.06)]
    if kind < 0.7:
        start = [(generator.uniform(0.0, 0.1), generator.uniform(0.12, 0.32)), *start]
    top = _line(generator, *start, (0.85, 0.03))
    stem = _curve(
        generator, (0.85, 0.03), (0.85 - (0.85 - foot) * generator.uniform(0.45, 0.8), 0.5), (foot, 1)
    )
    strokes = [np.concatenate((top, stem))]
    if kind > 0.35:
        level, reach = generator.uniform(0.42, 0.62), generator.uniform(0.18, 0.38)
        middle = float(np.interp(level, (0.03, 0.5, 1), (0.85, stem[_POINTS_PER_SEGMENT, 0], foot)))
        tilt = generator.uniform(-0.06, 0.06)
        strokes.append(_line(generator, (middle - reach, level + tilt), (middle + reach, level - tilt)))
    return strokes


def _eight_open_at_the_top(generator: np.random.Generator) -> _Drawn:
    """An eight whose ends do not meet, or that is narrow, or both."""
    gap = generator.uniform(0.0, 0.3)
    points = [
        (0.7 - gap / 2, 0.04),
        (0.4, 0.0),
        (0.14, 0.18),
        (0.4, 0.42),
        (0.7, 0.62),
        (0.76, 0.84),
        (0.45, 1.0),
        (0.14, 0.84),
        (0.24, 0.62),
        (0.56, 0.4),
        (0.78 + gap / 2, generator.uniform(0.0, 0.16)),
    ]
    eight = _curve(generator, *points)
    pinched = (
        generator.uniform(0.2, 1.1) if generator.random() < 0.6 else 1.0
    )  # of the upper or the lower loop
    rows = eight[:, 1] < 0.45 if generator.random() < 0.5 else eight[:, 1] > 0.45
    depth = np.minimum(np.abs(eight[:, 1] - 0.45) / 0.2, 1)
    eight[:, 0] = 0.45 + (eight[:, 0] - 0.45) * np.where(rows, 1 + depth * (pinched - 1), 1)
    return _narrow([eight], generator.uniform(0.35, 1.0))


def _nine_with_curled_tail(generator: np.random.Generator) -> _Drawn:
    """A nine whose tail curls back to the left, its loop closed or open."""
    curl, depth = generator.uniform(0.15, 0.85), generator.uniform(0.0, 0.22)
    head, gap = generator.uniform(0.34, 0.52), max(0.0, generator.uniform(-0.15, 0.22))
    points = [
        (0.72 - gap, 0.14 - gap / 3),
        (0.45, 0.0),
        (0.12, 0.3 * head),
        (0.12, 0.78 * head),
        (0.4, head),
        (0.7, 0.58 * head),
        (0.78, 0.12),
        (0.8, 0.5),
        (0.74, 0.82),
        (0.74 - curl / 2, 1.0),
        (0.74 - curl, 1.0 - depth),
    ]
    return _narrow([_curve(generator, *points)], generator.uniform(0.65, 1.1))


def _nine_with_flat_head(generator: np.random.Generator) -> _Drawn:
    """A nine with a flat loop, nearly a seven."""
    head, foot = generator.uniform(0.15, 0.34), generator.uniform(0.25, 0.75)
    points = [(0.76, 0.08), (0.42, 0.0), (0.08, 0.5 * head), (0.16, head), (0.5, 0.85 * head), (0.78, 0.06)]
    stem = _line(generator, (0.78, 0.06), (foot, 1))
    return _narrow([np.concatenate((_curve(generator, *points), stem))], generator.uniform(0.6, 1.1))


def _zero_slashed_beyond(generator: np.random.Generator) -> _Drawn:
    """A zero with a slash that reaches beyond it."""
    width, start = generator.uniform(0.25, 0.45), generator.uniform(0, 2 * math.pi)
    angles = start - np.linspace(0, 2 * math.pi * generator.uniform(0.96, 1.08), 40)
    ring = np.stack((0.5 + width * np.cos(angles), 0.5 + 0.5 * np.sin(angles)), axis=-1)
    x, y = width + generator.uniform(0.0, 0.4), 0.5 + generator.uniform(-0.15, 0.35)
    if generator.random() < 0.1:
        x = -x
    return [ring, _line(generator, (0.5 - x, 0.5 + y), (0.5 + x, 0.5 - y))]


def _zero_with_inner_end(generator: np.random.Generator) -> _Drawn:
    """A zero that begins or ends with a short curl inside its ring."""
    width, inner = generator.uniform(0.28, 0.48), generator.uniform(0.55, 0.95)
    extra = generator.uniform(0.2, 2.0)
    turns = np.linspace(0, 2 * math.pi + extra, 48)
    radius = np.where(turns > 2 * math.pi, 1 - (1 - inner) * (turns - 2 * math.pi) / extra, 1.0)
    angles = -math.pi / 2 + generator.uniform(-0.5, 0.8) - turns
    ring = np.stack((0.5 + width * radius * np.cos(angles), 0.5 + 0.5 * radius * np.sin(angles)), axis=-1)
    return [ring + _JITTER / 3 * generator.standard_normal(2)]


STYLES: Mapping[str, tuple[float, int, Callable[[np.random.Generator], _Drawn]]] = {
    "zero slashed beyond": (1, 0, _zero_slashed_beyond),
    "zero with inner end": (0.5, 0, _zero_with_inner_end),
    "one with upstroke": (2, 1, _one_with_upstroke),
    "one with retraced foot": (1, 1, _one_with_retraced_foot),
    "two with loops": (1.5, 2, _two_with_loops),
    "three with flat top": (0.5, 3, _three_with_flat_top),
    "three with curled end": (1, 3, _three_with_curled_end),
    "four in one stroke": (1.5, 4, _four_in_one_stroke),
    "four with short stem": (1.5, 4, _four_with_short_stem),
    "five with separate bar": (1, 5, _five_with_separate_bar),
    "narrow six": (1, 6, _narrow_six),
    "open six": (1, 6, _open_six),
    "seven with bar and hook": (1.5, 7, _seven_with_bar_and_hook),
    "seven with joined bar": (0.5, 7, _seven_with_joined_bar),
    "eight open at the top": (2, 8, _eight_open_at_the_top),
    "nine with curled tail": (2, 9, _nine_with_curled_tail),
    "nine with flat head": (1, 9, _nine_with_flat_head),
}
"""By name: relative frequency, the digit, and the function that draws it."""
