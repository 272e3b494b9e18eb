"""CORS: pages of allowed origins can use the API, other pages cannot read a response."""

from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from tests import toys
from tests.processes import Process, running
from tests.security.asking import ask

PAGE = "https://page.example"
PREDICT = "/v1/models/quadrants/predict"
LOAD = "/v2/repository/models/quadrants/load"
IMAGE = toys.dot(0).tobytes()
RAW = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one small model."""
    root: Path = tmp_path_factory.mktemp("models")
    toys.publish(root)
    return root


@pytest.fixture(scope="module")
def closed(root: Path) -> Iterator[Process]:
    """A service without CORS."""
    with running(root, "--no-access-log") as process:
        yield process


@pytest.fixture(scope="module")
def opened(root: Path) -> Iterator[Process]:
    """A service that allows one origin, with management and a small body limit."""
    arguments = ("--management", "--max-body-bytes", "2000", "--no-access-log")
    with running(root, "--cors-origin", PAGE, *arguments) as process:
        yield process


def cors_headers(headers: Message) -> dict[str, str]:
    return {
        name.lower(): value
        for name, value in headers.items()
        if name.lower().startswith(("access-control-", "timing-allow-origin"))
    }


ANSWERS = [
    ("GET", "/", {}, b"", 200),
    ("GET", "/v1/models", {}, b"", 200),
    ("GET", "/static/icon.svg", {}, b"", 200),
    ("GET", "/openapi.json", {}, b"", 200),
    ("HEAD", "/livez", {}, b"", 200),
    ("POST", PREDICT, RAW, IMAGE, 200),
    ("POST", PREDICT, {"Content-Type": "application/json"}, b"{", 400),
    ("GET", "/nowhere", {}, b"", 404),
    ("GET", PREDICT, {}, b"", 405),
    ("OPTIONS", PREDICT, {}, b"", 405),
    ("POST", PREDICT, RAW, IMAGE * 3, 413),
    ("POST", PREDICT, {"Content-Type": "text/x-unknown"}, b"x", 415),
]
"""Method, path, headers, body and the status that comes."""

each_answer = pytest.mark.parametrize(("method", "path", "headers", "body", "status"), ANSWERS)


@each_answer
def test_allowed_origin_can_read_every_response(
    opened: Process, method: str, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    """
    Errors too; each header is sent once.
    """
    answer = ask(opened.port, method, path, {**headers, "Origin": PAGE}, body)

    assert answer.status == status
    for name in ("access-control-allow-origin", "timing-allow-origin"):
        assert answer.headers.get_all(name) == [PAGE]
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
    assert "Origin" in ", ".join(answer.headers.get_all("vary", [])).split(", ")
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


@each_answer
def test_other_origin_can_read_no_response(
    opened: Process, method: str, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    """
    The headers do not contain its origin; `Vary` tells caches that they depend on it.
    """
    answer = ask(opened.port, method, path, {**headers, "Origin": "https://evil.example"}, body)

    assert answer.status == status
    assert cors_headers(answer.headers) == {}
    assert "Origin" in ", ".join(answer.headers.get_all("vary", [])).split(", ")


@each_answer
def test_no_cors_headers_without_the_setting(
    closed: Process, method: str, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = ask(closed.port, method, path, {**headers, "Origin": PAGE}, body)

    assert status in (answer.status, 413)  # the smaller limit is the other fixture's
    assert cors_headers(answer.headers) == {}
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_preflight_is_204(opened: Process, closed: Process) -> None:
    """
    On any path of the API; without CORS the method is unknown as before.
    """
    headers = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-api-key",
    }

    granted = ask(opened.port, "OPTIONS", PREDICT, headers)

    assert (granted.status, granted.content) == (204, b"")
    assert granted.headers.get_all("access-control-allow-origin") == [PAGE]
    assert granted.headers["access-control-allow-methods"] == "GET, HEAD, POST"
    assert "x-api-key" in granted.headers["access-control-allow-headers"].split(", ")
    assert ask(closed.port, "OPTIONS", PREDICT, headers).status == 405


def test_allowed_origin_cannot_manage_models(opened: Process) -> None:
    """
    Neither with a preflight nor without.
    """
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}

    assert ask(opened.port, "OPTIONS", LOAD, asked).status == 403
    assert ask(opened.port, "POST", LOAD, {"Origin": PAGE}).status == 403
    assert ask(opened.port, "POST", LOAD).status == 200


@pytest.mark.browser
def test_browser_page_can_use_the_api_only_from_an_allowed_origin(root: Path, closed: Process) -> None:
    """
    A prediction with a preflight, response headers and an error can be read from the allowed origin only.
    """
    pages = pytest.importorskip("tests.security.pages")
    predicted = """async (address) => {
        const row = (y) => Array.from({ length: 28 }, (_, x) => (x + y < 9 ? 255 : 0));
        const body = JSON.stringify({ image: Array.from({ length: 28 }, (_, y) => row(y)) });
        const headers = { 'Content-Type': 'application/json', 'X-Request-Id': 'from-a-page' };
        const ask = (path, options) => fetch(address + path, options).then(
            async (answer) => [answer.status, answer.headers.get('x-request-id'), await answer.json()],
            () => 'refused',
        );
        return [
            await ask('/v1/models/quadrants/predict', { method: 'POST', headers, body }),
            await ask('/v1/models/nobody', { headers: { 'X-API-Key': 'k' } }),
        ];
    }"""
    with pages.foreign_page() as port, pages.chromium() as browser:
        origin = f"http://127.0.0.1:{port}"
        with running(root, "--cors-origin", origin, "--no-access-log") as opened:
            page = browser.new_page()
            page.goto(origin)
            answer, error = page.evaluate(predicted, f"http://127.0.0.1:{opened.port}")
            page.goto(f"http://localhost:{port}")
            unnamed = page.evaluate(predicted, f"http://127.0.0.1:{opened.port}")
        page.goto(origin)
        elsewhere = page.evaluate(predicted, f"http://127.0.0.1:{closed.port}")

    assert answer[:2] == [200, "from-a-page"]
    assert answer[2]["model"] == "quadrants"
    assert error[0] == 404
    assert error[2]["type"] == "/problems/unknown-model"
    assert unnamed == elsewhere == ["refused", "refused"]
