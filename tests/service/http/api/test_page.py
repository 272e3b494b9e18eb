import logging
import re

import pytest
from starlette.testclient import TestClient

from service.http.api import page
from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "service" / "static"
FILES = {file.relative_to(FOLDER).as_posix(): file for file in sorted(FOLDER.rglob("*")) if file.is_file()}
PATHS = {"/" if name == "index.html" else f"/static/{name}": file for name, file in FILES.items()}

each_path = pytest.mark.parametrize("path", PATHS)


@each_path
def test_every_file_is_served_as_it_stands_in_the_repository(client: TestClient, path: str) -> None:
    """
    What is read is what runs.
    """
    answer = client.get(path)

    assert answer.status_code == 200
    assert answer.content == PATHS[path].read_bytes()
    assert answer.headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/static/style.css", "text/css; charset=utf-8"),
        ("/static/main.js", "text/javascript; charset=utf-8"),
        ("/static/icon.svg", "image/svg+xml"),
    ],
)
def test_every_kind_of_file_says_what_it_is(client: TestClient, path: str, kind: str) -> None:
    """
    Browsers are told not to guess, so that a wrong type would be a page without its script.
    """
    assert client.get(path).headers["content-type"] == kind


@each_path
def test_every_file_comes_with_the_headers_that_protect_the_page(client: TestClient, path: str) -> None:
    """
    Word for word; nothing inline, nothing from other hosts, nothing about the address to others.
    """
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
def test_a_browser_that_has_a_file_is_told_so(client: TestClient, path: str) -> None:
    """
    With a strong tag, which is of the content alone, and the same protection.
    """
    first = client.get(path)

    again = client.get(path, headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    other = client.get(path, headers={"If-None-Match": '"other"'})

    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["etag"].startswith('"')
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert (other.status_code, other.content) == (200, first.content)


def test_no_file_names_a_path_from_the_root() -> None:
    """
    A proxy may show the page under any path: every link and every question is relative to its address.
    """
    for file in FILES.values():
        if file.suffix in (".html", ".js", ".css"):
            assert not re.search(r"""["'`(]/(?:static|docs|v1|v2|openapi)""", file.read_text()), file.name


def test_different_files_have_different_tags(client: TestClient) -> None:
    """
    Or a browser would keep the wrong one.
    """
    tags = {client.get(path).headers["etag"] for path in PATHS}

    assert len(tags) == len(PATHS)


@pytest.mark.parametrize("path", ["/", "/static/main.js"])
def test_head_tells_the_same_without_the_body(client: TestClient, path: str) -> None:
    """
    The length included.
    """
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
def test_what_is_no_file_of_the_page_is_not_found(client: TestClient, path: str) -> None:
    """
    As a problem document; folders are not listed and nothing above them can be reached.
    """
    answer = client.get(path, follow_redirects=False)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "/problems/not-found"


@pytest.mark.parametrize("path", ["/", "/static/main.js"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_a_file_can_only_be_read(client: TestClient, path: str, method: str) -> None:
    """
    The answer says how.
    """
    answer = client.request(method, path)

    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


def test_log_and_metrics_know_the_files_and_no_others(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Whoever guesses names makes no new label.
    """
    with caplog.at_level(logging.INFO, "service.observability.request_log"):
        client.get("/static/main.js")
        client.get("/static/guessed.js")
    routes = [line["route"] for record in caplog.records for line in vars(record)["lines"]]

    metrics = client.get("/metrics").text

    assert routes == ["/static/main.js", "(none)"]
    assert 'route="/static/main.js"' in metrics
    assert "guessed" not in metrics


def test_the_page_names_only_files_that_are_there(client: TestClient) -> None:
    """
    Its icon too, or every visit would leave an error in the browser's console.
    """
    text = client.get("/").text

    named = [name for name in text.split('"') if name.startswith("static/")]

    assert "static/icon.svg" in named
    assert [client.get(f"/{name}").status_code for name in named] == [200] * len(named)


def test_only_kinds_that_are_served_are_in_the_folder() -> None:
    """
    A file that nobody can ask for would be a mistake.
    """
    assert {file.suffix for file in FILES.values()} <= set(page.KINDS)
