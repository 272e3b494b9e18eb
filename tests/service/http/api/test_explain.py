"""`service/http/api/explain.py`: explanations of every published model are exact, as JSON and as pictures."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from service.core.artifact import artifact
from service.core.drawing import mnist
from service.core.network import weight_images
from service.core.network.engine import Engine
from service.http.api import schemas
from service.inference.thread_pool import ThreadPool
from service.settings import Settings
from tests import digits, toys
from tests.conftest import REPOSITORY
from tests.service.http.bodies import OCTETS, QUADRANTS, problem
from tests.service.http.running import service

EXPLAIN = f"{QUADRANTS}/explain?prepare=none"
"""Without preprocessing: the toy networks are not fitted on MNIST."""


PNG = {"accept": "image/png"}

EXACT = 1e-3
"""As documented: how far shares and bias may be from the logit; and the logit from that of another run."""

PUBLISHED = [
    (name, version)
    for name, versions in artifact.versions(REPOSITORY / "models").items()
    for version in versions
]


def seen_images(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return digits of our own or random pictures, noise, white and nothing, as a model sees them."""
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 256, (3, *shape), np.uint8)
    even = np.stack([np.full(shape, 255, np.uint8), np.zeros(shape, np.uint8)])
    if shape != (28, 28):
        coarse = rng.integers(0, 256, (4, 8, 8, 3), np.uint8)
        return np.concatenate([coarse.repeat(8, axis=1).repeat(8, axis=2), noise, even])
    ways = [way for label in digits.DIGITS for way in digits.DIGITS[label]]
    drawn = [mnist.from_strokes(digits.arrays(way), "a digit") for way in ways]
    return np.concatenate([np.stack(drawn), noise, even])


@pytest.mark.parametrize(("name", "version"), PUBLISHED)
def test_shares_and_bias_add_up_to_the_logit_of_every_class(
    real_client: TestClient, published: Path, name: str, version: str
) -> None:
    """For every published model, for digits, noise, white and black images."""
    read = artifact.read(published, name, version)
    images = seen_images(read.manifest.input.shape[1:])
    logits = Engine.load(read).run(images).logits

    for index, label in enumerate(read.manifest.labels):
        response = real_client.post(
            f"/v1/models/{name}/versions/{version}/explain",
            params={"label": label, "prepare": "none"},
            content=images.tobytes(),
            headers=OCTETS,
        )

        assert response.status_code == 200
        entries = orjson.loads(response.content)["predictions"]
        assert [entry["explained"] for entry in entries] == [label] * len(images)
        np.testing.assert_allclose(
            [entry["logit"] for entry in entries], logits[:, index], rtol=0, atol=EXACT
        )
        shares, bias = (np.array([entry[name] for entry in entries]) for name in ("shares", "bias"))
        assert shares.shape == images.shape
        totals = shares.reshape(len(images), -1).sum(axis=1) + bias
        assert np.abs(totals - logits[:, index]).max() <= EXACT


@pytest.mark.parametrize("version", ["1", "2"])
def test_an_explanation_extends_the_prediction(client: TestClient, version: str) -> None:
    """By default the top class is explained; the shares of the toy model are its ink."""
    images = np.stack([toys.dot(0), toys.dot(3)])
    home = f"{QUADRANTS}/versions/{version}"

    plain = client.post(f"{home}/predict?prepare=none&top=2", content=images.tobytes(), headers=OCTETS).json()
    response = client.post(f"{home}/explain?prepare=none&top=2", content=images.tobytes(), headers=OCTETS)

    document = response.json()
    schemas.Explanations.model_validate(document)
    assert (document["model"], document["version"]) == ("quadrants", version)
    assert response.headers["vary"] == "Accept"
    assert "explain;dur=" in response.headers["server-timing"]
    for image, entry, said in zip(images, document["predictions"], plain["predictions"], strict=True):
        assert {name: entry[name] for name in said} == said
        assert set(entry) - set(said) == {"explained", "logit", "bias", "shares"}
        assert entry["explained"] == said["label"]
        assert (entry["logit"], entry["bias"]) == (1, 0)
        np.testing.assert_array_equal(entry["shares"], image / 255)


