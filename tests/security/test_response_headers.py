"""Security headers: browsers neither guess content types nor load or frame foreign content."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import toys
from tests.processes import Process, running
from tests.security.asking import ask

RAW = {"Content-Type": "application/octet-stream"}
PREDICT = "/v1/models/quadrants/predict"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A service with one small model and its report."""
    root: Path = tmp_path_factory.mktemp("models")
    toys.write_report(root, toys.publish(root))
    with running(root, "--no-access-log") as process:
        yield process


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("GET", "/", {}, b"", 200),
        ("GET", "/static/main.js", {}, b"", 200),
        ("GET", "/docs", {}, b"", 200),
        ("GET", "/docs/static/swagger-ui-bundle.js", {}, b"", 200),
        ("GET", "/openapi.json", {}, b"", 200),
        ("GET", "/metrics", {}, b"", 200),
        ("GET", "/v1/models", {}, b"", 200),
        ("GET", "/v1/models/quadrants/report", {}, b"", 200),
        ("GET", "/v1/models/quadrants/weights/output/0.png", {}, b"", 200),
        ("POST", PREDICT, RAW, toys.dot(0).tobytes(), 200),
        ("POST", PREDICT, RAW, b"", 400),
        ("GET", "/nowhere", {}, b"", 404),
        ("DELETE", "/", {}, b"", 405),
        ("GET", "/" + "x" * 40_000, {}, b"", 431),
    ],
)
def test_every_response_forbids_content_sniffing(
    process: Process, method: str, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    """
    And loading by pages of other origins; each header is sent once.
    """
    answer = ask(process.port, method, path, headers, body)

    assert answer.status == status
    assert answer.headers.get_all("x-content-type-options") == ["nosniff"]
    assert answer.headers.get_all("cross-origin-resource-policy") == ["same-origin"]
    assert answer.headers.get("strict-transport-security") is None


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_forbid_framing_and_foreign_scripts(process: Process, path: str) -> None:
    """
    With both headers that browsers know.
    """
    headers = ask(process.port, "GET", path).headers

    policy = headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert not any("unsafe" in rule for rule in policy)
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
