"""Pictures of images of the data: a sample of a class, and a network's typical and troublesome images.

They are drawn on request and never published, since the data may not be redistributed.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.core.artifact.report import Extremes, Report, Theme
from training.data.examples import Split
from training.errors import OutputInModels
from training.report.charts.plot_style import figure, to_png

_ROWS, _COLUMNS = 6, 10
"""Layout of a sample."""


def sample(split: Split, part: str, label: str, theme: Theme = "light") -> bytes:
    """Draw the first images of a class in a part, with their row numbers.

    Args:
        split: The data.
        part: Name of the part.
        label: Name of the class.
        theme: The palette to use.

    Returns:
        A PNG file.
    """
    examples = split.parts[part]
    rows = np.flatnonzero(examples.labels == split.classes.index(label))
    shown = rows[: _ROWS * _COLUMNS]
    lines: list[_Line] = [
        (None, examples.pixels[line], [str(row) for row in line])
        for line in np.split(shown, range(_COLUMNS, len(shown), _COLUMNS))
    ]
    title = f"{split.data_set} {part}, class {label}: {len(shown)} of {len(rows):,} images"
    return to_png(lambda _: _grid(title, lines), theme, few_colours=False)


def draw_extremes(report: Report, split: Split, folder: Path, theme: Theme = "light") -> list[Path]:
    """Draw the typical and troublesome images that a report lists, for each part of the data.

    Args:
        report: Report of a network on this data.
        split: The data.
        folder: Folder of the pictures; it is created if it is missing.
        theme: The palette to use.

    Returns:
        Paths of the pictures.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for part in split.parts:
        extremes = [each for each in report.extremes if (each.data, each.split) == (split.data_set, part)]
        for kind in ("typical", "troublesome"):
            title = f"{report.model}, version {report.version}: {kind} images, {split.data_set} {part}"
            files.append(folder / f"{report.model}-{report.version}-{kind}-{part}.png")
            files[-1].write_bytes(_draw(title, kind, extremes, split.parts[part].pixels, theme))
    return files


def check_output(path: Path, models: Path) -> None:
    """Check that pictures of the data are written outside the models folder.

    Raises:
        OutputInModels: The path is in the models folder.
    """
    if path.resolve().is_relative_to(models.resolve()):
        raise OutputInModels(path, models)


_Line = tuple[str | None, NDArray[np.uint8], list[str]]
"""A row of images: its name, the images, and the caption of each."""


def _draw(
    title: str, kind: str, extremes: Sequence[Extremes], pixels: NDArray[np.uint8], theme: Theme
) -> bytes:
    lines: list[_Line] = []
    for each in extremes:
        seen = each.typical if kind == "typical" else each.troublesome
        captions = [
            f"{image.row}\n{image.probability:.1%}"
            + ("" if image.answer == each.label else f", {image.answer}?")
            for image in seen
        ]
        lines.append((each.label, pixels[[image.row for image in seen]], captions))
    return to_png(lambda _: _grid(title, lines), theme, few_colours=False)


def _grid(title: str, lines: Sequence[_Line]) -> Figure:
    columns = max([1, *(len(images) for _, images, _ in lines)])
    chart = figure(1.4 + 0.95 * columns, 0.7 + 1.25 * max(len(lines), 1), title)
    cells = chart.subplots(max(len(lines), 1), columns, squeeze=False)
    for axes in cells.flat:
        axes.set_axis_off()
    for row, (name, images, captions) in zip(cells, lines, strict=False):
        if name is not None:
            row[0].text(
                -0.25, 0.5, name, transform=row[0].transAxes, ha="right", va="center", fontweight="bold"
            )
        for axes, image, caption in zip(row, images, captions, strict=False):
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)  # imshow ignores cmap for colour images
            axes.text(0.5, -0.05, caption, transform=axes.transAxes, ha="center", va="top", fontsize=8)
    return chart
