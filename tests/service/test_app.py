"""The application: components are connected, models are loaded, and every request gets a response."""

import re
from collections.abc import Container
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service import app as app_module
from service.app import create_app
from service.core.errors import ArtifactError
from service.inference.models.registry import Registry
from service.settings import Settings
from tests import toys
from tests.processes import modules_after
from tests.service.http.bodies import problem
from tests.service.http.running import service


def test_models_are_loaded_before_the_first_request(toy_settings: Settings) -> None:
    app = create_app(toy_settings)

    answer = TestClient(app).get("/readyz")

    assert answer.status_code == 200


def test_a_missing_models_folder_stops_the_start(toy_settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nothing-here"):
        create_app(toy_settings.model_copy(update={"models": tmp_path / "nothing-here"}))


def corrupted(root: Path) -> None:
    """Publish two versions, and damage the second."""
    toys.publish(root)
    toys.publish(root)
    model = root / "quadrants" / "2" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")


def test_a_strict_service_does_not_start_with_a_refused_model(toy_settings: Settings, tmp_path: Path) -> None:
    corrupted(tmp_path)

    with pytest.raises(ArtifactError, match=r"^quadrants/2: "):
        create_app(toy_settings.model_copy(update={"models": tmp_path, "strict": True}))


def test_a_service_that_is_not_strict_serves_valid_models(toy_settings: Settings, tmp_path: Path) -> None:
    corrupted(tmp_path)

    with service(toy_settings, models=tmp_path) as client:
        model = client.get("/v1/models/quadrants")

    assert model.json()["version"] == "1"


def test_a_strict_service_starts_with_valid_models(toy_settings: Settings) -> None:
    with service(toy_settings, strict=True) as client:
        assert client.get("/readyz").status_code == 200


def test_the_service_imports_no_training_tools() -> None:
    """In a fresh interpreter."""
    loaded = {name.partition(".")[0] for name in modules_after("import service.app, service.server.process")}

    assert {"service", "onnxruntime", "starlette"} <= loaded
    assert not loaded & {"torch", "training", "onnx", "onnxscript", "tqdm", "scipy", "pandas", "matplotlib"}


def test_the_root_path_redirects_to_the_page(client: TestClient) -> None:
    """
    Whoever opens the address in a browser sees something.
    """
    answer = client.get("/")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


def test_the_documentation_needs_no_other_host(client: TestClient) -> None:
    """Every file of the page is the service's own; by a relative link, for proxies with a path prefix."""
    page = client.get("/docs")
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)

    found = [client.get(f"/{file}") for file in files]

    assert len(files) == 4
    assert [answer.status_code for answer in found] == [200] * len(files)
    assert '"openapi.json"' in client.get("/static/docs.js").text
    assert "://" not in page.text


def test_the_documentation_has_no_inline_script(client: TestClient) -> None:
    """The content security policy allows none."""
    page = client.get("/docs")

    assert re.findall(r"<script[^>]*>([^<]*)</script>", page.text) == ["", ""]
    assert page.headers["content-security-policy"] == client.get("/").headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"


def test_the_root_path_is_in_every_link_of_responses(toy_settings: Settings) -> None:
    """The server of the API description and the pictures of a report."""
    report = "/v1/models/quadrants/report"
    with service(toy_settings, root_path="/inkling") as client:
        below = client.get("/openapi.json").json()
        pictures = client.get(report).json()["pictures"]
        redirect = client.get("/inkling", follow_redirects=False)
    with service(toy_settings) as client:
        alone = client.get("/openapi.json").json()

    assert below["servers"] == [{"url": "/inkling"}]
    assert pictures
    assert all(picture["light"].startswith("/inkling/v1/models/quadrants/") for picture in pictures)
    assert all(picture["dark"].startswith("/inkling/v1/models/quadrants/") for picture in pictures)
    assert (redirect.status_code, redirect.headers["location"]) == (307, "/inkling/")
    assert "servers" not in alone


def test_the_api_description_is_rendered_once(client: TestClient) -> None:
    first, second = client.get("/openapi.json"), client.get("/openapi.json")

    assert first.headers["content-type"] == "application/json"
    assert first.content == second.content


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/openapi.json", "/livez", "/nowhere", "/docs/static/nothing"]
)
def test_every_response_has_a_request_id(client: TestClient, path: str) -> None:
    answer = client.get(path, follow_redirects=False)

    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])


def test_an_error_outside_of_the_endpoints_gets_a_response(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(registry: Registry) -> None:
        del registry
        raise KeyError("/secret/path")

    monkeypatch.setattr(Registry, "models", fail)

    answer = client.get("/v1/models")

    problem(answer, 500, "internal")
    assert "secret" not in answer.text


def test_two_services_in_one_process_do_not_share_metrics(toy_settings: Settings) -> None:
    with service(toy_settings) as one, service(toy_settings) as other:
        one.get("/livez")
        found = [client.get("/metrics").text.count('route="/livez"') for client in (one, other)]

    assert found[0] > 0
    assert found[1] == 0


def test_the_ready_metric_follows_loads_and_unloads(
    toy_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Registry] = []

    class Kept(Registry):
        def load(
            self, among: Container[tuple[str, str]] | None = None, unloaded: Container[str] = ()
        ) -> None:
            built.append(self)
            super().load(among, unloaded)

    monkeypatch.setattr(app_module, "Registry", Kept)
    toys.publish(tmp_path)
    with service(toy_settings, models=tmp_path) as client:

        def ready() -> list[str]:
            return re.findall(r"(?m)^inkling_model_ready\{(.*)\} 1.0$", client.get("/metrics").text)

        first = ready()
        toys.publish(tmp_path)
        built[0].reload("quadrants")
        second = ready()
        built[0].unload("quadrants")
        third = ready()

    one, two = (f'model="quadrants",version="{version}"' for version in (1, 2))
    assert (first, second, third) == ([one], [one, two], [])
