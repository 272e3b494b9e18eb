"""Logarithmic axes of accuracies and losses with a few round ticks, and labels at the ends of lines."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

_DIGITS = ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), tuple(digit / 10 for digit in range(10, 100, 5)))
"""Leading digits of the ticks; the first set that gives at least four ticks is used."""


def error(accuracy: float) -> float:
    """Return the error of an accuracy; at least 1e-5, for a logarithmic axis."""
    return max(1 - accuracy, 1e-5)


def scale_accuracy(axis: Axis, errors: Sequence[float]) -> None:
    """Set up a logarithmic axis of errors with accuracies as tick labels, best last."""
    low, high = min(errors) / 1.6, min(max(errors) * 1.6, 1.0)
    _scale(axis, high, low)
    axis.set_major_formatter(FuncFormatter(lambda error, _: f"{100 * (1 - error):.6g} %"))


def scale_loss(axis: Axis, losses: Sequence[float]) -> None:
    """Set up a logarithmic axis of losses."""
    least = max(min(losses), 1e-6)  # the logarithm of 0 does not exist
    _scale(axis, least / 1.3, max(*losses, least) * 1.3)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _scale(axis: Axis, begin: float, end: float) -> None:
    """Set up a logarithmic axis between two ends, with a few round ticks."""
    low, high = sorted((begin, end))
    ticks: list[float] = []
    for digits in _DIGITS:
        ticks = [digit * 10.0**power for power in range(-7, 4) for digit in digits]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 4:
            break
    is_x = axis is axis.axes.xaxis
    (axis.axes.set_xlim if is_x else axis.axes.set_ylim)(begin, end)
    (axis.axes.set_xscale if is_x else axis.axes.set_yscale)("log")
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())


def name_ends(axes: Axes, ends: Sequence[tuple[str, float, str]]) -> None:
    """Write each line's name at its right end, without overlap.

    Args:
        axes: Axes with their final scales.
        ends: Name, last value and colour of each line.
    """
    to_axes = axes.transData + axes.transAxes.inverted()
    bottom = min(axes.get_ylim())  # a loss of 0 is at the bottom of a logarithmic axis
    places = sorted(
        (float(to_axes.transform((1, max(value, bottom)))[1]), name, colour) for name, value, colour in ends
    )
    gap, last = 0.065, -math.inf
    lowest = places[0][0] if places else 0.0
    first = min(lowest, 1 - gap * (len(places) - 1))
    for height, name, colour in places:
        last = max(height, first, last + gap)
        axes.text(1.02, last, name, color=colour, transform=axes.transAxes, va="center", fontweight="bold")
