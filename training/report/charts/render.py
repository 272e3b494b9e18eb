"""All charts of a report as PNG files, in the light and the dark theme.

No chart shows an image of a data set.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.core.artifact.report import Confusion, Picture, Report, Theme, picture_file
from training.report.charts.calibration import calibration_chart
from training.report.charts.confusion_matrix import confusion_matrix
from training.report.charts.learning_curves import learning_curves
from training.report.charts.plot_style import Palette, to_png
from training.report.charts.summary import accuracy_chart, layers_table
from training.report.charts.weight_grid import weight_grid

_MAX_NAME = 40
"""Characters of a part's name in a file's name."""

_MAX_MATRIX = 64
"""Classes of the largest confusion matrix that is drawn; the report has the counts of larger ones."""


@dataclass(frozen=True)
class Chart:
    """A chart that can be drawn in any theme.

    Attributes:
        name: Name in the file's path.
        title: Description, used as alternative text.
        draw: Draws the chart with a palette.
    """

    name: str
    title: str
    draw: Callable[[Palette], Figure]


def render(
    report: Report, weights: NDArray[np.float32], shape: tuple[int, ...]
) -> tuple[Report, dict[str, bytes]]:
    """Draw all charts of a report.

    Args:
        report: The report, without charts.
        weights: [inputs, units] of the first layer.
        shape: Shape of an image: height, width, and channels if it has any.

    Returns:
        The report with its list of charts, and PNG files by name; the same report gives the same bytes.
    """
    charts = list(_charts(report, weights, shape))
    pictures = tuple(Picture(name=chart.name, title=chart.title) for chart in charts)
    files = {
        picture_file(chart.name, theme): to_png(chart.draw, theme)
        for chart in charts
        for theme in get_args(Theme)
    }
    return report.model_copy(update={"pictures": pictures}), files


def _charts(report: Report, weights: NDArray[np.float32], shape: tuple[int, ...]) -> Iterator[Chart]:
    model = f"{report.model}, version {report.version}"
    yield Chart(
        "summary",
        f"{model}: layers and parameters, {report.parameters:,} in all",
        lambda palette: layers_table(report, model, palette),
    )
    yield Chart(
        "accuracy",
        f"{model}: accuracy on each part of the data",
        lambda palette: accuracy_chart(report, model, palette),
    )
    if any(curve.train_loss for curve in report.history):
        yield Chart(
            "history",
            f"{model}: loss and accuracy by epoch",
            lambda palette: learning_curves(report.history, model, palette),
        )
    if len(report.labels) <= _MAX_MATRIX:
        for matrix in report.confusion:
            yield _confusion_chart(matrix, report.labels, model)
    yield Chart(
        "calibration",
        f"{model}: accuracy by confidence",
        lambda palette: calibration_chart(report.calibration, model, palette),
    )
    yield Chart(
        "weights",
        f"{model}: the weights of the {weights.shape[1]} units of the first layer, one image each",
        lambda palette: weight_grid(weights, shape, model, palette),
    )


def _confusion_chart(matrix: Confusion, labels: Sequence[str], model: str) -> Chart:
    is_published = matrix.fit == "published"
    # a part can be named after a person, with any characters
    part = re.sub("[^a-z0-9]+", "-", matrix.split.lower()).strip("-")[:_MAX_NAME]
    name = f"confusion-{part}" if is_published else f"confusion-{matrix.fit}-{part}"
    fits = "" if is_published else f", {len(matrix.seeds)} fits on the lesson's split"
    mistakes = "; ".join(f"{each.truth} for {each.answer}: {each.count:,}" for each in matrix.confused)
    return Chart(
        name,
        f"{model}: confusion matrix, {matrix.data} {matrix.split}{fits}. "
        f"Most frequent mistakes, class for prediction: {mistakes or 'none'}",
        lambda palette: confusion_matrix(matrix, labels, model, palette),
    )
