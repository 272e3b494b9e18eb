"""Pictures of the data itself: a sample of a class, and a network's typical and troublesome images.

They are drawn where the data is and on demand, and never published: the data is not ours to give away.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.core.report import Extremes, Report, Theme
from training.data.examples import Split
from training.errors import OutputInModels
from training.report.charts.plot_style import figure, paint

_ROWS, _COLUMNS = 6, 10
"""Of the images in a sample."""


def sample(split: Split, part: str, label: str, theme: Theme = "light") -> bytes:
    """Draw a class's first images of a part, with their row numbers.

    Args:
        split: The data.
        part: Which part of it.
        label: Name of the class.
        theme: For which paper.

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
    return paint(lambda _: _grid(title, lines), theme, is_of_few_colours=False)


def draw_extremes(report: Report, split: Split, folder: Path, theme: Theme = "light") -> list[Path]:
    """Draw the typical and the troublesome images that a report names, for each part of the data.

    Args:
        report: Of a network, made with this data.
        split: The data.
        folder: Where to put the pictures; it is made where it is missing.
        theme: For which paper.

    Returns:
        The files.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for part in split.parts:
        here = [each for each in report.extremes if (each.data, each.split) == (split.data_set, part)]
        for kind in ("typical", "troublesome"):
            title = f"{report.model}, version {report.version}: {kind} images, {split.data_set} {part}"
            files.append(folder / f"{report.model}-{report.version}-{kind}-{part}.png")
            files[-1].write_bytes(_draw(title, kind, here, split.parts[part].pixels, theme))
    return files


def check_place(place: Path, models: Path) -> None:
    """Refuse to put pictures of the data where networks are published.

    Raises:
        OutputInModels: The place is in the models folder.
    """
    if place.resolve().is_relative_to(models.resolve()):
        raise OutputInModels(place, models)


_Line = tuple[str | None, NDArray[np.uint8], list[str]]
"""A name, the images beside it, and the words below each."""


def _draw(title: str, kind: str, here: Sequence[Extremes], pixels: NDArray[np.uint8], theme: Theme) -> bytes:
    lines: list[_Line] = []
    for each in here:
        seen = each.typical if kind == "typical" else each.troublesome
        words = [
            f"{image.row}\n{image.probability:.1%}"
            + ("" if image.answer == each.label else f", {image.answer}?")
            for image in seen
        ]
        lines.append((each.label, pixels[[image.row for image in seen]], words))
    return paint(lambda _: _grid(title, lines), theme, is_of_few_colours=False)


def _grid(title: str, lines: Sequence[_Line]) -> Figure:
    columns = max([1, *(len(images) for _, images, _ in lines)])
    made = figure(1.4 + 0.95 * columns, 0.7 + 1.25 * max(len(lines), 1), title)
    cells = made.subplots(max(len(lines), 1), columns, squeeze=False)
    for axes in cells.flat:
        axes.set_axis_off()
    for row, (name, images, words) in zip(cells, lines, strict=False):
        if name is not None:
            row[0].text(
                -0.25, 0.5, name, transform=row[0].transAxes, ha="right", va="center", fontweight="bold"
            )
        for axes, image, word in zip(row, images, words, strict=False):
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)  # colour images are shown as they are
            axes.text(0.5, -0.05, word, transform=axes.transAxes, ha="center", va="top", fontsize=8)
    return made
