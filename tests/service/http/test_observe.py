"""`service/http/observe.py`: request ids, one line per request, counters and timings."""

import logging
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from service.core.engine import Engine
from service.http.exchange import CLIENT_CLOSED
from service.settings import Settings
from tests import toys
from tests.service.http.bodies import PREDICT, QUADRANTS, problem
from tests.service.http.running import chunk, exchange, service

OCTETS = {"content-type": "application/octet-stream"}
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
    caplog.set_level(logging.INFO, logger="service.http")


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The fields of every request's line."""
    return [line for record in caplog.records for line in vars(record).get("lines", ())]


Key = tuple[str, frozenset[tuple[str, str]]]


def key(name: str, **labels: str) -> Key:
    """Say which number of `samples` is meant."""
    return name, frozenset(labels.items())


def samples(client: TestClient) -> dict[Key, float]:
    """Every number that /metrics gives, by its name and labels."""
    return {
        key(sample.name, **sample.labels): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


def test_a_request_id_of_the_callers_own_is_kept(client: TestClient) -> None:
    """
    It comes back in the header and stands in the problem.
    """
    good = client.get("/livez", headers={"x-request-id": "caller-1.A_b"})
    bad = client.get("/nowhere", headers={"x-request-id": "z" * 64})

    assert good.headers["x-request-id"] == "caller-1.A_b"
    assert bad.json()["request_id"] == bad.headers["x-request-id"] == "z" * 64


@pytest.mark.parametrize(
    "given", ["", "two words", "semi;colon", "z" * 65, "ü", 'quo"te', "new\tline", "<b>"]
)
def test_a_request_id_that_could_harm_a_log_is_replaced(client: TestClient, given: str) -> None:
    """
    By a new one.
    """
    answer = client.get("/livez", headers=[(b"x-request-id", given.encode("latin-1"))])

    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])


def test_new_request_ids_differ(client: TestClient) -> None:
    """
    Nobody's requests are mixed up.
    """
    ids = {client.get("/livez").headers["x-request-id"] for _ in range(20)}

    assert len(ids) == 20


def test_one_line_says_everything_about_a_request(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Fields instead of sentences.
    """
    body = np.stack([toys.dot(0), toys.dot(1)]).tobytes()

    answer = client.post(PREDICT, content=body, headers=OCTETS)

    (line,) = lines(caplog)
    assert set(line) == LINE
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["method"] == "POST"
    assert line["path"] == PREDICT
    assert line["route"] == "/v1/models/{model}/predict"
    assert (line["status"], line["model"], line["version"]) == (200, "quadrants", "2")
    assert (line["images"], line["received_bytes"]) == (2, 1568)
    assert {"read", "decode", "infer", "encode"} <= set(line["phases_ms"])
    assert 0 < sum(line["phases_ms"].values()) <= line["ms"] + 0.1


@pytest.mark.parametrize("path", ["/livez", "/nowhere", f"{QUADRANTS}/versions/9", "/docs", "/openapi.json"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_every_request_has_exactly_one_line(
    client: TestClient, caplog: pytest.LogCaptureFixture, path: str, method: str
) -> None:
    """
    Errors too, with the method that was really asked.
    """
    answer = client.request(method, path)

    (line,) = lines(caplog)
    assert (line["method"], line["status"]) == (method, answer.status_code)


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
def test_no_line_holds_a_payload_or_a_query(
    client: TestClient, caplog: pytest.LogCaptureFixture, content_type: str, body: bytes
) -> None:
    """
    Nothing of what was sent is written anywhere.
    """
    caplog.set_level(logging.DEBUG, logger="service")

    client.post(f"{PREDICT}?secret=payload", content=body, headers={"content-type": content_type})
    client.post(PREDICT, content=body, headers={"content-type": content_type})

    ours = [record for record in caplog.records if record.name.startswith("service")]
    assert len(ours) == 2
    assert "secret" not in "".join(str(record.__dict__) for record in ours)


def test_an_error_that_nobody_foresaw_is_written_down_with_its_request_id(
    client: TestClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The caller learns nothing of it, whoever reads the log everything.
    """

    def fail(engine: Engine, batch: NDArray[np.uint8]) -> None:
        del engine, batch
        raise ZeroDivisionError("the reason")

    monkeypatch.setattr(Engine, "run", fail)

    answer = client.post(PREDICT, content=toys.dot(1).tobytes(), headers=OCTETS)

    problem(answer, 500, "internal")
    (error,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert error.exc_info is not None
    assert str(error.exc_info[1]) == "the reason"
    assert error.__dict__["fields"]["request_id"] == answer.headers["x-request-id"]
    assert lines(caplog)[0]["status"] == 500


def test_long_paths_are_cut_in_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """
    So that callers cannot fill a disk with one request.
    """
    client.get("/" + "x" * 10_000)

    assert len(lines(caplog)[0]["path"]) == 200


def test_the_log_of_requests_can_be_switched_off(
    toy_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The counters go on.
    """
    with service(toy_settings, access_log=False) as client:
        client.get("/livez")
        counted = samples(client)

    assert not lines(caplog)
    assert counted[key("inkling_requests_total", route="/livez", model="-", code="200")] == 1


def test_server_timing_tells_the_phases(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """
    The same numbers as in the log.
    """
    answer = client.post(PREDICT, content=toys.dot(0).tobytes(), headers=OCTETS)

    header = answer.headers["server-timing"]
    phases = dict(re.findall(r"([a-z]+);dur=([0-9.]+)", header))
    assert {name: float(ms) for name, ms in phases.items()} == lines(caplog)[0]["phases_ms"]
    assert "infer" in phases


def test_requests_are_counted_by_route_model_and_code(toy_settings: Settings) -> None:
    """
    The route is its template, so every version and layer counts on one.
    """
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


def test_phases_and_batch_sizes_are_counted(toy_settings: Settings) -> None:
    """
    As histograms; a refused request adds no batch.
    """
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


def test_callers_cannot_make_the_metrics_grow(toy_settings: Settings) -> None:
    """
    Unknown paths, models, versions, layers and units share their labels.
    """

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


def test_ready_models_show_in_the_metrics(client: TestClient) -> None:
    """
    One gauge a version.
    """
    counted = samples(client)

    assert counted[key("inkling_model_ready", model="quadrants", version="1")] == 1
    assert counted[key("inkling_model_ready", model="quadrants", version="2")] == 1


@pytest.mark.parametrize("arrived", [[], [chunk(b"half")]])
def test_a_caller_who_leaves_is_recorded_as_499(
    toy_settings: Settings, caplog: pytest.LogCaptureFixture, arrived: list[Any]
) -> None:
    """
    Neither as an error of ours nor as an answer.
    """
    with service(toy_settings) as client:
        gone = [*arrived, {"type": "http.disconnect"}]
        exchange(client.app, PREDICT, gone, [("content-type", "application/json")])
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
def test_an_answer_to_head_is_without_a_body_below_the_server(client: TestClient, path: str) -> None:
    """
    Whichever server stands above: its length is told all the same.
    """
    get = exchange(client.app, path, [chunk(b"", more=False)], method="GET")
    head = exchange(client.app, path, [chunk(b"", more=False)], method="HEAD")

    assert head.status_code == get.status_code
    assert head.headers["content-length"] == get.headers["content-length"]
    assert get.content
    assert head.content == b""
