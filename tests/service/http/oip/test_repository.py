"""`service/http/oip/repository.py`: the model repository over HTTP."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests import toys
from tests.service.http.bodies import problem
from tests.service.oip.messages import INFER, LOGITS, document, post, read

INDEX = "/v2/repository/index"
LOAD = "/v2/repository/models/quadrants/load"
UNLOAD = "/v2/repository/models/quadrants/unload"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A models folder with one version of `quadrants`."""
    toys.publish(tmp_path)
    return tmp_path


@pytest.fixture
def managed(root: Path) -> Iterator[TestClient]:
    """A client of a service whose models can be loaded and unloaded."""
    settings = Settings(models=root, management=True, _env_file=None)
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        yield client


def logits(response: Response) -> list[float]:
    found: list[float] = read(response).arrays["logits"][0].tolist()
    return found


def standing(response: Response) -> list[tuple[str, str, str]]:
    assert response.status_code == 200, response.text
    return [(entry["name"], entry["version"], entry["state"]) for entry in response.json()]


@pytest.mark.parametrize("path", [INDEX, LOAD, UNLOAD, "/v2/repository/models/nobody/load"])
def test_management_is_off_by_default(client: TestClient, path: str) -> None:
    """Every operation gets 403, and nothing changes."""
    detail = problem(client.post(path), 403, "management-off")

    assert "INKLING_MANAGEMENT" in detail
    assert client.get("/v2/models/quadrants/ready").status_code == 200


def test_server_metadata_lists_the_extension_if_management_is_on(managed: TestClient) -> None:
    assert "model_repository" in managed.get("/v2").json()["extensions"]


@pytest.mark.parametrize("path", [INDEX, f"{INDEX}/", LOAD, f"{LOAD}/", UNLOAD, f"{UNLOAD}/"])
@pytest.mark.parametrize("content", [b"", b"{}", b'{"parameters":{}}'])
def test_each_operation_returns_200(managed: TestClient, path: str, content: bytes) -> None:
    """With and without trailing slash and body."""
    response = managed.post(path, content=content, follow_redirects=False)

    assert response.status_code == 200


def test_a_new_version_is_served_after_a_load(managed: TestClient, root: Path) -> None:
    """Not before."""
    toys.publish(root, weights=toys.quadrant_weights()[::-1].copy())
    before = logits(post(managed, document()))
    known = standing(managed.post(INDEX))

    loaded = standing(managed.post(LOAD))

    assert before == [1, 0, 0, 0]
    assert known == [("quadrants", "1", "READY")]
    assert loaded == [("quadrants", "1", "READY"), ("quadrants", "2", "READY")]
    np.testing.assert_array_equal(read(post(managed, document())).arrays["logits"], LOGITS)
    assert 'inkling_model_ready{model="quadrants",version="2"} 1.0' in managed.get("/metrics").text


def test_an_unloaded_model_is_not_ready_until_it_is_loaded(managed: TestClient) -> None:
    """The server stays ready."""
    assert standing(managed.post(UNLOAD)) == [("quadrants", "1", "UNAVAILABLE")]
    assert managed.post(INDEX).json()[0]["reason"]
    assert managed.post(INDEX, json={"ready": True}).json() == []
    problem(post(managed, document()), 503, "model-not-ready")
    problem(managed.get("/v2/models/quadrants/ready"), 503, "model-not-ready")
    assert managed.get("/v2/health/ready").status_code == 200
    assert "inkling_model_ready{" not in managed.get("/metrics").text

    assert standing(managed.post(LOAD)) == [("quadrants", "1", "READY")]
    assert logits(post(managed, document())) == [1, 0, 0, 0]


def test_a_broken_folder_changes_nothing(managed: TestClient, root: Path) -> None:
    """409 with the reason."""
    shutil.copytree(root / "quadrants" / "1", root / "quadrants" / "2")

    detail = problem(managed.post(LOAD), 409, "artifact-refused")

    assert "quadrants/2" in detail
    assert logits(post(managed, document())) == [1, 0, 0, 0]
    assert standing(managed.post(INDEX)) == [("quadrants", "1", "READY"), ("quadrants", "2", "UNAVAILABLE")]
    assert managed.get("/v2/health/ready").status_code == 200


@pytest.mark.parametrize("verb", ["load", "unload"])
@pytest.mark.parametrize("name", ["nobody", "..", "%2e%2e", "a b", "x" * 500, "README.md"])
def test_unknown_models_get_404(managed: TestClient, name: str, verb: str) -> None:
    response = managed.post(f"/v2/repository/models/{name}/{verb}")

    assert problem(response, 404, response.json()["type"].removeprefix("/problems/"))


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        (INDEX, b"[]", "Body should be a JSON object, or nothing; got a list of 0"),
        (INDEX, b"{", "Body should be JSON in UTF-8"),
        (INDEX, b'{"ready":1}', "Member 'ready' of Body should be true or false; got 1"),
        (LOAD, b'{"parameters":[]}', "Member 'parameters' of Body should be an object"),
        (LOAD, b'{"parameters":{"config":"{}"}}', "Parameters should be none, because published folders"),
        (LOAD, b'{"parameters":{"file:1/model.onnx":"AAAA"}}', "got 'file:1/model.onnx'"),
        (UNLOAD, b'{"parameters":7}', "Member 'parameters' of Body should be an object"),
    ],
)
def test_invalid_bodies_change_nothing(managed: TestClient, path: str, content: bytes, words: str) -> None:
    assert words in problem(managed.post(path, content=content), 400, "malformed-request")
    assert managed.get("/v2/models/quadrants/ready").status_code == 200


def test_parameters_of_unload_are_ignored(managed: TestClient) -> None:
    response = managed.post(UNLOAD, json={"parameters": {"unload_dependents": False}})

    assert standing(response) == [("quadrants", "1", "UNAVAILABLE")]
    assert post(managed, document(), path=INFER).status_code == 503


@pytest.mark.parametrize("path", [INDEX, LOAD, UNLOAD])
@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Origin": "http://page.example"}, "Origin should be the service's own; got 'http://page.example'."),
        ({"Origin": "null"}, "Origin should be the service's own; got 'null'."),
        ({"Sec-Fetch-Site": "cross-site"}, "Sec-Fetch-Site should be same-origin or none; got 'cross-site'."),
        ({"Host": "page.example:8000"}, "Host should be an address, localhost, or a name"),
    ],
)
def test_a_page_of_another_origin_cannot_manage_models(
    managed: TestClient, path: str, headers: dict[str, str], words: str
) -> None:
    assert words in problem(managed.post(path, headers=headers), 403, "forbidden")
    assert managed.get("/v2/models/quadrants/ready").status_code == 200


def test_a_page_of_the_service_can_manage_models(managed: TestClient) -> None:
    headers = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}

    assert standing(managed.post(LOAD, headers=headers)) == [("quadrants", "1", "READY")]
