"""`service/http/weights.py`: how large a picture of weights may become. What it shows is in test_v1.py."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

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


def test_the_matrix_says_that_its_form_depends_on_the_accept_header(client: TestClient) -> None:
    """
    A cache must not give npy to somebody who wants JSON.
    """
    for accept in ("application/json", "application/x-npy"):
        answer = client.get("/v1/models/quadrants/weights/output", headers={"Accept": accept})

        assert answer.headers["vary"] == "Accept"
        assert answer.headers["content-type"] == accept
