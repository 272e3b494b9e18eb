"""`service/http/calls/prediction_call.py`: the same responses as through the ASGI application."""

import asyncio
import io
import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from starlette.datastructures import Headers
from uvicorn.server import ServerState

from service.app import App, create_app
from service.core.errors import InferenceFailed
from service.http.messages import content_coding
from service.http.server.connection.protocol import Connection
from service.http.server.connection.stage import Stage
from service.http.server.connection_table import ConnectionTable
from service.http.server.server_context import ConnectionLimits, ServerContext, StopFlag
from service.inference.models.model import Model
from service.inference.predictor import Prediction, Predictor
from service.settings import Settings
from tests import toys
from tests.examples import examples
from tests.service.http.bodies import PREDICT, QUADRANTS, compressed, images, npy, picture
from tests.service.http.running import RecordedResponse
from tests.service.http.server.fakes import turns, until
from tests.service.http.server.response_parser import responses
from tests.service.http.server.transports import ReadingClient

OCTETS = ("content-type", "application/octet-stream")
JSON = ("content-type", "application/json")
INFER = "/v2/models/quadrants/infer"
DOT = toys.dot(2).tobytes()
NESTED = orjson.dumps({"image": toys.dot(1).tolist()})
TENSOR = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28]}
EVERY_TIME = {"x-request-id", "server-timing"}
"""Headers that differ between equal requests."""


@pytest.fixture(scope="module")
def app(toy_settings: Settings) -> App:
    return create_app(toy_settings)


def responses_to(client: ReadingClient) -> list[RecordedResponse]:
    """Parse the output; each response must be complete."""
    found = list(responses(client.written))
    assert all(one.is_whole for one in found)
    return [RecordedResponse(one.status, Headers(one.headers), one.body) for one in found]


@dataclass
class Server:
    """Creates connections without sockets. If `is_direct` is False, predictions go through ASGI."""

    app: App
    is_direct: bool = True
    state: ServerState = field(default_factory=ServerState)

    def connect(self) -> tuple[Connection, ReadingClient]:
        dispatch = self.app.dispatch if self.is_direct else replace(self.app.dispatch, predictions=None)
        server_context = ServerContext(
            limits=ConnectionLimits(32_768, 10, 10, 10, 10, 10, 1024),
            connections=ConnectionTable(100, 100, 10),
            budget=self.app.budget,
            request_log=self.app.request_log,
            dispatch=dispatch,
            stopping=StopFlag(),
        )
        connection, client = Connection(server_context, self.state), ReadingClient()
        connection.connection_made(client)
        return connection, client


def request(body: bytes, *headers: tuple[str, str], path: str = PREDICT, method: str = "POST") -> bytes:
    """Return the bytes of a request."""
    lines = [f"{name}: {value}" for name, value in (("Host", "test"), *headers)]
    if "Transfer-Encoding" not in dict(headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode() + body


async def settled(happened: Callable[[], object]) -> None:
    """Run the event loop until a condition is true, and a little longer for the request log."""
    await until(happened)
    await turns(3)


def send(app: App, *requests: Sequence[bytes], is_direct: bool = True) -> list[list[RecordedResponse]]:
    """Send requests in one iteration, each in parts on a connection of its own; return the responses."""
    server = Server(app, is_direct)

    async def run() -> list[list[RecordedResponse]]:
        opened = [server.connect() for _ in requests]
        for (connection, _), parts in zip(opened, requests, strict=True):
            for part in parts:
                connection.data_received(part)
                while not opened[0][1].reads:  # what cannot be taken at once is waited for
                    await asyncio.sleep(0)
        await settled(lambda: not any(connection.stage is Stage.ANSWERING for connection, _ in opened))
        found = [responses_to(client) for _, client in opened]
        for connection, _ in opened:
            connection.connection_lost(None)
        await settled(lambda: not server.state.tasks)
        return found

    return asyncio.run(run())


def direct(app: App, *requests: bytes) -> list[RecordedResponse]:
    """Send requests that are answered without ASGI; return one response to each."""
    answers = send(app, *[[one] for one in requests])
    assert all(len(found) == 1 for found in answers)
    return [found[0] for found in answers]


def through_asgi(app: App, body: bytes, *headers: tuple[str, str], path: str = PREDICT) -> RecordedResponse:
    """Send a request that is answered through ASGI."""
    ((answer,),) = send(app, [request(body, *headers, path=path)], is_direct=False)
    return answer


def shown(answer: RecordedResponse) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in answer.headers.items() if name not in EVERY_TIME}
    assert set(answer.headers) >= EVERY_TIME
    return answer.status_code, headers, answer.content


