"""Chart of the calibration: accuracy by confidence, a reliability diagram with a histogram."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from service.core.artifact.report import Calibration
from training.report.charts.plot_style import Palette, figure

_FEW = 20
"""Images in a bin below which its accuracy is mostly noise; the marker is hollow."""


def calibration_chart(parts: Sequence[Calibration], model: str, palette: Palette) -> Figure:
    """Draw a reliability diagram and a histogram for each part."""
    chart = figure(1.2 + 3.8 * len(parts), 5.8, f"{model}: calibration")
    grid = chart.subplots(2, len(parts), squeeze=False, sharex=True, height_ratios=(3, 1))
    for (above, below), part in zip(grid.T, parts, strict=True):
        above.plot([0, 1], [0, 1], color=palette.text, linewidth=0.8, linestyle=":")
        for each in part.bins:
            if each.confidence is None or each.accuracy is None:
                continue
            above.plot(
                [each.confidence] * 2, [each.confidence, each.accuracy], color=palette.second, linewidth=1.5
            )
            above.plot(
                each.confidence,
                each.accuracy,
                marker="o",
                color=palette.first,
                fillstyle="none" if each.images < _FEW else "full",
                clip_on=False,
            )
            width = each.upper - each.lower
            below.bar(
                each.lower,
                each.images,
                width,
                align="edge",
                color=palette.first,
                edgecolor=palette.background,
            )
        above.set_title(
            f"{part.data} {part.split}, {part.examples:,} images\nexpected calibration error {part.error:.2%}"
        )
        above.set(xlim=(0, 1), ylim=(0, 1))
        above.grid()
        below.set_yscale("log")
        below.set_ylim(0.7, None)
        below.set_xlabel("confidence")
        for axis in (above.xaxis, above.yaxis, below.xaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
        below.yaxis.set_major_locator(FixedLocator([1, 100, 10_000]))
        below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        below.yaxis.set_minor_locator(NullLocator())
    grid[0, 0].set_ylabel("accuracy")
    grid[1, 0].set_ylabel("images")
    chart.supxlabel(
        f"line: difference between accuracy and confidence;  hollow: fewer than {_FEW} images",
        fontsize=9,
        x=0.02,
        ha="left",
    )
    return chart
