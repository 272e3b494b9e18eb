"""`service/http/api/predict.py`: the list of models and their descriptions."""

import json
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.http.api import schemas
from service.settings import Settings
from tests import toys
from tests.service.http.bodies import OCTETS, PREDICT, PROBABILITIES, QUADRANTS, WEIGHTS, problem, versioned
from tests.service.http.running import service


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("/v1/models/nobody", "unknown-model", "Model should be one of quadrants; got 'nobody'."),
        ("/v1/models/nobody/versions/1", "unknown-model", "Model should be one of quadrants; got 'nobody'."),
        ("/v1/models/Quadrants", "unknown-model", "Model should be one of quadrants; got 'Quadrants'."),
        (
            "/v1/models/quadrants/versions/3",
            "unknown-version",
            "Version of 'quadrants' should be one of 1, 2; got '3'.",
        ),
        ("/v1/models/quadrants/versions/01", "unknown-version", "Version of 'quadrants'"),
        ("/v1/models/quadrants/versions/latest", "unknown-version", "Version of 'quadrants'"),
        (f"{WEIGHTS}/hidden", "unknown-layer", "Layer of 'quadrants' should be one of output; got 'hidden'."),
        (f"{WEIGHTS}/hidden.png", "unknown-layer", "Layer of 'quadrants' should be one of output"),
        (f"{WEIGHTS}/hidden/0.png", "unknown-layer", "Layer of 'quadrants' should be one of output"),
        (
            f"{WEIGHTS}/output/4.png",
            "unknown-unit",
            "Unit of layer 'output' should be a whole number 0..3; got '4'.",
        ),
        (f"{WEIGHTS}/output/-1.png", "unknown-unit", "Unit of layer 'output'"),
        (f"{WEIGHTS}/output/1.5.png", "unknown-unit", "Unit of layer 'output'"),
        (f"{WEIGHTS}/output/one.png", "unknown-unit", "Unit of layer 'output'"),
        (f"{WEIGHTS}/output/%C2%B2.png", "unknown-unit", "Unit of layer 'output'"),
        (f"{WEIGHTS}/output/%D9%A1.png", "unknown-unit", "Unit of layer 'output'"),
        (f"{WEIGHTS}/output/{'1' * 5000}.png", "unknown-unit", "Unit of layer 'output'"),
        (f"/v1/models/{'m' * 5000}", "unknown-model", "Model should be one of quadrants; got 'mmm"),
        (f"/v1/models/quadrants/versions/{'9' * 5000}", "unknown-version", "Version of 'quadrants'"),
        (f"{WEIGHTS}/{'x' * 5000}", "unknown-layer", "Layer of 'quadrants'"),
        ("/v1/models/%00%0a", "unknown-model", "Model should be one of quadrants"),
    ],
)
def test_unknown_models_and_versions_are_not_found(
    client: TestClient, path: str, kind: str, said: str
) -> None:
    """The message lists the known ones; long names are cut."""
    assert problem(client.get(path), 404, kind).startswith(said)


@pytest.mark.parametrize(
    "path", ["/v1/models/nobody/predict", "/v1/models/quadrants/versions/9/probabilities"]
)
def test_an_unknown_model_is_reported_before_an_invalid_body(client: TestClient, path: str) -> None:
    response = client.post(path, content=b"{", headers={"content-type": "application/json"})

    assert response.status_code == 404


def test_the_list_of_models_describes_each_by_its_newest_version(client: TestClient, toy_root: Path) -> None:
    """As in the manifest."""
    manifest = json.loads((toy_root / "quadrants" / "2" / "manifest.json").read_bytes())

    document = client.get("/v1/models").json()

    schemas.Models.model_validate(document)
    (model,) = document["models"]
    assert (model["name"], model["version"], model["versions"]) == ("quadrants", "2", ["1", "2"])
    assert model["labels"] == list(toys.QUARTERS) == manifest["labels"]
    assert model["input"] == [28, 28]
    assert model["parameters"] == 4 * 784 + 4
    layer = {"name": "output", "inputs": 784, "units": 4, "activation": "none", "parameters": 4 * 784 + 4}
    assert model["layers"] == [layer]
    assert model["metrics"] == [{"calibration_error": None} | metric for metric in manifest["metrics"]]
    assert model["finished"] == manifest["making"]["finished"]
    assert model["description"] == manifest["description"]