PLAIN: dict[str, tuple[bytes, Sequence[tuple[str, str]], str]] = {
    "bytes": (DOT, [OCTETS], PREDICT),
    "probabilities": (DOT, [OCTETS], f"{QUADRANTS}/probabilities"),
    "as an array": (DOT, [OCTETS, ("Accept", "application/x-npy")], f"{QUADRANTS}/probabilities"),
    "on a connection that is kept": (DOT, [OCTETS, ("Connection", "Keep-Alive")], PREDICT),
    "of a version": (DOT, [OCTETS], f"{QUADRANTS}/versions/1/predict"),
    "many images": (images(1, 2, 3).tobytes(), [OCTETS], PREDICT),
    "npy": (npy(images(1, 2)), [("Content-Type", "application/x-npy")], PREDICT),
    "json": (NESTED, [JSON], PREDICT),
    "json with a parameter": (NESTED, [("content-type", "application/json; charset=utf-8")], PREDICT),
    "strokes": (b'{"strokes": [[[1, 1], [5, 9]]]}', [JSON], PREDICT),
    "instances": (orjson.dumps({"instances": [toys.dot(3).tolist()]}), [JSON], f"{QUADRANTS}:predict"),
    "explanation": (DOT, [OCTETS], f"{QUADRANTS}/explain"),
    "tensors": (
        orjson.dumps({"inputs": [{**TENSOR, "data": toys.dot(1).ravel().tolist()}], "id": "a"}),
        [JSON],
        INFER,
    ),
    "tensors, slash": (
        orjson.dumps({"inputs": [{**TENSOR, "data": toys.dot(1).ravel().tolist()}]}),
        [JSON],
        f"{INFER}/",
    ),
    "binary tensors": (
        (head := orjson.dumps({"inputs": [{**TENSOR, "parameters": {"binary_data_size": 784}}]})) + DOT,
        [("Inference-Header-Content-Length", str(len(head)))],
        INFER,
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_response_equals_that_of_the_application(app: App, name: str) -> None:
    """Status, headers and every byte."""
    body, headers, path = PLAIN[name]

    (answer,) = direct(app, request(body, *headers, path=path))

    assert shown(answer) == shown(through_asgi(app, body, *headers, path=path))


FORMS: dict[str, bytes] = {
    "with options": request(DOT, OCTETS, path=f"{PREDICT}?top=1&include=seen"),
    "in chunks": request(
        b"100\r\n%b\r\n210\r\n%b\r\n0\r\nA: b\r\n\r\n" % (DOT[:256], DOT[256:]),
        OCTETS,
        ("Transfer-Encoding", "chunked"),
    ),
    "compressed": request(compressed(DOT, "gzip"), OCTETS, ("Content-Encoding", "gzip")),
    "a last request": request(DOT, OCTETS, ("Connection", "close")),
    "HTTP/1.0": request(DOT, OCTETS).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "an offer of another protocol": request(DOT, OCTETS, ("Connection", "Upgrade"), ("Upgrade", "h2c")),
    "an id twice": request(DOT, OCTETS, ("X-Request-Id", "one"), ("X-Request-Id", "two")),
    "a long head": request(DOT, OCTETS, ("Cookie", "a" * 20_000)),
    "a host as an address": request(DOT, OCTETS, path=f"http://x{PREDICT}"),
}
"""Forms of the same request."""


@pytest.mark.parametrize("name", FORMS)
def test_response_does_not_depend_on_the_form_of_the_request(app: App, name: str) -> None:
    """In chunks, compressed, with a query, on a connection that closes."""
    ((answer,),) = send(app, [FORMS[name]])
    ((expected,),) = send(app, [FORMS[name]], is_direct=False)

    assert answer.status_code == 200
    assert shown(answer) == shown(expected)


def test_batched_requests_get_their_own_responses(app: App) -> None:
    """One batch, of several formats and model versions."""
    asked = list(PLAIN.values())
    answers = direct(app, *[request(body, *headers, path=path) for body, headers, path in asked])

    for answer, (body, headers, path) in zip(answers, asked, strict=True):
        assert numbers(answer) == pytest.approx(
            numbers(through_asgi(app, body, *headers, path=path)), abs=1e-5
        )


def numbers(answer: RecordedResponse) -> list[float]:
    """Return all numbers of a response, in order."""
    if answer.headers["content-type"] == "application/octet-stream":
        size = int(answer.headers["inference-header-content-length"])
        return list(np.frombuffer(answer.content[size:], "<f4").astype(float))
    if answer.headers["content-type"] == "application/x-npy":
        return list(np.load(io.BytesIO(answer.content)).ravel().astype(float))
    found: list[float] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, int | float):
            found.append(float(value))

    walk(orjson.loads(answer.content))
    return found


def test_request_id_of_the_client_is_returned(app: App) -> None:
    """An id that is invalid in a log is replaced."""
    (mine,) = direct(app, request(DOT, OCTETS, ("X-Request-Id", "mine-1")))
    others = direct(app, *[request(DOT, OCTETS, ("X-Request-Id", "no spaces"))] * 3)

    assert mine.headers["x-request-id"] == "mine-1"
    ids = {answer.headers["x-request-id"] for answer in others}
    assert len(ids) == 3
    assert all(len(one) == 16 for one in ids)


ERRORS: dict[str, tuple[bytes, Sequence[tuple[str, str]], str]] = {
    "unknown model": (DOT, [OCTETS], "/v1/models/nobody/predict"),
    "unknown version": (DOT, [OCTETS], f"{QUADRANTS}/versions/9/predict"),
    "no content type": (DOT, [], PREDICT),
    "unknown content type": (DOT, [("Content-Type", "text/plain")], PREDICT),
    "wrong size": (DOT[1:], [OCTETS], PREDICT),
    "no JSON": (b"{", [JSON], PREDICT),
    "blank": (orjson.dumps({"image": [0] * 784}), [JSON], PREDICT),
    "too many images": (bytes(65 * 784), [OCTETS], PREDICT),
    "a large picture": (picture(Image.new("L", (2000, 2000), 255)), [("Content-Type", "image/png")], PREDICT),
    "a broken picture": (b"\x89PNG\r\n\x1a\n", [("Content-Type", "image/png")], PREDICT),
    "binary header": (DOT, [("Inference-Header-Content-Length", "9999")], INFER),
    "unknown option": (DOT, [OCTETS], f"{PREDICT}?colour=red"),
    "bad option": (DOT, [OCTETS], f"{PREDICT}?top=0"),
    "unknown compression": (DOT, [OCTETS, ("Content-Encoding", "br")], PREDICT),
    "not compressed": (DOT, [OCTETS, ("Content-Encoding", "gzip")], PREDICT),
    "half compressed": (compressed(DOT, "gzip")[:-9], [OCTETS, ("Content-Encoding", "gzip")], PREDICT),
    "a body that is too large": (bytes(200_001), [OCTETS], PREDICT),
    "no body": (b"", [OCTETS], PREDICT),
    "timeout": (
        orjson.dumps({"inputs": [{**TENSOR, "data": [1] * 784}], "parameters": {"timeout": 1}}),
        [JSON],
        INFER,
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error_equals_that_of_the_application(app: App, name: str) -> None:
    """Except for its id. No memory stays counted."""
    body, headers, path = ERRORS[name]
    before = counted(app)

    (answer,) = direct(app, request(body, *headers, path=path))

    expected = through_asgi(app, body, *headers, path=path)
    found, requested_output = answer.json(), expected.json()
    assert found.pop("request_id") == answer.headers["x-request-id"]
    requested_output.pop("request_id")
    assert (answer.status_code, found) == (expected.status_code, requested_output)
    assert set(answer.headers) ^ set(expected.headers) <= {"server-timing"}
    assert counted(app) == before


LONG: dict[str, tuple[bytes, Sequence[tuple[str, str]], str]] = {
    "many images": (images(*range(60)).tobytes(), [OCTETS], PREDICT),
    "much JSON": (orjson.dumps({"images": images(*range(20)).tolist()}), [JSON], PREDICT),
    "a picture": (
        picture(Image.fromarray(toys.dot(1)).resize((280, 280))),
        [("Content-Type", "image/png")],
        PREDICT,
    ),
    "preparation": (DOT, [OCTETS], f"{PREDICT}?prepare=mnist"),
}


@pytest.mark.parametrize("name", LONG)
def test_long_requests_are_answered(app: App, name: str) -> None:
    """They run in the thread pool, and short ones are answered before."""
    body, headers, path = LONG[name]

    long, short = direct(app, request(body, *headers, path=path), request(DOT, OCTETS))

    assert long.status_code == short.status_code == 200
    assert shown(long) == shown(through_asgi(app, body, *headers, path=path))


def counted(app: App) -> tuple[int, int]:
    """Return the requests in flight, and the bytes in the memory budget."""
    return app.metrics.in_flight, app.budget.used


@examples(200)
@given(
    start=st.sampled_from([b"", request(DOT, OCTETS), request(NESTED, JSON)[:-1], request(b"", OCTETS)]),
    body=st.binary(max_size=60),
    cut=st.integers(0, 2000),
)
def test_arbitrary_bytes_never_cause_a_500(app: App, start: bytes, body: bytes, cut: int) -> None:
    (answers,) = send(app, [start[:cut] + body])

    assert all(answer.status_code in (200, 400, 415, 501, 505) for answer in answers)
    assert counted(app) == (0, 0)


@examples(100)
@given(name=st.sampled_from(sorted(PLAIN)), cuts=st.lists(st.integers(0, 4000), max_size=4))
def test_request_may_be_divided_anywhere(app: App, name: str, cuts: list[int]) -> None:
    """And followed by another."""
    body, headers, path = PLAIN[name]
    whole = request(body, *headers, path=path) * 2
    offsets = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[start:stop] for start, stop in itertools.pairwise(offsets) if stop > start]

    (answers,) = send(app, pieces)

    expected = shown(through_asgi(app, body, *headers, path=path))
    assert [shown(answer) for answer in answers] == [expected] * 2
    assert counted(app) == (0, 0)


@pytest.fixture
def narrow(toy_settings: Settings) -> App:
    """A service with small limits of bodies."""
    return create_app(toy_settings.model_copy(update={"max_body_bytes": 1024, "max_pending_bytes": 4000}))


def test_bodies_have_limits(narrow: App) -> None:
    """Each, and all together."""
    (large,) = direct(narrow, request(images(1, 2).tobytes(), OCTETS))

    assert large.status_code == 413
    for _ in range(2):
        answers = direct(narrow, *[request(DOT, OCTETS)] * 3)
        assert [answer.status_code for answer in answers] == [200, 200, 503]
        assert answers[2].headers["retry-after"]
    assert counted(narrow) == (0, 0)


def test_incomplete_bodies_count_in_the_budget(narrow: App) -> None:
    """Until the client disconnects."""

    async def run() -> None:
        server = Server(narrow)
        opened = [server.connect() for _ in range(3)]
        for connection, _ in opened:
            connection.data_received(request(DOT, OCTETS)[:-1])
        assert narrow.budget.used == 2 * 2 * 783
        assert [len(responses_to(client)) for _, client in opened] == [0, 0, 1]
        for connection, _ in opened:
            connection.connection_lost(None)
        await settled(lambda: not server.state.tasks)

    asyncio.run(run())

    assert counted(narrow) == (0, 0)


@pytest.mark.parametrize("error", [InferenceFailed("quadrants", "2"), ZeroDivisionError()])
def test_failed_prediction_is_answered(app: App, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Expected and unexpected errors, on the event loop and in the thread pool."""

    def fail(predictor: Predictor, model: Model, images: object) -> Prediction:
        del predictor, model, images
        raise error

    monkeypatch.setattr(Predictor, "predict", fail)

    answers = direct(app, request(DOT, OCTETS), request(images(*range(60)).tobytes(), OCTETS))

    kind = "inference-failed" if isinstance(error, InferenceFailed) else "internal"
    assert [answer.json()["type"] for answer in answers] == [f"/problems/{kind}"] * 2
    assert counted(app) == (0, 0)


def test_prediction_of_a_disconnected_client_is_skipped(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Others are answered. The log has status 499."""
    logging.getLogger("service").setLevel(logging.INFO)
    caplog.set_level(logging.INFO, logger="service")
    sizes = []
    real = Predictor.predict

    def predict(predictor: Predictor, model: Model, images: np.ndarray) -> Prediction:
        sizes.append(len(images))
        return real(predictor, model, images)

    monkeypatch.setattr(Predictor, "predict", predict)

    async def run() -> list[int]:
        server = Server(app)
        opened = [server.connect() for _ in range(4)]
        sent = [
            request(DOT, OCTETS)[:-1],
            request(DOT, OCTETS),
            request(images(*range(60)).tobytes(), OCTETS),
            request(DOT, OCTETS),
        ]
        for (connection, _), one in zip(opened, sent, strict=True):
            connection.data_received(one)
        for connection, _ in opened[:3]:
            connection.connection_lost(None)
        await settled(lambda: bool(opened[3][1].written))
        await asyncio.sleep(0.05)  # in which work that was begun by mistake would have been done
        return [len(responses_to(client)) for _, client in opened]

    assert asyncio.run(run()) == [0, 0, 0, 1]
    assert sizes == [1]
    assert counted(app) == (0, 0)
    lines = [line for record in caplog.records for line in vars(record).get("lines", ())]
    assert sorted(line["status"] for line in lines) == [200, 499, 499, 499]
    assert sorted(line["received_bytes"] for line in lines) == [783, 784, 784, 60 * 784]


@pytest.mark.parametrize("end", ["nothing", "eof", "loss"])
def test_requests_behind_a_body_being_decompressed_wait(
    app: App, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are answered in order, also if the client has closed its side."""
    monkeypatch.setattr(content_coding, "_SLICE", 10_000)
    large = compressed(DOT * 60, "gzip")
    behind = request(b"", path="/livez", method="GET")
    sent = request(large, OCTETS, ("Content-Encoding", "gzip")) + behind + request(DOT, OCTETS) + behind

    async def run() -> list[int]:
        server = Server(app)
        connection, client = server.connect()
        connection.data_received(sent)
        assert not client.reads
        assert client.written == b""
        if end == "eof":
            assert connection.eof_received()
        elif end == "loss":
            client.abort()
            connection.connection_lost(None)
        await settled(lambda: end == "loss" or client.written.count(b"HTTP/1.1 ") == 4)
        await settled(lambda: not server.state.tasks)
        if end == "nothing":
            assert connection.stage is Stage.IDLE
            assert client.reads
        connection.connection_lost(None)
        return [answer.status_code for answer in responses_to(client)]

    assert asyncio.run(run()) == ([] if end == "loss" else [200, 200, 200, 200])
    assert app.budget.used == 0
