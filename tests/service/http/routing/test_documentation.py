"""`service/http/routing/documentation.py`: the OpenAPI document, Swagger UI and its files."""

from importlib import resources

import pytest
from fastapi.openapi.utils import get_openapi
from starlette.testclient import TestClient

from service.http.routing import documentation
from service.settings import Settings
from tests.service.http.running import service

PATHS = ["/openapi.json", "/docs", *(f"/docs/static/{name}" for name in documentation.FILES)]


@pytest.mark.parametrize("name", documentation.FILES)
def test_files_of_swagger_ui_are_served(client: TestClient, name: str) -> None:
    response = client.get(f"/docs/static/{name}")

    file = resources.files("fastapi_offline") / "static" / name
    assert response.content == file.read_bytes()
    assert response.headers["content-length"] == str(len(response.content))
    assert response.headers["content-type"] == documentation.FILES[name]


@pytest.mark.parametrize("path", PATHS)
def test_a_matching_etag_gets_304(client: TestClient, path: str) -> None:
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    head = client.head(path)

    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag"):
        assert head.headers[name] == first.headers[name]


def test_the_openapi_document_is_rendered_once(
    toy_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without a cache for bodies."""
    times = []
    real = get_openapi

    def counting(**arguments: object) -> object:
        times.append(arguments["title"])
        return real(**arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(documentation, "get_openapi", counting)
    with service(toy_settings, max_cached_bytes=0) as client:
        assert not times
        bodies = {client.get("/openapi.json").content for _ in range(3)}

    assert len(bodies) == len(times) == 1


@pytest.mark.parametrize("path", PATHS)
def test_other_methods_are_refused(client: TestClient, path: str) -> None:
    response = client.post(path)

    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}


def test_other_files_of_the_package_are_not_served(client: TestClient) -> None:
    assert client.get("/docs/static/redoc.standalone.js").status_code == 404
