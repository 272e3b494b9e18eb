"""Charts of a report's summary: the layers as a table, and the accuracy of every part."""

from textwrap import fill

from matplotlib.figure import Figure

from service.core.artifact.report import Report
from training.report.charts.axes import error, scale_accuracy
from training.report.charts.plot_style import Palette, figure

_LABEL = 44
"""Characters in a line of a part's name; own data can have names of any length."""


def layers_table(report: Report, model: str, palette: Palette) -> Figure:
    """Draw a table of the layers and their numbers of parameters."""
    rows = [("layer", "inputs", "units", "activation", "parameters")]
    rows += [
        (layer.name, f"{layer.shape[0]:,}", f"{layer.shape[1]:,}", layer.activation, f"{layer.parameters:,}")
        for layer in report.layers
    ]
    rows += [("total", "", "", "", f"{report.parameters:,}")]
    chart = figure(6.4, 0.75 + 0.3 * len(rows), f"{model}: layers")
    axes = chart.add_subplot()
    axes.set(xlim=(0, 1), ylim=(len(rows), 0))
    axes.set_axis_off()
    ends = ((0.0, "left"), (0.42, "right"), (0.56, "right"), (0.66, "left"), (1.0, "right"))
    for line, row in enumerate(rows):
        weight = "bold" if line in (0, len(rows) - 1) else "normal"
        for (place, side), text in zip(ends, row, strict=True):
            axes.text(place, line + 0.5, text, ha=side, va="center", fontsize=11, fontweight=weight)
    for line in (1, len(rows) - 1):
        axes.axhline(line, color=palette.text, linewidth=0.8)
    return chart


def accuracy_chart(report: Report, model: str, palette: Palette) -> Figure:
    """Draw the accuracies on a logarithmic axis of the error, beside the lesson's."""
    chart = figure(8, 1.5 + 0.42 * len(report.accuracy), f"{model}: accuracy")
    axes = chart.add_subplot()
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
            color=palette.first if is_published else palette.second,
            markersize=8,
            clip_on=False,
        )
        axes.annotate(text, (error(metric.accuracy), line), (0, 9), textcoords="offset points", ha="center")
        if not is_published and metric.split in theirs:
            axes.plot(
                error(theirs[metric.split]),
                line,
                marker="D",
                color=palette.text,
                fillstyle="none",
                markersize=9,
            )
    names = [fill(f"{metric.fit}, {metric.data} {metric.split}", _LABEL) for metric in report.accuracy]
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
    return chart