def test_a_label_selects_the_explained_class(client: TestClient) -> None:
    """A quarter without ink has logit 0 and no shares; the prediction is unchanged."""
    params = {"label": toys.QUARTERS[2], "prepare": "none"}

    response = client.post(
        f"{QUADRANTS}/versions/1/explain", params=params, content=toys.dot(1).tobytes(), headers=OCTETS
    )

    (entry,) = response.json()["predictions"]
    assert (entry["label"], entry["explained"]) == (toys.QUARTERS[1], toys.QUARTERS[2])
    assert entry["logit"] == 0
    assert not np.any(entry["shares"])


@pytest.mark.parametrize(
    ("query", "further"),
    [
        ("", set()),
        ("include=", set()),
        ("include=seen", {"seen"}),
        ("include=activations", {"activations"}),
        ("include=activations,seen", {"seen", "activations"}),
    ],
)
def test_include_adds_pixels_and_activations(client: TestClient, query: str, further: set[str]) -> None:
    body = toys.dot(1).tobytes()

    (plain,) = client.post(EXPLAIN, content=body, headers=OCTETS).json()["predictions"]
    document = client.post(f"{EXPLAIN}&{query}", content=body, headers=OCTETS).json()

    schemas.Explanations.model_validate(document)
    (entry,) = document["predictions"]
    assert {name: value for name, value in entry.items() if name not in further} == plain
    assert further <= set(entry)
    if "seen" in further:
        np.testing.assert_array_equal(entry["seen"], toys.dot(1))
    if "activations" in further:
        assert entry["activations"] == [{"layer": "output", "values": [0, 0, 1, 0]}]


def test_activations_are_those_of_every_layer(real_client: TestClient) -> None:
    """In order; none is negative after a ReLU, and the last are the logits."""
    path = "/v1/models/mlp-512x4/versions/1"
    strokes = {"strokes": digits.DIGITS["3"][0]}

    response = real_client.post(f"{path}/explain?include=activations&label=5", json=strokes)

    (entry,) = response.json()["predictions"]
    found = [(one["layer"], len(one["values"])) for one in entry["activations"]]
    assert found == [*((f"hidden{depth}", 512) for depth in range(1, 5)), ("output", 10)]
    assert all(min(one["values"]) == 0 < max(one["values"]) for one in entry["activations"][:-1])
    assert entry["activations"][-1]["values"][5] == entry["logit"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("label=seven", f"Query 'label' should be one of {', '.join(toys.QUARTERS)}; got 'seven'."),
        ("label=", f"Query 'label' should be one of {', '.join(toys.QUARTERS)}; got ''."),
        (
            "include=all",
            "Query 'include' should be among seen, activations, each at most once, "
            "joined by commas; got 'all'.",
        ),
        (
            "include=seen,all",
            "Query 'include' should be among seen, activations, each at most once, "
            "joined by commas; got 'seen,all'.",
        ),
        ("palette=red", "Query 'palette' should be 'lesson', 'safe' or 'colour'; got 'red'."),
        ("scale=33", "Query 'scale' should be less than or equal to 32; got '33'."),
        ("digit=7", "Query should be among top, prepare, label, include, palette, scale; got 'digit'."),
    ],
)
def test_an_invalid_option_is_refused_with_the_reason(client: TestClient, query: str, said: str) -> None:
    response = client.post(f"{EXPLAIN}&{query}", content=toys.dot(1).tobytes(), headers=OCTETS)

    assert problem(response, 400, "malformed-request") == said


def test_an_error_message_lists_only_the_first_labels(tmp_path: Path) -> None:
    toys.publish(tmp_path, "many", np.zeros((300, 784), np.float32), tuple(map(str, range(300))))
    with service(Settings(models=tmp_path, _env_file=None)) as client:
        response = client.post(
            "/v1/models/many/explain?label=no&prepare=none", content=bytes(784), headers=OCTETS
        )

    detail = problem(response, 400, "malformed-request")
    assert detail.startswith("Query 'label' should be one of 0, 1, 2,")
    assert detail.endswith(" ...; got 'no'.")


@pytest.mark.parametrize(
    ("name", "size", "most"), [("softmax", 784, 256), ("flowers17", 12288, 16)], ids=["digits", "flowers"]
)
def test_explanations_have_a_smaller_image_limit(
    real_client: TestClient, name: str, size: int, most: int
) -> None:
    path = f"/v1/models/{name}/explain?prepare=none"

    largest = real_client.post(path, content=bytes(most * size), headers=OCTETS)
    larger = real_client.post(path, content=bytes((most + 1) * size), headers=OCTETS)

    assert len(largest.json()["predictions"]) == most
    said = problem(larger, 413, "payload-too-large")
    assert said == f"Batch should be at most {most} images; got {most + 1}."


