"""Requests for many ranges cost no more than other requests: `Range` is ignored."""

import http.client

import pytest
from starlette.testclient import TestClient

from tests.conftest import REPOSITORY
from tests.processes import running
from tests.security.slow_readers import begun, get, not_reading

MANY = "bytes=" + ",".join(["0-"] * 6000)
"""Fills more than half of the headers that a request may have."""

SCATTERED = "bytes=" + ",".join(f"{at}-{at}" for at in range(0, 8000, 2))
"""No two of them can be merged into one."""

BUNDLE = "/docs/static/swagger-ui-bundle.js"

PATHS = [
    "/",
    "/static/main.js",
    "/docs",
    BUNDLE,
    "/docs/static/swagger-ui.css",
    "/openapi.json",
    "/metrics",
    "/v1/models",
    "/v1/models/quadrants/weights",
    "/v1/models/quadrants/weights/output",
    "/v1/models/quadrants/weights/output.png",
    "/v1/models/quadrants/report",
    "/v1/models/quadrants/report/confusion-test.png",
]


@pytest.mark.parametrize("ranges", ["bytes=0-9", "bytes=0-9,20-29", SCATTERED, MANY])
@pytest.mark.parametrize("path", PATHS)
def test_range_is_ignored(client: TestClient, path: str, ranges: str) -> None:
    """
    Status 200 with the complete body; never 206 or 416.
    """
    whole = client.get(path)
    ranged = client.get(path, headers={"Range": ranges})

    assert (whole.status_code, ranged.status_code) == (200, 200)
    assert "content-range" not in ranged.headers
    if path != "/metrics":  # which counts
        assert ranged.content == whole.content


def test_if_range_is_ignored(client: TestClient) -> None:
    """
    Also with the current ETag.
    """
    whole = client.get(BUNDLE)
    ranged = client.get(BUNDLE, headers={"Range": "bytes=0-9", "If-Range": whole.headers["etag"]})

    assert ranged.status_code == 200
    assert ranged.content == whole.content


def test_clients_of_many_ranges_do_not_exhaust_memory() -> None:
    """
    Clients that request thousands of ranges and do not read get one complete file each.
    """
    with running(REPOSITORY / "models", "--no-access-log") as process:
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=60)
        connection.request("GET", BUNDLE)
        size = len(connection.getresponse().read())
        connection.close()
        before = process.resident_mb()
        with not_reading(process.port, [get(BUNDLE, f"Range: {MANY}")] * 20) as connections:
            heads = [begun(connection, 1024) for connection in connections]
            grown = process.resident_mb() - before

    assert all(f"content-length: {size}\r\n".encode() in head.lower() for head in heads)
    assert grown < 100
