"""A report's numbers as pictures, each for light and for dark paper.

Nothing here shows an image of a data set; that is the work of `samples`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from service.core.report import Calibration, Confusion, Curve, Picture, Report, Theme, picture_file
from training.report.charts.axes import error, name_ends, scale_accuracy, scale_loss
from training.report.charts.plot_style import Ink, figure, paint
from training.report.charts.weight_grid import weight_grid

_FEW = 20
"""Images in a bin below which its share of right answers is mostly chance; drawn hollow."""


@dataclass(frozen=True)
class Drawing:
    """One picture that can be drawn.

    Attributes:
        name: In its path.
        title: What it shows, in words.
        draw: Draws it with the inks of a theme.
    """

    name: str
    title: str
    draw: Callable[[Ink], Figure]


def draw(
    report: Report, weights: NDArray[np.float32], shape: tuple[int, ...]
) -> tuple[Report, dict[str, bytes]]:
    """Draw everything that a report holds.

    Args:
        report: The numbers.
        weights: [inputs, units] of the first layer.
        shape: Of an image: height, width, and channels if it has any.

    Returns:
        The report with its list of pictures, and PNG files by file name; the same numbers give the
        same bytes.
    """
    drawings = list(_drawings(report, weights, shape))
    pictures = tuple(Picture(name=drawing.name, title=drawing.title) for drawing in drawings)
    files = {
        picture_file(drawing.name, theme): paint(drawing.draw, theme)
        for drawing in drawings
        for theme in get_args(Theme)
    }
    return report.model_copy(update={"pictures": pictures}), files


def _drawings(report: Report, weights: NDArray[np.float32], shape: tuple[int, ...]) -> Iterator[Drawing]:
    who = f"{report.model}, version {report.version}"
    yield Drawing(
        "summary",
        f"{who}: layers and parameters, {report.parameters:,} in all",
        lambda ink: _summary(report, who, ink),
    )
    yield Drawing(
        "accuracy",
        f"{who}: share of right answers on each part of the data",
        lambda ink: _accuracy(report, who, ink),
    )
    if any(curve.train_loss for curve in report.history):
        yield Drawing(
            "history",
            f"{who}: loss and accuracy by epoch",
            lambda ink: _history(report.history, who, ink),
        )
    for matrix in report.confusion:
        yield _confusion_drawing(matrix, report.labels, who)
    yield Drawing(
        "calibration",
        f"{who}: how often answers are right, by how sure they are",
        lambda ink: _calibration(report.calibration, who, ink),
    )
    yield Drawing(
        "weights",
        f"{who}: the weights of the {weights.shape[1]} units of the first layer, an image each",
        lambda ink: weight_grid(weights, shape, who, ink),
    )


def _summary(report: Report, who: str, ink: Ink) -> Figure:
    rows = [("layer", "inputs", "units", "activation", "parameters")]
    rows += [
        (layer.name, f"{layer.shape[0]:,}", f"{layer.shape[1]:,}", layer.activation, f"{layer.parameters:,}")
        for layer in report.layers
    ]
    rows += [("total", "", "", "", f"{report.parameters:,}")]
    made = figure(6.4, 0.75 + 0.3 * len(rows), f"{who}: layers")
    axes = made.add_subplot()
    axes.set(xlim=(0, 1), ylim=(len(rows), 0))
    axes.set_axis_off()
    ends = ((0.0, "left"), (0.42, "right"), (0.56, "right"), (0.66, "left"), (1.0, "right"))
    for line, row in enumerate(rows):
        weight = "bold" if line in (0, len(rows) - 1) else "normal"
        for (place, side), text in zip(ends, row, strict=True):
            axes.text(place, line + 0.5, text, ha=side, va="center", fontsize=11, fontweight=weight)
    for line in (1, len(rows) - 1):
        axes.axhline(line, color=ink.text, linewidth=0.8)
    return made


def _accuracy(report: Report, who: str, ink: Ink) -> Figure:
    made = figure(8, 1.5 + 0.42 * len(report.accuracy), f"{who}: accuracy")
    axes = made.add_subplot()
    figures = [metric.accuracy for metric in report.accuracy]
    theirs = report.lesson if any(metric.fit == "lesson" for metric in report.accuracy) else {}
    scale_accuracy(axes.xaxis, [error(share) for share in (*figures, *theirs.values())])
    for line, metric in enumerate(report.accuracy):
        is_published = metric.fit == "published"
        spread = "" if metric.spread is None else f" ± {100 * metric.spread:.2f}"
        text = f"{100 * metric.accuracy:.2f}{spread} %"
        axes.plot(
            error(metric.accuracy),
            line,
            marker="o" if is_published else "s",
            color=ink.first if is_published else ink.second,
            markersize=8,
            clip_on=False,
        )
        axes.annotate(text, (error(metric.accuracy), line), (0, 9), textcoords="offset points", ha="center")
        if not is_published and metric.split in theirs:
            axes.plot(
                error(theirs[metric.split]), line, marker="D", color=ink.text, fillstyle="none", markersize=9
            )
    names = [f"{metric.fit}, {metric.data} {metric.split}" for metric in report.accuracy]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.8)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    words = "share of right answers"
    if theirs:
        words += ";  ◇ the lesson's own figure"
    axes.set_xlabel(words)
    return made


def _history(curves: Sequence[Curve], who: str, ink: Ink) -> Figure:
    made = figure(10.5, 4.4, f"{who}: learning curves")
    loss, accuracy = made.subplots(1, 2)
    lines: dict[str, _Line] = {}
    for curve in curves:
        colour = ink.first if curve.fit == "published" else ink.second
        for part, losses, shares, style in (
            ("train", curve.train_loss, curve.train_accuracy, "--"),
            ("valid", curve.valid_loss, curve.valid_accuracy, "-"),
        ):
            if losses and shares:
                line = lines.setdefault(f"{curve.fit}, {part}", _Line([], [], colour, style))
                line.losses.append(losses)
                line.errors.append(tuple(map(error, shares)))
    for axes, words in ((loss, "loss, nats an image"), (accuracy, "accuracy")):
        ends, everything = [], []
        for name, line in lines.items():
            values = np.array(line.losses if axes is loss else line.errors)  # (seeds, epochs)
            epochs = np.arange(1, values.shape[1] + 1)
            mean = values.mean(axis=0)
            axes.plot(epochs, mean, color=line.colour, linestyle=line.style, linewidth=1.8)
            axes.fill_between(
                epochs, values.min(0), values.max(0), color=line.colour, alpha=0.25, linewidth=0
            )
            ends.append((name, float(mean[-1]), line.colour))
            everything += values.ravel().tolist()
        (scale_loss if axes is loss else scale_accuracy)(axes.yaxis, everything)
        axes.set_title(words)
        axes.set_xlabel("epoch")
        axes.set_xlim(1, None)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid()
        name_ends(axes, ends)
    seeds = max(len(line.losses) for line in lines.values())
    words = "train as met while learning, varied and with dropout where the recipe says so"
    if seeds > 1:
        words += f";  lesson: mean and range of {seeds} fits"
    made.supxlabel(words, fontsize=9, x=0.015, ha="left")
    return made


@dataclass(frozen=True)
class _Line:
    """One kind of figure over the epochs: a tuple a fit, and how it is drawn."""

    losses: list[tuple[float, ...]]
    errors: list[tuple[float, ...]]
    colour: str
    style: str


def _confusion_drawing(matrix: Confusion, labels: Sequence[str], who: str) -> Drawing:
    is_published = matrix.fit == "published"
    name = f"confusion-{matrix.split}" if is_published else f"confusion-{matrix.fit}-{matrix.split}"
    fits = "" if is_published else f", {len(matrix.seeds)} fits for the lesson's figures"
    mistakes = "; ".join(f"{each.truth} for {each.answer}: {each.count:,}" for each in matrix.confused)
    return Drawing(
        name,
        f"{who}: which class was taken for which, {matrix.data} {matrix.split}{fits}. "
        f"Most often wrong, class for answer: {mistakes or 'none'}",
        lambda ink: _confusion(matrix, labels, who, ink),
    )


def _confusion(matrix: Confusion, labels: Sequence[str], who: str, ink: Ink) -> Figure:
    counts = np.array(matrix.counts)
    size = len(labels)
    wrong = np.where(np.eye(size, dtype=bool), 0, counts)
    side = 3.2 + 0.38 * size
    made = figure(side, side + 0.5, f"{who}: confusion, {matrix.data} {matrix.split}")
    axes = made.add_subplot()
    scale = LinearSegmentedColormap.from_list("counts", [ink.paper, ink.first, ink.strong])
    most = max(int(wrong.max()), 1)
    axes.imshow(np.sqrt(wrong), cmap=scale, vmin=0, vmax=math.sqrt(most))
    for row, column in np.argwhere(counts):
        is_right = row == column
        colour = ink.text
        if not is_right and _is_near(scale(math.sqrt(wrong[row, column] / most)), ink.text):
            colour = ink.paper
        axes.text(
            column,
            row,
            str(counts[row, column]),
            ha="center",
            va="center",
            color=colour,
            fontsize=9,
            fontweight="bold" if is_right else "normal",
        )
    for place in range(size):
        axes.add_patch(_frame(place, ink))
    axes.set_xticks(range(size), labels)
    axes.set_yticks(range(size), labels)
    if max(map(len, labels)) > 2:
        axes.tick_params(axis="x", rotation=60)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="answer", ylabel="class")
    right, whole = int(np.trace(counts)), int(counts.sum())
    fits = f", {len(matrix.seeds)} {matrix.fit} fits together" if len(matrix.seeds) > 1 else ""
    axes.set_title(f"{right:,} of {whole:,} right, {right / whole:.2%}{fits}")
    pairs = [f"{each.truth} → {each.answer}: {each.count:,}" for each in matrix.confused]
    made.supxlabel(
        "most often wrong, class \N{RIGHTWARDS ARROW} answer:  " + ",   ".join(pairs),
        fontsize=9,
        x=0.02,
        ha="left",
    )
    return made


def _calibration(parts: Sequence[Calibration], who: str, ink: Ink) -> Figure:
    made = figure(1.2 + 3.8 * len(parts), 5.8, f"{who}: calibration")
    grid = made.subplots(2, len(parts), squeeze=False, sharex=True, height_ratios=(3, 1))
    for (above, below), part in zip(grid.T, parts, strict=True):
        above.plot([0, 1], [0, 1], color=ink.text, linewidth=0.8, linestyle=":")
        for each in part.bins:
            if each.confidence is None or each.accuracy is None:
                continue
            above.plot(
                [each.confidence] * 2, [each.confidence, each.accuracy], color=ink.second, linewidth=1.5
            )
            above.plot(
                each.confidence,
                each.accuracy,
                marker="o",
                color=ink.first,
                fillstyle="none" if each.images < _FEW else "full",
                clip_on=False,
            )
            width = each.upper - each.lower
            below.bar(each.lower, each.images, width, align="edge", color=ink.first, edgecolor=ink.paper)
        above.set_title(
            f"{part.data} {part.split}, {part.examples:,} images\nexpected calibration error {part.error:.2%}"
        )
        above.set(xlim=(0, 1), ylim=(0, 1))
        above.grid()
        below.set_yscale("log")
        below.set_ylim(0.7, None)
        below.set_xlabel("probability of the answer")
        for axis in (above.xaxis, above.yaxis, below.xaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
        below.yaxis.set_major_locator(FixedLocator([1, 100, 10_000]))
        below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        below.yaxis.set_minor_locator(NullLocator())
    grid[0, 0].set_ylabel("share of right answers")
    grid[1, 0].set_ylabel("images")
    made.supxlabel(
        f"line: how far the share is from the probability;  hollow: fewer than {_FEW} images",
        fontsize=9,
        x=0.02,
        ha="left",
    )
    return made


def _is_near(colour: tuple[float, float, float, float], text: str) -> bool:
    """Tell whether a surface is so near to the text's brightness that the paper's colour reads better."""
    weights = np.array([0.2126, 0.7152, 0.0722])  # of red, green and blue in brightness
    return abs(float(np.dot(colour[:3], weights)) - float(np.dot(to_rgb(text), weights))) < 0.5


def _frame(place: int, ink: Ink) -> Rectangle:
    """Return the frame of a cell of the diagonal."""
    return Rectangle((place - 0.5, place - 0.5), 1, 1, fill=False, edgecolor=ink.faint, linewidth=1)