def test_the_default_model_is_listed_if_it_is_served(toy_settings: Settings) -> None:
    with service(toy_settings) as client:
        without = client.get("/v1/models").json()
    with service(toy_settings, default_model="quadrants") as client:
        named = client.get("/v1/models").json()

    assert (toy_settings.default_model, without["default"]) == ("ink", None)
    assert named == {**without, "default": "quadrants"}


@pytest.fixture(scope="module")
def root_with_threshold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with `knowing`: quadrants that know what they do not know."""
    root = tmp_path_factory.mktemp("knowing")
    toys.publish(root, "knowing", temperature=0.5, certainty=toys.CERTAINTY)
    return root


@pytest.mark.parametrize("route", ["predict", "probabilities"])
def test_a_model_with_a_threshold_returns_sure(
    toy_settings: Settings, root_with_threshold: Path, route: str
) -> None:
    """One dot has an energy of 1.17, no dot 0.69; the threshold is 1."""
    batch = np.stack([toys.dot(), toys.dot(2), toys.dot()])
    schema = schemas.Predictions if route == "predict" else schemas.Probabilities
    with service(toy_settings, models=root_with_threshold) as client:
        for query in ("?prepare=none", "?prepare=none&include=seen&top=1"):
            response = client.post(
                f"/v1/models/knowing/{route}{query}", content=batch.tobytes(), headers=OCTETS
            ).json()

            schema.model_validate(response)
            assert [entry["sure"] for entry in response["predictions"]] == [False, True, False]


@pytest.mark.parametrize("path", [PREDICT, PROBABILITIES])
def test_a_model_without_a_threshold_does_not_return_sure(client: TestClient, path: str) -> None:
    """The member is absent, not null."""
    response = client.post(path, content=toys.dot(1).tobytes(), headers=OCTETS)

    assert "sure" not in response.json()["predictions"][0]


def test_a_summary_has_temperature_and_certainty(
    toy_settings: Settings, root_with_threshold: Path, client: TestClient
) -> None:
    """As in the manifest; 1 and null by default."""
    with service(toy_settings, models=root_with_threshold) as knowing:
        told = knowing.get("/v1/models/knowing").json()
    silent = client.get(QUADRANTS).json()

    schemas.ModelSummary.model_validate(told)
    assert (told["temperature"], told["certainty"]) == (0.5, toys.CERTAINTY)
    assert (silent["temperature"], silent["certainty"]) == (1.0, None)


def test_a_model_is_described_as_in_the_list(client: TestClient) -> None:
    """By the newest version, or the one in the path."""
    listed = client.get("/v1/models").json()["models"][0]

    newest = client.get(QUADRANTS)
    first = client.get(versioned(QUADRANTS, "1"))

    schemas.ModelSummary.model_validate(newest.json())
    assert newest.headers["content-type"] == "application/json"
    assert newest.json() == listed
    assert first.json() == {**listed, "version": "1"}


def test_a_model_whose_only_version_is_refused_is_not_ready(toy_settings: Settings, tmp_path: Path) -> None:
    """With 503 and Retry-After, because it is published."""
    published = toys.publish(tmp_path, "broken")
    (tmp_path / "broken" / published.manifest.version / "model.onnx").write_bytes(b"no graph")
    with service(toy_settings, models=tmp_path) as client:
        newest = client.get("/v1/models/broken")
        named = client.post("/v1/models/broken/versions/1/predict", content=bytes(784), headers=OCTETS)

    for response in (newest, named):
        problem(response, 503, "model-not-ready")
        assert 5 <= int(response.headers["retry-after"]) <= 11
