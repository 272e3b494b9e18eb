"""Axes of accuracies and losses: logarithmic, with a few round marks, and lines that bear their names."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

_DIGITS = ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), tuple(digit / 10 for digit in range(10, 100, 5)))
"""Of the numbers that are marked on a logarithmic axis; the first set that gives enough is taken."""


def error(share: float) -> float:
    """Return the share of wrong answers; where there are none, as few as an axis shows."""
    return max(1 - share, 1e-5)


def scale_accuracy(axis: Axis, errors: Sequence[float]) -> None:
    """Scale an axis of errors by their logarithm, and mark the accuracies on it, best last."""
    low, high = min(errors) / 1.6, min(max(errors) * 1.6, 1.0)
    _scale(axis, high, low)
    axis.set_major_formatter(FuncFormatter(lambda error, _: f"{100 * (1 - error):.6g} %"))


def scale_loss(axis: Axis, losses: Sequence[float]) -> None:
    """Scale an axis of losses by their logarithm, and mark a few of them."""
    least = max(min(losses), 1e-6)  # a logarithm needs a number above zero
    _scale(axis, least / 1.3, max(*losses, least) * 1.3)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _scale(axis: Axis, begin: float, end: float) -> None:
    """Scale an axis by the logarithm, from one end to the other, with a few round marks."""
    low, high = sorted((begin, end))
    marks: list[float] = []
    for digits in _DIGITS:
        marks = [digit * 10.0**power for power in range(-7, 4) for digit in digits]
        marks = [mark for mark in marks if low <= mark <= high]
        if len(marks) >= 4:
            break
    is_x = axis is axis.axes.xaxis
    (axis.axes.set_xlim if is_x else axis.axes.set_ylim)(begin, end)
    (axis.axes.set_xscale if is_x else axis.axes.set_yscale)("log")
    axis.set_major_locator(FixedLocator(marks))
    axis.set_minor_locator(NullLocator())


def name_ends(axes: Axes, ends: Sequence[tuple[str, float, str]]) -> None:
    """Write each line's name beside its end, moved apart where they would touch.

    Args:
        axes: With their scales set.
        ends: For each line its name, its last value and its colour.
    """
    to_axes = axes.transData + axes.transAxes.inverted()
    places = sorted((float(to_axes.transform((1, value))[1]), name, colour) for name, value, colour in ends)
    gap, last = 0.065, -math.inf
    lowest = places[0][0] if places else 0.0
    first = min(lowest, 1 - gap * (len(places) - 1))
    for height, name, colour in places:
        last = max(height, first, last + gap)
        axes.text(1.02, last, name, color=colour, transform=axes.transAxes, va="center", fontweight="bold")
