"""`service/http/api/weights.py` and `weight_rendering.py`: sizes of pictures, caching, memory."""

import io
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from service.codecs.pictures import png
from service.core.network import weight_images
from service.core.network.weight_images import Palette
from service.http.messages.cache_keys import Key
from service.http.messages.response_cache import RenderedBody, ResponseCache
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


def test_a_scale_beyond_the_pixel_limit_is_refused(many_units: Path) -> None:
    """The message has the largest scale."""
    with service(Settings(models=many_units, _env_file=None)) as client:
        response = client.get("/v1/models/many/weights/output.png?scale=32")

    detail = problem(response, 400, "malformed-request")
    assert detail.startswith("Query 'scale' should be at most ")
    assert detail.endswith("; got 32.")


def test_the_default_scale_fits_the_pixel_limit(many_units: Path) -> None:
    """8 for one image, less for a grid of hundreds."""
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
    response = client.get(f"/v1/models/colours/weights/{path}")
    assert response.headers["content-type"] == "image/png", response.text
    return np.asarray(Image.open(io.BytesIO(response.content)))


def _matrix(client: TestClient) -> NDArray[np.float32]:
    response = client.get("/v1/models/colours/weights/output", headers={"Accept": "application/x-npy"})
    matrix: NDArray[np.float32] = np.load(io.BytesIO(response.content))
    return matrix


def test_a_layer_with_colour_inputs_has_images(colours: TestClient) -> None:
    (layer,) = colours.get("/v1/models/colours/weights").json()["layers"]

    assert (layer["shape"], layer["images"]) == ([12288, 128], True)


@pytest.mark.parametrize("palette", ["lesson", "safe"])
def test_palette_lesson_shows_three_images_of_a_colour_unit(colours: TestClient, palette: Palette) -> None:
    """Red, green and blue from top to bottom, on one scale."""
    weights = _matrix(colours)[:, 5].reshape(64, 64, 3)
    stacked = np.concatenate([weights[..., channel] for channel in range(3)])

    found = _png(colours, f"output/5.png?scale=1&palette={palette}")

    assert found.shape == (3 * 64, 64, 4)
    np.testing.assert_array_equal(found, weight_images.weight_image(stacked, palette))


def test_palette_colour_shows_one_image_of_a_colour_unit(colours: TestClient) -> None:
    """(1 + v) / 2 of 255, rounded; without transparency."""
    weights = _matrix(colours)[:, 9].reshape(64, 64, 3).astype(float)
    expected = np.floor((1 + weights / np.abs(weights).max()) / 2 * 255 + 0.5)

    found = _png(colours, "output/9.png?scale=1&palette=colour")
    usual = _png(colours, "output/9.png?scale=1")

    np.testing.assert_array_equal(found[..., :3], expected)
    np.testing.assert_array_equal(usual, found)
    assert (found[..., 3] == 255).all()


@pytest.mark.parametrize(("palette", "height"), [("lesson", 192), ("safe", 192), ("colour", 64)])
def test_the_grid_of_a_colour_layer_has_every_unit(colours: TestClient, palette: str, height: int) -> None:
    """Eight rows of sixteen."""
    grid = _png(colours, f"output.png?scale=1&palette={palette}")

    assert grid.shape == (8 * (height + 1) - 1, 16 * 65 - 1, 4)
    for unit in (0, 15, 16, 127):
        top, left = unit // 16 * (height + 1), unit % 16 * 65
        alone = _png(colours, f"output/{unit}.png?scale=1&palette={palette}")
        np.testing.assert_array_equal(grid[top : top + height, left : left + 64], alone)


def test_the_default_scale_of_a_colour_grid_is_the_largest_allowed(colours: TestClient) -> None:
    grid = _png(colours, "output.png?palette=lesson")
    refused = colours.get("/v1/models/colours/weights/output.png?palette=lesson&scale=4")

    assert grid.shape == (1543 * 3, 1039 * 3, 4)  # 14.4 million pixels; with a scale of 4, 25.6
    assert "at most 3 for 1039 x 1543" in problem(refused, 400, "malformed-request")


def test_the_matrix_varies_with_accept(client: TestClient) -> None:
    for accept in ("application/json", "application/x-npy"):
        response = client.get("/v1/models/quadrants/weights/output", headers={"Accept": accept})

        assert response.headers["vary"] == "Accept"
        assert response.headers["content-type"] == accept


