"""Charts of a report: valid files, two themes, unusual figures."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from service.core.artifact.report import Report
from tests import toys
from training.report.charts import plot_style, render
from training.report.charts.axes import error
from training.report.charts.weight_grid import weight_grid


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return toys.report_of(toys.publish(tmp_path))


def _opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def test_every_chart_has_two_themes_and_a_title(report: Report) -> None:
    """
    Light and dark backgrounds, titles with the model's name, no metadata.
    """
    whole, files = render.render(report, toys.quadrant_weights().T, (28, 28))

    names = [picture.name for picture in whole.pictures]
    assert names == ["summary", "accuracy", "history", "confusion-test", "calibration", "weights"]
    assert set(files) == {f"{name}{theme}.png" for name in names for theme in ("", "-dark")}
    assert all(picture.title.startswith("quadrants, version 1: ") for picture in whole.pictures)
    for file, content in files.items():
        image = _opened(content)
        corner = np.asarray(image.convert("RGB"))[0, 0]
        assert image.info == {}
        assert (corner > 200).all() != file.endswith("-dark.png")


@pytest.mark.parametrize(
    "changes",
    [
        {"history": ()},
        {"lesson": {}},
        {"confusion": ()},
        {"labels": ("a name of many letters", "b", "c", "d")},
    ],
)
def test_an_incomplete_report_is_drawn(report: Report, changes: dict[str, Any]) -> None:
    """
    A missing part has no chart, or an empty place.
    """
    whole, files = render.render(report.model_copy(update=changes), toys.quadrant_weights().T, (28, 28))

    assert len(files) == 2 * len(whole.pictures)
    assert ("history" in [picture.name for picture in whole.pictures]) == (changes.get("history") != ())


def test_an_accuracy_of_one_has_a_place_on_the_axis() -> None:
    """
    The logarithm of an error of 0 is avoided.
    """
    assert 0 < error(1.0) < error(0.9999)


def test_weights_are_drawn_pixel_by_pixel() -> None:
    """
    A unit with positive weights is a square of the first colour, one with negative weights of the second.
    """
    weights = np.concatenate([np.ones((784, 1)), -np.ones((784, 1))], axis=1).astype(np.float32)

    content = plot_style.to_png(lambda palette: weight_grid(weights, (28, 28), "toy", palette), "light")

    pixels = np.asarray(_opened(content).convert("RGB")).reshape(-1, 3)
    colours = {tuple(pixel) for pixel in np.unique(pixels, axis=0)}
    for colour in (plot_style.PALETTES["light"].first, plot_style.PALETTES["light"].second):
        requested_output = tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))
        assert requested_output in colours
        assert (pixels == requested_output).all(axis=1).sum() % 784 == 0


def test_colour_weights_are_halved() -> None:
    """
    64 x 64 x 3, as in `flowers17`: a quarter of the pixels, in colour.
    """
    weights = np.random.default_rng(1).normal(size=(64 * 64 * 3, 8)).astype(np.float32)

    content = plot_style.to_png(lambda palette: weight_grid(weights, (64, 64, 3), "toy", palette), "dark")

    pixels = np.asarray(_opened(content).convert("RGB")).astype(int)
    assert np.ptp(pixels, axis=-1).max() > 40
    assert len(content) < 300_000


def test_the_most_frequent_colours_are_kept_exactly() -> None:
    """
    With any number of rare shades.
    """

    def many(_: plot_style.Palette) -> Figure:
        chart = Figure(figsize=(2, 2), dpi=100)
        shades = np.random.default_rng(1).random((200, 200, 3))
        shades[:100] = (1, 0, 0)
        chart.figimage(shades)
        return chart

    image = _opened(plot_style.to_png(many, "light"))

    assert image.mode == "P"
    assert (np.asarray(image.convert("RGB")) == (255, 0, 0)).all(axis=-1).sum() >= 100 * 200


def test_photographs_keep_their_colours() -> None:
    """
    Pictures of the data are not reduced to a palette.
    """
    image = _opened(plot_style.to_png(lambda _: Figure(), "light", few_colours=False))

    assert image.mode == "RGB"
