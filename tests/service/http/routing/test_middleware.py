"""`service/http/routing/middleware.py`: request ids, access log, metrics, Server-Timing."""

import logging
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from service.core.network.engine import Engine
from service.inference.request_context import CLIENT_CLOSED
from service.settings import Settings
from tests import toys
from tests.service.http.bodies import OCTETS, PREDICT, QUADRANTS, problem
from tests.service.http.running import chunk, send_request, service

SECRET = b'{"image": "my secret payload"}'

LINE = {
    "request_id",
    "client",
    "method",
    "path",
    "route",
    "status",
    "model",
    "version",
    "images",
    "received_bytes",
    "ms",
    "phases_ms",
}


@pytest.fixture(autouse=True)
def _observed(caplog: pytest.LogCaptureFixture) -> None:
    """Let the observer's lines through, which the other tests keep quiet."""
    caplog.set_level(logging.INFO, logger="service")


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The fields of every request's line."""
    return [line for record in caplog.records for line in vars(record).get("lines", ())]


Key = tuple[str, frozenset[tuple[str, str]]]


def key(name: str, **labels: str) -> Key:
    """Return the key of a number in `samples`."""
    return name, frozenset(labels.items())


def samples(client: TestClient) -> dict[Key, float]:
    """Every number that /metrics gives, by its name and labels."""
    return {
        key(sample.name, **sample.labels): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


def test_a_valid_request_id_is_kept(client: TestClient) -> None:
    """It is in the response header and in problems."""
    good = client.get("/livez", headers={"x-request-id": "caller-1.A_b"})
    bad = client.get("/nowhere", headers={"x-request-id": "z" * 64})

    assert good.headers["x-request-id"] == "caller-1.A_b"
    assert bad.json()["request_id"] == bad.headers["x-request-id"] == "z" * 64


@pytest.mark.parametrize(
    "given", ["", "two words", "semi;colon", "z" * 65, "ü", 'quo"te', "new\tline", "<b>"]
)
def test_an_invalid_request_id_is_replaced(client: TestClient, given: str) -> None:
    response = client.get("/livez", headers=[(b"x-request-id", given.encode("latin-1"))])

    assert re.fullmatch("[0-9a-f]{16}", response.headers["x-request-id"])


def test_generated_request_ids_differ(client: TestClient) -> None:
    ids = {client.get("/livez").headers["x-request-id"] for _ in range(20)}

    assert len(ids) == 20


def test_the_fields_of_the_access_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    body = np.stack([toys.dot(0), toys.dot(1)]).tobytes()

    response = client.post(PREDICT, content=body, headers=OCTETS)

    (line,) = lines(caplog)
    assert set(line) == LINE
    assert line["request_id"] == response.headers["x-request-id"]
    assert line["method"] == "POST"
    assert line["path"] == PREDICT
    assert line["route"] == "/v1/models/{model}/predict"
    assert (line["status"], line["model"], line["version"]) == (200, "quadrants", "2")
    assert (line["images"], line["received_bytes"]) == (2, 1568)
    assert {"read", "decode", "infer", "encode"} <= set(line["phases_ms"])
    assert 0 < sum(line["phases_ms"].values()) <= line["ms"] + 0.1


@pytest.mark.parametrize("path", ["/livez", "/nowhere", f"{QUADRANTS}/versions/9", "/docs", "/openapi.json"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_every_request_has_one_log_line(
    client: TestClient, caplog: pytest.LogCaptureFixture, path: str, method: str
) -> None:
    """Errors too, with the method of the request."""
    response = client.request(method, path)

    (line,) = lines(caplog)
    assert (line["method"], line["status"]) == (method, response.status_code)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", SECRET),
        ("application/json", b'{"my secret payload": 1}'),
        ("application/octet-stream", b"my secret payload"),
        ("application/x-npy", b"my secret payload"),
        ("image/png", b"my secret payload"),
        ("multipart/form-data; boundary=b", b"--b\r\nmy secret payload"),
        ("text/plain", b"my secret payload"),
    ],
)
def test_the_log_has_no_payload_and_no_query(
    client: TestClient, caplog: pytest.LogCaptureFixture, content_type: str, body: bytes
) -> None:
    caplog.set_level(logging.DEBUG, logger="service")

    client.post(f"{PREDICT}?secret=payload", content=body, headers={"content-type": content_type})
    client.post(PREDICT, content=body, headers={"content-type": content_type})

    ours = [record for record in caplog.records if record.name.startswith("service")]
    assert len(ours) == 2
    assert "secret" not in "".join(str(record.__dict__) for record in ours)


def test_an_unexpected_exception_is_logged_with_the_request_id(
    client: TestClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The response has no details."""

    def fail(engine: Engine, batch: NDArray[np.uint8]) -> None:
        del engine, batch
        raise ZeroDivisionError("the reason")

    monkeypatch.setattr(Engine, "run", fail)

    response = client.post(PREDICT, content=toys.dot(1).tobytes(), headers=OCTETS)

    problem(response, 500, "internal")
    (error,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert error.exc_info is not None
    assert str(error.exc_info[1]) == "the reason"
    assert error.__dict__["fields"]["request_id"] == response.headers["x-request-id"]
    assert lines(caplog)[0]["status"] == 500


def test_long_paths_are_cut_in_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    client.get("/" + "x" * 10_000)

    assert len(lines(caplog)[0]["path"]) == 200


def test_the_access_log_can_be_switched_off(toy_settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """The metrics are unaffected."""
    with service(toy_settings, access_log=False) as client:
        client.get("/livez")
        counted = samples(client)

    assert not lines(caplog)
    assert counted[key("inkling_requests_total", route="/livez", model="-", code="200")] == 1


def test_server_timing_has_the_phases_of_the_log(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    response = client.post(PREDICT, content=toys.dot(0).tobytes(), headers=OCTETS)

    header = response.headers["server-timing"]
    phases = dict(re.findall(r"([a-z]+);dur=([0-9.]+)", header))
    assert {name: float(ms) for name, ms in phases.items()} == lines(caplog)[0]["phases_ms"]
    assert "infer" in phases


def test_requests_are_counted_by_route_template_model_and_status(toy_settings: Settings) -> None:
    with service(toy_settings) as client:
        for version in ("1", "2"):
            client.post(
                f"{QUADRANTS}/versions/{version}/predict", content=toys.dot(2).tobytes(), headers=OCTETS
            )
        client.post(PREDICT, content=toys.dot(1).tobytes(), headers=OCTETS)
        client.post(PREDICT, content=bytes(7), headers=OCTETS)
        counted = samples(client)

    versioned = "/v1/models/{model}/versions/{version}/predict"
    plain = "/v1/models/{model}/predict"
    assert counted[key("inkling_requests_total", route=versioned, model="quadrants", code="200")] == 2
    assert counted[key("inkling_requests_total", route=plain, model="quadrants", code="200")] == 1
    assert counted[key("inkling_requests_total", route=plain, model="quadrants", code="400")] == 1
    assert counted[key("inkling_request_seconds_count", route=plain)] == 2
    assert counted[key("inkling_requests_in_flight")] == 1  # the one that asks


def test_phases_and_batch_sizes_are_histograms(toy_settings: Settings) -> None:
    with service(toy_settings) as client:
        client.post(PREDICT, content=toys.dot(0).tobytes() * 3, headers=OCTETS)
        client.post(PREDICT, content=toys.dot(0).tobytes() * 5, headers=OCTETS)
        client.post(PREDICT, content=bytes(7), headers=OCTETS)
        counted = samples(client)

    assert counted[key("inkling_batch_images_count", model="quadrants")] == 2
    assert counted[key("inkling_batch_images_sum", model="quadrants")] == 8
    assert counted[key("inkling_batch_images_bucket", model="quadrants", le="4.0")] == 1
    assert counted[key("inkling_phase_seconds_count", phase="infer")] == 2
    assert counted[key("inkling_phase_seconds_count", phase="read")] == 3
    assert counted[key("inkling_phase_seconds_sum", phase="infer")] > 0


def test_unknown_names_share_metric_labels(toy_settings: Settings) -> None:
    """So that clients cannot create labels."""

    def wander(client: TestClient, name: str) -> None:
        for path in (
            f"/{name}",
            f"/v1/models/{name}",
            f"{QUADRANTS}/versions/{name}",
            f"{QUADRANTS}/weights/{name}",
            f"{QUADRANTS}/weights/output/{name}.png",
            f"/docs/static/{name}",
            f"/livez?{name}=1",
        ):
            client.get(path)
        client.post(f"/v1/models/{name}/predict", content=b"", headers={"content-type": name})
        client.request(name.upper(), "/livez")
        client.get("/livez", headers={"x-request-id": name, "host": name})

    with service(toy_settings) as client:
        samples(client)
        wander(client, "first")
        before = set(samples(client))
        for number in range(10):
            wander(client, f"other{number}")
        after = set(samples(client))

    assert after == before
    assert not any("first" in label for _, labels in after for _, label in labels)


def test_every_ready_version_has_a_gauge(client: TestClient) -> None:
    counted = samples(client)

    assert counted[key("inkling_model_ready", model="quadrants", version="1")] == 1
    assert counted[key("inkling_model_ready", model="quadrants", version="2")] == 1


@pytest.mark.parametrize("arrived", [[], [chunk(b"half")]])
def test_a_disconnect_is_recorded_as_499(
    toy_settings: Settings, caplog: pytest.LogCaptureFixture, arrived: list[Any]
) -> None:
    with service(toy_settings) as client:
        gone = [*arrived, {"type": "http.disconnect"}]
        send_request(client.app, PREDICT, gone, [("content-type", "application/json")])
        counted = samples(client)

    assert lines(caplog)[0]["status"] == CLIENT_CLOSED == 499
    assert (
        counted[
            key("inkling_requests_total", route="/v1/models/{model}/predict", model="quadrants", code="499")
        ]
        == 1
    )
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("path", ["/livez", "/nowhere", f"{QUADRANTS}/weights/output.png"])
def test_the_middleware_removes_the_body_of_head(client: TestClient, path: str) -> None:
    """The length stays, whatever the server."""
    get = send_request(client.app, path, [chunk(b"", more=False)], method="GET")
    head = send_request(client.app, path, [chunk(b"", more=False)], method="HEAD")

    assert head.status_code == get.status_code
    assert head.headers["content-length"] == get.headers["content-length"]
    assert get.content
    assert head.content == b""