def test_a_lower_limit_in_the_settings_applies(client: TestClient) -> None:
    response = client.post(EXPLAIN, content=bytes(65 * 784), headers=OCTETS)

    assert "at most 64 images" in problem(response, 413, "payload-too-large")


def drawn(response: Any) -> NDArray[np.uint8]:  # noqa: ANN401 - each client has answers of its own
    """Check that an answer is a picture, and return it."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    assert response.headers["vary"] == "Accept"
    return np.asarray(Image.open(io.BytesIO(response.content)))


@pytest.mark.parametrize(
    ("query", "palette", "scale"),
    [
        ("", "lesson", 8),
        ("?scale=1&palette=safe", "safe", 1),
        ("?scale=3&palette=colour", "lesson", 3),
        ("?scale=32&label=4", "lesson", 32),
    ],
)
def test_the_picture_shows_the_shares_of_the_json_response(
    real_client: TestClient, query: str, palette: weight_images.Palette, scale: int
) -> None:
    """In the colours of weights; transparent without ink."""
    strokes = {"strokes": digits.DIGITS["9"][0]}
    path = f"/v1/models/ink/explain{query}"

    found = drawn(real_client.post(path, json=strokes, headers=PNG))
    (entry,) = real_client.post(path, json=strokes).json()["predictions"]

    shares = np.array(entry["shares"], np.float32)
    np.testing.assert_array_equal(
        found, weight_images.enlarge(weight_images.weight_image(shares, palette), scale)
    )
    assert (found[::scale, ::scale, 3] == 0).any()


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a service with a network of photographs, of random weights."""
    root = tmp_path_factory.mktemp("colours")
    weights = np.random.default_rng(2).normal(size=(3, 64 * 64 * 3)).astype(np.float32)
    toys.publish(root, "colours", weights, toys.COLOURS)
    with service(Settings(models=root, _env_file=None)) as client:
        yield client


@pytest.mark.parametrize(
    ("query", "draw"),
    [
        ("", lambda shares: weight_images.weight_image(shares.sum(axis=2))),
        ("&palette=lesson", lambda shares: weight_images.weight_image(shares.sum(axis=2))),
        ("&palette=safe", lambda shares: weight_images.weight_image(shares.sum(axis=2), "safe")),
        ("&palette=colour", lambda shares: weight_images.weight_image(shares, "colour")),
    ],
    ids=["usual", "lesson", "safe", "colour"],
)
def test_the_picture_of_a_photograph_shows_sums_or_colours(
    coloured: TestClient, query: str, draw: Callable[[NDArray[np.float32]], NDArray[np.uint8]]
) -> None:
    """Of the size of the photograph; palette colour shows red, green and blue."""
    body = np.random.default_rng(3).integers(0, 256, toys.PHOTO, np.uint8).tobytes()
    path = f"/v1/models/colours/explain?scale=1{query}"

    found = drawn(coloured.post(path, content=body, headers={**OCTETS, **PNG}))
    (entry,) = coloured.post(path, content=body, headers=OCTETS).json()["predictions"]

    np.testing.assert_array_equal(found, draw(np.array(entry["shares"], np.float32)))


def test_a_picture_of_two_images_is_refused(client: TestClient) -> None:
    response = client.post(EXPLAIN, content=bytes(2 * 784), headers={**OCTETS, **PNG})

    said = problem(response, 400, "malformed-request")
    assert said == "Body should be one image when the response is a picture; got 2 images."


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html", ""])
def test_the_response_is_json_unless_accept_names_png(client: TestClient, accept: str) -> None:
    response = client.post(EXPLAIN, content=bytes(784), headers={**OCTETS, "accept": accept})

    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(("images", "accept", "handed"), [(1, "*/*", 0), (2, "*/*", 1), (1, "image/png", 1)])
def test_only_json_for_one_image_is_computed_on_the_event_loop(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, images: int, accept: str, handed: int
) -> None:
    """Several images, and pictures, go to the thread pool."""
    runs = []
    real = ThreadPool.run

    def run(thread_pool: ThreadPool, work: Callable[[], Any], **limits: Any) -> Any:  # noqa: ANN401 - the work's
        runs.append(work)
        return real(thread_pool, work, **limits)

    monkeypatch.setattr(ThreadPool, "run", run)

    response = client.post(EXPLAIN, content=bytes(images * 784), headers={**OCTETS, "accept": accept})

    assert response.status_code == 200
    assert len(runs) == handed
