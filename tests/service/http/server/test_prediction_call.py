"""`service/http/server/prediction_call.py`: the same answers as through the ASGI application."""

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
from service.http import packing
from service.http.server.connection import Connection, Stage
from service.http.server.connections import Connections
from service.http.server.context import Context, Limits, Stopping
from service.serving.predictor import Prediction, Predictor
from service.serving.registry import Model
from service.settings import Settings
from tests import toys
from tests.examples import examples
from tests.service.http.bodies import PREDICT, QUADRANTS, compressed, images, npy, picture
from tests.service.http.running import Exchanged
from tests.service.http.server.fakes import ReadingClient, responses, turns, until

OCTETS = ("content-type", "application/octet-stream")
JSON = ("content-type", "application/json")
INFER = "/v2/models/quadrants/infer"
DOT = toys.dot(2).tobytes()
NESTED = orjson.dumps({"image": toys.dot(1).tolist()})
TENSOR = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28]}
EVERY_TIME = {"x-request-id", "server-timing"}
"""Headers that differ from answer to answer."""


@pytest.fixture(scope="module")
def app(toy_settings: Settings) -> App:
    return create_app(toy_settings)


def answers_to(client: ReadingClient) -> list[Exchanged]:
    """Parse what was written; every answer must be whole."""
    found = list(responses(client.written))
    assert all(one.is_whole for one in found)
    return [Exchanged(one.status, Headers(one.headers), one.body) for one in found]


@dataclass
class Server:
    """Connections of an application, without sockets; of predictions through ASGI if `is_direct` is off."""

    app: App
    is_direct: bool = True
    state: ServerState = field(default_factory=ServerState)

    def connect(self) -> tuple[Connection, ReadingClient]:
        dispatch = self.app.dispatch if self.is_direct else replace(self.app.dispatch, predictions=None)
        context = Context(
            limits=Limits(32_768, 10, 10, 10, 10, 10, 1024),
            connections=Connections(100, 100, 10),
            budget=self.app.budget,
            journal=self.app.journal,
            dispatch=dispatch,
            stopping=Stopping(),
        )
        connection, client = Connection(context, self.state), ReadingClient()
        connection.connection_made(client)
        return connection, client


def request(body: bytes, *headers: tuple[str, str], path: str = PREDICT, method: str = "POST") -> bytes:
    """A request as it comes over the wire."""
    lines = [f"{name}: {value}" for name, value in (("Host", "test"), *headers)]
    if "Transfer-Encoding" not in dict(headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode() + body


async def settled(happened: Callable[[], object]) -> None:
    """Let the event loop turn until something has happened, and on for the journal."""
    await until(happened)
    await turns(3)


def ask(app: App, *requests: Sequence[bytes], is_direct: bool = True) -> list[list[Exchanged]]:
    """Ask in one turn of an event loop: a connection for each request, whose parts come one by one."""
    server = Server(app, is_direct)

    async def run() -> list[list[Exchanged]]:
        opened = [server.connect() for _ in requests]
        for (connection, _), parts in zip(opened, requests, strict=True):
            for part in parts:
                connection.data_received(part)
                while not opened[0][1].reads:  # what cannot be taken at once is waited for
                    await asyncio.sleep(0)
        await settled(lambda: not any(connection.stage is Stage.ANSWERING for connection, _ in opened))
        found = [answers_to(client) for _, client in opened]
        for connection, _ in opened:
            connection.connection_lost(None)
        await settled(lambda: not server.state.tasks)
        return found

    return asyncio.run(run())


def direct(app: App, *requests: bytes) -> list[Exchanged]:
    """Ask without ASGI; one answer to each request."""
    answers = ask(app, *[[one] for one in requests])
    assert all(len(found) == 1 for found in answers)
    return [found[0] for found in answers]


def through_asgi(app: App, body: bytes, *headers: tuple[str, str], path: str = PREDICT) -> Exchanged:
    """Ask on a connection of ours that answers predictions through the application."""
    ((answer,),) = ask(app, [request(body, *headers, path=path)], is_direct=False)
    return answer


def shown(answer: Exchanged) -> tuple[int, dict[str, str], bytes]:
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
def test_the_answer_is_that_of_the_application(app: App, name: str) -> None:
    """
    Status, headers and every byte.
    """
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
"""Of the same prediction."""


@pytest.mark.parametrize("name", FORMS)
def test_however_it_comes_the_answer_is_that_of_the_application(app: App, name: str) -> None:
    """
    In chunks, compressed, with a query, on a connection that closes.
    """
    ((answer,),) = ask(app, [FORMS[name]])
    ((expected,),) = ask(app, [FORMS[name]], is_direct=False)

    assert answer.status_code == 200
    assert shown(answer) == shown(expected)


def test_what_comes_in_one_turn_is_answered_each_with_its_own(app: App) -> None:
    """
    Together they run in one batch, whatever form and model version each asked for.
    """
    asked = list(PLAIN.values())
    answers = direct(app, *[request(body, *headers, path=path) for body, headers, path in asked])

    for answer, (body, headers, path) in zip(answers, asked, strict=True):
        assert numbers(answer) == pytest.approx(
            numbers(through_asgi(app, body, *headers, path=path)), abs=1e-5
        )


def numbers(answer: Exchanged) -> list[float]:
    """Every number of an answer, in order."""
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


def test_the_clients_own_id_comes_back(app: App) -> None:
    """
    One that cannot stand in a log is replaced, anew each time.
    """
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
def test_an_error_is_that_of_the_application(app: App, name: str) -> None:
    """
    But for its id; nothing of it is kept.
    """
    body, headers, path = ERRORS[name]
    before = counted(app)

    (answer,) = direct(app, request(body, *headers, path=path))

    expected = through_asgi(app, body, *headers, path=path)
    found, wanted = answer.json(), expected.json()
    assert found.pop("request_id") == answer.headers["x-request-id"]
    wanted.pop("request_id")
    assert (answer.status_code, found) == (expected.status_code, wanted)
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
def test_long_work_is_answered_too(app: App, name: str) -> None:
    """
    It is done in the thread pool, and what comes beside it is answered before.
    """
    body, headers, path = LONG[name]

    long, short = direct(app, request(body, *headers, path=path), request(DOT, OCTETS))

    assert long.status_code == short.status_code == 200
    assert shown(long) == shown(through_asgi(app, body, *headers, path=path))


def counted(app: App) -> tuple[int, int]:
    """Requests in flight, and bytes in the memory budget."""
    return app.metrics.in_flight, app.budget.used


@examples(200)
@given(
    start=st.sampled_from([b"", request(DOT, OCTETS), request(NESTED, JSON)[:-1], request(b"", OCTETS)]),
    body=st.binary(max_size=60),
    cut=st.integers(0, 2000),
)
def test_nothing_that_comes_goes_wrong(app: App, start: bytes, body: bytes, cut: int) -> None:
    """
    Whatever bytes: answers, or a wait for more; nothing is left behind.
    """
    (answers,) = ask(app, [start[:cut] + body])

    assert all(answer.status_code in (200, 400, 415, 501, 505) for answer in answers)
    assert counted(app) == (0, 0)


@examples(100)
@given(name=st.sampled_from(sorted(PLAIN)), cuts=st.lists(st.integers(0, 4000), max_size=4))
def test_a_request_may_come_in_pieces(app: App, name: str, cuts: list[int]) -> None:
    """
    Cut anywhere, and followed by another.
    """
    body, headers, path = PLAIN[name]
    whole = request(body, *headers, path=path) * 2
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[start:stop] for start, stop in itertools.pairwise(places) if stop > start]

    (answers,) = ask(app, pieces)

    expected = shown(through_asgi(app, body, *headers, path=path))
    assert [shown(answer) for answer in answers] == [expected] * 2
    assert counted(app) == (0, 0)


