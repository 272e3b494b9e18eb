"""`service/http/api/weights.py` and `weight_rendering.py`: matrices, images of units and layers."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from service.http.api import schemas
from service.settings import Settings
from tests import toys
from tests.service.http.bodies import WEIGHTS, problem, versioned
from tests.service.http.running import service


@pytest.mark.parametrize("version", ["1", "2"])
def test_layers_are_listed_with_shape_and_range(client: TestClient, version: str) -> None:
    document = client.get(versioned(WEIGHTS, version)).json()

    schemas.WeightLayers.model_validate(document)
    layer = {"name": "output", "shape": [784, 4], "minimum": 0.0, "maximum": 1.0, "images": True}
    assert document == {"model": "quadrants", "version": version, "layers": [layer]}


@pytest.mark.parametrize("version", ["1", "2"])
def test_weights_are_those_of_the_network(client: TestClient, version: str) -> None:
    """As JSON and npy: (inputs, units) float32."""
    requested_output = toys.quadrant_weights()[:: 1 if version == "1" else -1].T
    path = f"{versioned(WEIGHTS, version)}/output"

    as_json = client.get(path)
    as_array = client.get(path, headers={"accept": "application/x-npy"})

    schemas.Weights.model_validate(as_json.json())
    assert as_json.json()["shape"] == [784, 4]
    assert as_json.json()["layer"] == "output"
    np.testing.assert_array_equal(as_json.json()["weights"], requested_output)
    assert as_array.headers["content-type"] == "application/x-npy"
    array = np.load(io.BytesIO(as_array.content), allow_pickle=False)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, requested_output)


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html", ""])
def test_weights_are_json_unless_accept_names_npy(client: TestClient, accept: str) -> None:
    response = client.get(f"{WEIGHTS}/output", headers={"accept": accept})

    assert response.headers["content-type"] == "application/json"


def formula(weights: NDArray[np.float32]) -> NDArray[np.int64]:
    """The design's formula, written down again: (H, W) weights to (H, W, 4), 0..255."""
    v = weights.astype(np.float64) / np.abs(weights).max()
    red = blue = 1 - np.maximum(v, 0)
    green = 1 - np.maximum(-v, 0)
    alpha = np.where(v == 0, 0.0, 1.0)
    rgba: NDArray[np.int64] = np.floor(np.stack([red, green, blue, alpha], axis=-1) * 255 + 0.5).astype(
        np.int64
    )
    return rgba


def opened(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        assert image.mode == "RGBA"
        return np.asarray(image)


def enlarged(image: NDArray[Any], scale: int) -> NDArray[Any]:
    return np.kron(image, np.ones((scale, scale, 1), image.dtype))


@pytest.fixture(scope="module")
def coloured_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with `coloured`: ten units whose weights are positive, negative and exactly nought."""
    weights = np.random.default_rng(7).normal(size=(10, 784)).astype(np.float32)
    weights[:, ::5] = 0
    weights[3] *= 1e-6
    weights[4] = 0
    root = tmp_path_factory.mktemp("coloured")
    toys.publish(root, "coloured", weights, tuple("0123456789"))
    return root


@pytest.mark.parametrize(
    ("query", "scale"), [("?scale=1", 1), ("", 8), ("?scale=8&palette=lesson", 8), ("?scale=3", 3)]
)
def test_the_image_of_a_unit_follows_the_formula(
    toy_settings: Settings, coloured_root: Path, query: str, scale: int
) -> None:
    """Computed from the npy matrix; a unit of zeros is transparent."""
    with service(toy_settings, models=coloured_root) as client:
        path = "/v1/models/coloured/weights/output"
        content = client.get(path, headers={"accept": "application/x-npy"}).content
        matrix = np.load(io.BytesIO(content), allow_pickle=False)

        found = [opened(client.get(f"{path}/{unit}.png{query}").content) for unit in (0, 3, 9)]
        blank = opened(client.get(f"{path}/4.png{query}").content)

    for unit, image in zip((0, 3, 9), found, strict=True):
        requested_output = enlarged(formula(matrix[:, unit].reshape(28, 28)), scale)
        np.testing.assert_array_equal(image, requested_output)
    assert blank.shape == (28 * scale, 28 * scale, 4)
    assert not blank[..., 3].any()


@pytest.mark.parametrize("scale", [1, 8])
def test_the_image_of_a_layer_is_a_grid_of_units(
    toy_settings: Settings, coloured_root: Path, scale: int
) -> None:
    """Two rows of five with one transparent pixel between images."""
    with service(toy_settings, models=coloured_root) as client:
        path = "/v1/models/coloured/weights/output"
        grid = opened(client.get(f"{path}.png?scale={scale}").content)
        found = [opened(client.get(f"{path}/{unit}.png?scale={scale}").content) for unit in range(10)]

    assert grid.shape == (57 * scale, 144 * scale, 4)
    for unit, image in enumerate(found):
        top, left = unit // 5 * 29 * scale, unit % 5 * 29 * scale
        np.testing.assert_array_equal(grid[top : top + 28 * scale, left : left + 28 * scale], image)
    assert not grid[28 * scale : 29 * scale, :, 3].any()
    assert not grid[:, 28 * scale : 29 * scale, 3].any()


def test_palette_safe_is_blue_and_orange(toy_settings: Settings, coloured_root: Path) -> None:
    """The same pixels are transparent."""
    path = "/v1/models/coloured/weights/output/0.png?scale=1"
    with service(toy_settings, models=coloured_root) as client:
        lesson = opened(client.get(path).content)
        safe = opened(client.get(f"{path}&palette=safe").content)

    strongest = lesson[..., :3].min(axis=-1).argmin()
    np.testing.assert_array_equal(lesson[..., 3], safe[..., 3])
    assert safe.reshape(-1, 4)[strongest].tolist() in ([0, 114, 178, 255], [213, 94, 0, 255])
    assert not np.array_equal(lesson, safe)


@pytest.mark.parametrize("path", ["output.png", "output/0.png"])
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("scale=0", "Query 'scale' should be greater than or equal to 1; got '0'."),
        ("scale=33", "Query 'scale' should be less than or equal to 32; got '33'."),
        ("scale=big", "Query 'scale' should be"),
        ("palette=red", "Query 'palette' should be 'lesson', 'safe' or 'colour'; got 'red'."),
        ("colour=red", "Query should be among scale, palette; got 'colour'."),
    ],
)
def test_an_invalid_picture_option_is_refused_with_the_reason(
    client: TestClient, path: str, query: str, said: str
) -> None:
    response = client.get(f"{WEIGHTS}/{path}?{query}")

    assert problem(response, 400, "malformed-request").startswith(said)


@pytest.mark.parametrize("path", ["output.png", "output/1.png"])
def test_images_of_a_named_version_are_immutable(client: TestClient, path: str) -> None:
    named = client.get(f"{versioned(WEIGHTS, '1')}/{path}")
    newest = client.get(f"{WEIGHTS}/{path}")

    assert named.headers["content-type"] == newest.headers["content-type"] == "image/png"
    assert "immutable" in named.headers["cache-control"]
    assert newest.headers["cache-control"] == "no-cache"
    assert named.content != newest.content or path == "output.png"
