"""`service/http/weights.py`: how large a picture of weights may become. What it shows is in test_v1.py."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from service.core import insight
from service.core.insight import Palette
from service.settings import Settings
from tests import toys
from tests.service.http.bodies import problem
from tests.service.http.running import service

UNITS = 600


@pytest.fixture(scope="module")
def many_units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one layer of so many units that their images make a large picture."""
    root = tmp_path_factory.mktemp("models")
    weights = np.random.default_rng(1).normal(size=(UNITS, 784)).astype(np.float32)
    toys.publish(root, "many", weights, tuple(str(unit) for unit in range(UNITS)))
    return root


def test_a_scale_that_makes_too_large_a_picture_is_refused(many_units: Path) -> None:
    """
    The message says how large it may be.
    """
    with service(Settings(models=many_units, _env_file=None)) as client:
        answer = client.get("/v1/models/many/weights/output.png?scale=32")

    detail = problem(answer, 400, "malformed-request")
    assert detail.startswith("Query 'scale' should be at most ")
    assert detail.endswith("; got 32.")


def test_without_a_scale_the_largest_that_fits_is_taken(many_units: Path) -> None:
    """
    A single image has the usual scale, a grid of hundreds a smaller one.
    """
    with service(Settings(models=many_units, _env_file=None)) as client:
        grid = client.get("/v1/models/many/weights/output.png")
        image = client.get("/v1/models/many/weights/output/0.png")

    width, height = Image.open(io.BytesIO(grid.content)).size
    assert 4_000_000 < width * height <= 16_000_000
    assert Image.open(io.BytesIO(image.content)).size == (224, 224)


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a service with `colours`: as many units as the flowers' network, of random weights."""
    root = tmp_path_factory.mktemp("colours")
    weights = np.random.default_rng(2).normal(size=(128, 64 * 64 * 3)).astype(np.float32)
    toys.publish(root, "colours", weights, tuple(str(unit) for unit in range(128)))
    with service(Settings(models=root, _env_file=None)) as client:
        yield client


def _png(client: TestClient, path: str) -> NDArray[np.uint8]:
    answer = client.get(f"/v1/models/colours/weights/{path}")
    assert answer.headers["content-type"] == "image/png", answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def _matrix(client: TestClient) -> NDArray[np.float32]:
    answer = client.get("/v1/models/colours/weights/output", headers={"Accept": "application/x-npy"})
    matrix: NDArray[np.float32] = np.load(io.BytesIO(answer.content))
    return matrix


def test_a_layer_that_sees_colours_can_be_shown(colours: TestClient) -> None:
    """
    It is listed as having images.
    """
    (layer,) = colours.get("/v1/models/colours/weights").json()["layers"]

    assert (layer["shape"], layer["images"]) == ([12288, 128], True)


@pytest.mark.parametrize("palette", ["lesson", "safe"])
def test_a_unit_that_sees_colours_has_a_picture_for_each(colours: TestClient, palette: Palette) -> None:
    """
    Red, green and blue from top to bottom, as the formula gives them on one scale.
    """
    weights = _matrix(colours)[:, 5].reshape(64, 64, 3)
    stacked = np.concatenate([weights[..., channel] for channel in range(3)])

    found = _png(colours, f"output/5.png?scale=1&palette={palette}")

    assert found.shape == (3 * 64, 64, 4)
    np.testing.assert_array_equal(found, insight.weight_image(stacked, palette))


def test_a_unit_that_sees_colours_can_be_shown_in_them(colours: TestClient) -> None:
    """
    (1 + v) / 2 of 255, rounded; nothing is transparent.
    """
    weights = _matrix(colours)[:, 9].reshape(64, 64, 3).astype(float)
    expected = np.floor((1 + weights / np.abs(weights).max()) / 2 * 255 + 0.5)

    found = _png(colours, "output/9.png?scale=1&palette=colour")
    usual = _png(colours, "output/9.png?scale=1")

    np.testing.assert_array_equal(found[..., :3], expected)
    np.testing.assert_array_equal(usual, found)
    assert (found[..., 3] == 255).all()


@pytest.mark.parametrize(("palette", "height"), [("lesson", 192), ("safe", 192), ("colour", 64)])
def test_the_grid_of_a_layer_that_sees_colours_holds_every_unit(
    colours: TestClient, palette: str, height: int
) -> None:
    """
    Eight rows of sixteen, each as it is alone; small enough to be drawn.
    """
    grid = _png(colours, f"output.png?scale=1&palette={palette}")

    assert grid.shape == (8 * (height + 1) - 1, 16 * 65 - 1, 4)
    for unit in (0, 15, 16, 127):
        top, left = unit // 16 * (height + 1), unit % 16 * 65
        alone = _png(colours, f"output/{unit}.png?scale=1&palette={palette}")
        np.testing.assert_array_equal(grid[top : top + height, left : left + 64], alone)


def test_the_grid_of_a_layer_that_sees_colours_is_as_large_as_the_limit_allows(colours: TestClient) -> None:
    """
    Without a scale, and one more than that is refused.
    """
    grid = _png(colours, "output.png?palette=lesson")
    refused = colours.get("/v1/models/colours/weights/output.png?palette=lesson&scale=4")

    assert grid.shape == (1543 * 3, 1039 * 3, 4)  # 14.4 million pixels; with a scale of 4, 25.6
    assert "at most 3 for 1039 x 1543" in problem(refused, 400, "malformed-request")


def test_the_matrix_says_that_its_form_depends_on_the_accept_header(client: TestClient) -> None:
    """
    A cache must not give npy to somebody who wants JSON.
    """
    for accept in ("application/json", "application/x-npy"):
        answer = client.get("/v1/models/quadrants/weights/output", headers={"Accept": accept})

        assert answer.headers["vary"] == "Accept"
        assert answer.headers["content-type"] == accept
