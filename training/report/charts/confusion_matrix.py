"""Chart of a confusion matrix."""

import math
from collections.abc import Sequence
from textwrap import shorten

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from service.core.artifact.report import Confusion
from training.report.charts.plot_style import Palette, figure

_MIN_SIDE = 6.5
"""Inches; the line of mistakes below two or three classes needs this width."""

_LABEL = 24
"""Characters of a class name; own data can have names of any length."""


def confusion_matrix(matrix: Confusion, labels: Sequence[str], model: str, palette: Palette) -> Figure:
    """Draw the counts as a heat map of the mistakes."""
    counts = np.array(matrix.counts)
    size = len(labels)
    wrong = np.where(np.eye(size, dtype=bool), 0, counts)
    side = max(3.2 + 0.38 * size, _MIN_SIDE)
    labels = [shorten(label, _LABEL, placeholder="…") or label[:_LABEL] for label in labels]
    chart = figure(side, side + 0.5, f"{model}: confusion, {matrix.data} {matrix.split}")
    axes = chart.add_subplot()
    scale = LinearSegmentedColormap.from_list("counts", [palette.background, palette.first, palette.strong])
    most = max(int(wrong.max()), 1)
    axes.imshow(np.sqrt(wrong), cmap=scale, vmin=0, vmax=math.sqrt(most))
    for row, column in np.argwhere(counts):
        is_correct = row == column
        colour = palette.text
        if not is_correct and _is_near(scale(math.sqrt(wrong[row, column] / most)), palette.text):
            colour = palette.background
        axes.text(
            column,
            row,
            str(counts[row, column]),
            ha="center",
            va="center",
            color=colour,
            fontsize=9,
            fontweight="bold" if is_correct else "normal",
        )
    for position in range(size):
        axes.add_patch(_frame(position, palette))
    axes.set_xticks(range(size), labels)
    axes.set_yticks(range(size), labels)
    if max(map(len, labels)) > 2:
        axes.tick_params(axis="x", rotation=60)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="prediction", ylabel="class")
    correct, total = int(np.trace(counts)), int(counts.sum())
    fits = f", {len(matrix.seeds)} {matrix.fit} fits together" if len(matrix.seeds) > 1 else ""
    axes.set_title(f"{correct:,} of {total:,} correct, {correct / total:.2%}{fits}")
    pairs = [f"{each.truth} → {each.answer}: {each.count:,}" for each in matrix.confused]
    chart.supxlabel(
        "most frequent mistakes, class \N{RIGHTWARDS ARROW} prediction:  " + ",   ".join(pairs),
        fontsize=9,
        x=0.02,
        ha="left",
    )
    return chart


def _is_near(colour: tuple[float, float, float, float], text: str) -> bool:
    """Return whether text on this colour would have too little contrast in brightness."""
    weights = np.array([0.2126, 0.7152, 0.0722])  # of red, green and blue in brightness
    return abs(float(np.dot(colour[:3], weights)) - float(np.dot(to_rgb(text), weights))) < 0.5


def _frame(position: int, palette: Palette) -> Rectangle:
    """Return the frame of a diagonal cell."""
    return Rectangle((position - 0.5, position - 0.5), 1, 1, fill=False, edgecolor=palette.faint, linewidth=1)
