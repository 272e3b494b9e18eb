"""Chart of the learning curves: loss and accuracy per epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from service.core.artifact.report import Curve
from training.report.charts.axes import error, name_ends, scale_accuracy, scale_loss
from training.report.charts.plot_style import Palette, figure


@dataclass(frozen=True)
class _Line:
    """Losses and errors of the fits of one role and part, one tuple per fit, and their line style."""

    losses: list[tuple[float, ...]]
    errors: list[tuple[float, ...]]
    colour: str
    style: str


def learning_curves(curves: Sequence[Curve], model: str, palette: Palette) -> Figure:
    """Draw loss and accuracy per epoch; for several seeds the mean and the range."""
    chart = figure(10.5, 4.4, f"{model}: learning curves")
    loss, accuracy = chart.subplots(1, 2)
    lines: dict[str, _Line] = {}
    for curve in curves:
        colour = palette.first if curve.fit == "published" else palette.second
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
    fit, seeds = max(((name.split(",")[0], len(line.losses)) for name, line in lines.items()), key=_count)
    words = "train: measured during training, with augmentation and dropout"
    if seeds > 1:
        words += f";  {fit}: mean and range of {seeds} fits"
    chart.supxlabel(words, fontsize=9, x=0.015, ha="left")
    return chart


def _count(entry: tuple[str, int]) -> int:
    return entry[1]