@pytest.fixture
def narrow(toy_settings: Settings) -> App:
    """A service that takes hardly anything."""
    return create_app(toy_settings.model_copy(update={"max_body_bytes": 1024, "max_pending_bytes": 4000}))


def test_limits_of_bodies_hold(narrow: App) -> None:
    """
    One by one and all together; what is answered makes room.
    """
    (large,) = direct(narrow, request(images(1, 2).tobytes(), OCTETS))

    assert large.status_code == 413
    for _ in range(2):
        answers = direct(narrow, *[request(DOT, OCTETS)] * 3)
        assert [answer.status_code for answer in answers] == [200, 200, 503]
        assert answers[2].headers["retry-after"]
    assert counted(narrow) == (0, 0)


def test_bodies_that_arrive_count_as_those_that_have(narrow: App) -> None:
    """
    Until the client leaves.
    """

    async def run() -> None:
        server = Server(narrow)
        opened = [server.connect() for _ in range(3)]
        for connection, _ in opened:
            connection.data_received(request(DOT, OCTETS)[:-1])
        assert narrow.budget.used == 2 * 2 * 783
        assert [len(answers_to(client)) for _, client in opened] == [0, 0, 1]
        for connection, _ in opened:
            connection.connection_lost(None)
        await settled(lambda: not server.state.tasks)

    asyncio.run(run())

    assert counted(narrow) == (0, 0)


@pytest.mark.parametrize("error", [InferenceFailed("quadrants", "2"), ZeroDivisionError()])
def test_a_prediction_that_fails_is_answered(
    app: App, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """
    Whether the error was foreseen or not, and on the event loop as in the thread pool.
    """

    def fail(predictor: Predictor, model: Model, images: object) -> Prediction:
        del predictor, model, images
        raise error

    monkeypatch.setattr(Predictor, "predict", fail)

    answers = direct(app, request(DOT, OCTETS), request(images(*range(60)).tobytes(), OCTETS))

    kind = "inference-failed" if isinstance(error, InferenceFailed) else "internal"
    assert [answer.json()["type"] for answer in answers] == [f"/problems/{kind}"] * 2
    assert counted(app) == (0, 0)


def test_a_client_that_left_is_not_predicted_for(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What waits beside it is, and the log says who left: before the body was here, or the answer.
    """
    logging.getLogger("service").setLevel(logging.INFO)
    caplog.set_level(logging.INFO, logger="service.http")
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
        return [len(answers_to(client)) for _, client in opened]

    assert asyncio.run(run()) == [0, 0, 0, 1]
    assert sizes == [1]
    assert counted(app) == (0, 0)
    lines = [line for record in caplog.records for line in vars(record).get("lines", ())]
    assert sorted(line["status"] for line in lines) == [200, 499, 499, 499]
    assert sorted(line["received_bytes"] for line in lines) == [783, 784, 784, 60 * 784]


@pytest.mark.parametrize("end", ["nothing", "eof", "loss"])
def test_requests_behind_a_body_that_is_decompressed_over_turns_wait(
    app: App, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    They are answered in order, also if the client has ended its output; nothing is left if it has gone.
    """
    monkeypatch.setattr(packing, "_SLICE", 10_000)
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
        return [answer.status_code for answer in answers_to(client)]

    assert asyncio.run(run()) == ([] if end == "loss" else [200, 200, 200, 200])
    assert app.budget.used == 0