MATRIX = "/v1/models/many/weights/output"


@pytest.mark.parametrize(
    "path", ["/v1/models/many/weights", MATRIX, f"{MATRIX}.png?scale=1", f"{MATRIX}/3.png?palette=safe"]
)
def test_head_and_matching_etags_render_nothing(
    many_units: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with service(Settings(models=many_units, max_cached_bytes=0, _env_file=None)) as client:
        first = client.get(path)
        monkeypatch.setattr(ResponseCache, "get", None)  # whatever renders now, fails
        again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
        head = client.head(path)

    assert first.status_code == 200
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["cache-control"] == first.headers["cache-control"] == "no-cache"
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-length", "content-type", "cache-control"):
        assert head.headers[name] == first.headers[name]


@pytest.mark.parametrize("accept", ["application/json", "application/x-npy"])
def test_the_matrix_of_a_named_version_is_immutable(many_units: Path, accept: str) -> None:
    """JSON and npy have different ETags."""
    with service(Settings(models=many_units, _env_file=None)) as client:
        named = client.get("/v1/models/many/versions/1/weights/output", headers={"Accept": accept})
        newest = client.get(MATRIX, headers={"Accept": accept})
        other = client.get(MATRIX, headers={"Accept": "application/x-npy, application/json;q=0"})

    assert "immutable" in named.headers["cache-control"]
    assert newest.headers["cache-control"] == "no-cache"
    assert named.headers["etag"] == newest.headers["etag"]
    assert (other.headers["etag"] == newest.headers["etag"]) == (accept == "application/x-npy")


def test_equivalent_options_share_a_rendering(many_units: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = []
    real = png.write_enlarged

    def write(image: NDArray[np.uint8], scale: int) -> bytes:
        times.append(scale)
        return real(image, scale)

    monkeypatch.setattr(png, "write_enlarged", write)
    with service(Settings(models=many_units, _env_file=None)) as client:
        queries = ("", "?scale=8", "?palette=lesson", "?palette=colour&scale=8")
        bodies = {client.get(f"{MATRIX}/7.png{query}").content for query in queries}

    assert len(bodies) == 1
    assert times == [8]


def test_a_matrix_rendered_in_blocks_equals_the_whole_document(many_units: Path) -> None:
    with service(Settings(models=many_units, _env_file=None)) as client:
        text = client.get(MATRIX).content
        matrix = np.load(io.BytesIO(client.get(MATRIX, headers={"Accept": "application/x-npy"}).content))

    document = orjson.loads(text)
    assert list(document) == ["model", "version", "layer", "shape", "weights"]
    assert document["shape"] == list(matrix.shape)
    np.testing.assert_array_equal(np.array(document["weights"], np.float32), matrix)
    requested_output = orjson.dumps(
        {**document, "weights": np.ascontiguousarray(matrix)}, option=orjson.OPT_SERIALIZE_NUMPY
    )
    assert text == requested_output


def test_rendering_needs_at_most_its_estimated_memory(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For every layer of the published models, as JSON, npy and PNG."""
    real = ResponseCache.get
    over = []

    async def measured(
        cache: ResponseCache, key: Key, render: Callable[[], bytes], cost_bytes: int
    ) -> RenderedBody:
        def traced() -> bytes:
            tracemalloc.start()
            try:
                return render()
            finally:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                if peak > cost_bytes:
                    over.append((key, peak, cost_bytes))

        return await real(cache, key, traced, cost_bytes)

    monkeypatch.setattr(ResponseCache, "get", measured)
    with service(Settings(models=published, _env_file=None)) as client:
        for model in ("flowers17", "softmax", "mlp-512x4"):
            for layer in client.get(f"/v1/models/{model}/weights").json()["layers"]:
                path = f"/v1/models/{model}/weights/{layer['name']}"
                assert client.get(path).status_code == 200
                assert client.get(path, headers={"Accept": "application/x-npy"}).status_code == 200
                assert client.get(f"{path}.png").status_code == 200
            assert client.get(f"/v1/models/{model}/report").status_code == 200
        assert client.get("/openapi.json").status_code == 200

    assert not over
