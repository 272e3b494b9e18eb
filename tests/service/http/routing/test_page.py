import logging
import re

import pytest
from starlette.testclient import TestClient

from service.http.routing import page
from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "service" / "static"
FILES = {file.relative_to(FOLDER).as_posix(): file for file in sorted(FOLDER.rglob("*")) if file.is_file()}
PATHS = {"/" if name == "index.html" else f"/static/{name}": file for name, file in FILES.items()}

each_path = pytest.mark.parametrize("path", PATHS)


@each_path
def test_every_file_is_served_unchanged(client: TestClient, path: str) -> None:
    response = client.get(path)

    assert response.status_code == 200
    assert response.content == PATHS[path].read_bytes()
    assert response.headers["content-length"] == str(len(response.content))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/static/style.css", "text/css; charset=utf-8"),
        ("/static/main.js", "text/javascript; charset=utf-8"),
        ("/static/icon.svg", "image/svg+xml"),
    ],
)
def test_every_file_has_its_content_type(client: TestClient, path: str, kind: str) -> None:
    """Browsers do not guess because of `nosniff`."""
    assert client.get(path).headers["content-type"] == kind


@each_path
def test_every_file_has_the_security_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers

    assert headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]


@each_path
def test_a_matching_etag_gets_304(client: TestClient, path: str) -> None:
    """With the same security headers."""
    first = client.get(path)

    again = client.get(path, headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    other = client.get(path, headers={"If-None-Match": '"other"'})

    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["etag"].startswith('"')
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert (other.status_code, other.content) == (200, first.content)


def test_all_links_are_relative() -> None:
    """So that the page works under any root path."""
    for file in FILES.values():
        if file.suffix in (".html", ".js", ".css"):
            assert not re.search(r"""["'`(]/(?:static|docs|v1|v2|openapi)""", file.read_text()), file.name


def test_different_files_have_different_etags(client: TestClient) -> None:
    tags = {client.get(path).headers["etag"] for path in PATHS}

    assert len(tags) == len(PATHS)


@pytest.mark.parametrize("path", ["/", "/static/main.js"])
def test_head_returns_the_headers_of_get(client: TestClient, path: str) -> None:
    get, head = client.get(path), client.head(path)

    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag", "content-security-policy"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize(
    "path",
    [
        "/static",
        "/static/",
        "/static/index.html",
        "/static/panels",
        "/static/nothing.js",
        "/static/main.js/",
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static/..%5capp.py",
        "/static//etc/passwd",
        "/static/main.js%00",
        "/index.html",
    ],
)
def test_other_paths_are_not_found(client: TestClient, path: str) -> None:
    """Folders are not listed, and files outside the folder are not served."""
    response = client.get(path, follow_redirects=False)

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "/problems/not-found"


@pytest.mark.parametrize("path", ["/", "/static/main.js"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(client: TestClient, path: str, method: str) -> None:
    response = client.request(method, path)

    assert response.status_code == 405
    assert response.headers["content-type"] == "application/problem+json"
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}


def test_only_known_files_are_routes_in_log_and_metrics(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "service.observability.request_log"):
        client.get("/static/main.js")
        client.get("/static/guessed.js")
    routes = [line["route"] for record in caplog.records for line in vars(record)["lines"]]

    metrics = client.get("/metrics").text

    assert routes == ["/static/main.js", "(none)"]
    assert 'route="/static/main.js"' in metrics
    assert "guessed" not in metrics


def test_the_page_refers_only_to_existing_files(client: TestClient) -> None:
    text = client.get("/").text

    named = [name for name in text.split('"') if name.startswith("static/")]

    assert "static/icon.svg" in named
    assert [client.get(f"/{name}").status_code for name in named] == [200] * len(named)


def test_the_folder_holds_only_served_file_types() -> None:
    assert {file.suffix for file in FILES.values()} <= set(page.KINDS)
