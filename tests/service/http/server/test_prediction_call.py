"""`service/http/direct.py` and `lane.py`: the same answers as on the usual way, or none."""

import asyncio
import io
import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.datastructures import Headers

from service.app import App, create_app
from service.core.errors import InferenceFailed
from service.http.lane import Lane
from service.serving.predictor import Prediction, Predictor
from service.serving.registry import Model
from service.settings import Settings
from tests import toys
from tests.service.http.bodies import PREDICT, QUADRANTS, images, npy, picture
from tests.service.http.running import PATIENCE_S, Exchanged, chunk, exchange

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


@dataclass
class Caller:
    """A connection that keeps what it is told."""

    answers: list[Exchanged] = field(default_factory=list)
    usual: bytes = b""
    held: int = 0
    rests: bool = True

    def address(self) -> str:
        return "127.0.0.1"

    def is_at_rest(self) -> bool:
        return self.rests

    def write(self, status: int, head: bytes, content: bytes) -> None:
        lines = [line.split(b": ", 1) for line in head.removesuffix(b"\r\n\r\n").split(b"\r\n")]
        headers = Headers(raw=[(name.lower(), value) for name, value in lines])
        names = [name for name, _ in lines]
        assert len(set(names)) == len(names), "every header should be there once"
        assert all(name == name.lower() for name in names), "as on the usual way"
        self.answers.append(Exchanged(status, headers, content))

    def go_the_usual_way(self, data: bytes) -> None:
        self.usual += data

    def hold(self) -> None:
        self.held += 1

    def go_on(self) -> None:
        self.held = 0


def request(body: bytes, *headers: tuple[str, str], path: str = PREDICT, method: str = "POST") -> bytes:
    """A request as it comes over the wire."""
    lines = [f"{name}: {value}" for name, value in (("Host", "test"), *headers)]
    head = [f"{method} {path} HTTP/1.1", *lines, f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


async def until(happened: Callable[[], bool]) -> None:
    """Let the event loop turn until something has happened, and once more for the journal."""
    async with asyncio.timeout(PATIENCE_S):
        while not happened():
            await asyncio.sleep(0)
    for _ in range(2):
        await asyncio.sleep(0)


def direct(app: App, *requests: bytes) -> list[Exchanged | None]:
    """Ask in one turn of an event loop; None for what is left to the usual way."""

    async def ask() -> list[Exchanged | None]:
        callers = [Caller() for _ in requests]
        lanes = [Lane(app.direct, caller) for caller in callers]
        taken = [lane.take(one) for lane, one in zip(lanes, requests, strict=True)]
        await until(lambda: not any(lane.is_busy() for lane in lanes))
        for lane, caller, is_taken, one in zip(lanes, callers, taken, requests, strict=True):
            assert caller.usual == b""
            assert len(caller.answers) == int(is_taken and lane.is_empty()), one[:200]
            lane.leave()
        await asyncio.sleep(0)
        return [caller.answers[0] if caller.answers else None for caller in callers]

    return asyncio.run(ask())


def usual(app: App, body: bytes, *headers: tuple[str, str], path: str = PREDICT) -> Exchanged:
    lower = [(name.lower(), value) for name, value in headers]
    return exchange(app, path, [chunk(body, more=False)], [*lower, ("content-length", str(len(body)))])


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
def test_the_answer_is_that_of_the_usual_way(app: App, name: str) -> None:
    """
    Status, headers and every byte; once and again, for a head that came before is not parsed again.
    """
    body, headers, path = PLAIN[name]

    for _ in range(2):
        (answer,) = direct(app, request(body, *headers, path=path))
        assert answer is not None
        assert shown(answer) == shown(usual(app, body, *headers, path=path))


@pytest.mark.parametrize("query", ["top=1", "include=seen", "prepare=none&top=2", ""])
def test_a_query_means_the_same(app: App, query: str) -> None:
    (answer,) = direct(app, request(DOT, OCTETS, path=f"{PREDICT}?{query}"))
    messages = [chunk(DOT, more=False)]

    assert answer is not None
    (expected,) = [exchange(app, PREDICT, messages, [OCTETS])] if not query else [None]
    document = orjson.loads(answer.content)["predictions"][0]
    assert ("seen" in document) == ("seen" in query)
    assert len(document["top"]) == {"top=1": 1, "prepare=none&top=2": 2}.get(query, 3)
    assert expected is None or shown(expected) == shown(answer)


def test_what_comes_in_one_turn_is_answered_each_with_its_own(app: App) -> None:
    """
    Together they run in one batch, whatever form and model version each asked for.
    """
    asked = list(PLAIN.values())
    answers = direct(app, *[request(body, *headers, path=path) for body, headers, path in asked])

    for answer, (body, headers, path) in zip(answers, asked, strict=True):
        assert answer is not None
        assert numbers(answer) == pytest.approx(numbers(usual(app, body, *headers, path=path)), abs=1e-5)


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


def test_the_callers_own_id_comes_back(app: App) -> None:
    """
    One that cannot stand in a log is replaced, anew each time.
    """
    (mine,) = direct(app, request(DOT, OCTETS, ("X-Request-Id", "mine-1")))
    ids = set()
    for answer in direct(app, *[request(DOT, OCTETS, ("X-Request-Id", "no spaces"))] * 3):
        assert answer is not None
        ids.add(answer.headers["x-request-id"])

    assert mine is not None
    assert mine.headers["x-request-id"] == "mine-1"
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
    "timeout": (
        orjson.dumps({"inputs": [{**TENSOR, "data": [1] * 784}], "parameters": {"timeout": 1}}),
        [JSON],
        INFER,
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_that_of_the_usual_way(app: App, name: str) -> None:
    """
    But for its id; nothing of it is kept.
    """
    body, headers, path = ERRORS[name]
    before = counted(app)

    (answer,) = direct(app, request(body, *headers, path=path))

    assert answer is not None
    expected = usual(app, body, *headers, path=path)
    found, wanted = answer.json(), expected.json()
    assert found.pop("request_id") == answer.headers["x-request-id"]
    wanted.pop("request_id")
    assert (answer.status_code, found) == (expected.status_code, wanted)
    assert set(answer.headers) == set(expected.headers) | {"server-timing"}
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
    It is done by the workers, and what comes beside it is answered before.
    """
    body, headers, path = LONG[name]

    long, short = direct(app, request(body, *headers, path=path), request(DOT, OCTETS))

    assert long is not None
    assert short is not None
    assert long.status_code == short.status_code == 200
    if "?" not in path:
        assert shown(long) == shown(usual(app, body, *headers, path=path))


OTHERS: dict[str, bytes] = {
    "nothing": b"",
    "half a head": request(DOT, OCTETS)[:40],
    "more than a body": request(DOT, OCTETS) + b"G",
    "two requests": request(DOT, OCTETS) * 2,
    "no body": request(b"", OCTETS),
    "a long head": request(DOT, OCTETS, ("Cookie", "a" * 1100)),
    "no HTTP": b"\x16\x03\x01\r\n\r\n",
    "another verb": request(DOT, OCTETS, method="PUT"),
    "a head without a body": request(b"", OCTETS, method="HEAD"),
    "another path": request(DOT, OCTETS, path="/nowhere"),
    "an operation that asks no model": request(DOT, OCTETS, path="/v2/repository/index"),
    "unknown option": request(DOT, OCTETS, path=f"{PREDICT}?colour=red"),
    "bad option": request(DOT, OCTETS, path=f"{PREDICT}?top=0"),
    "HTTP/1.0": request(DOT, OCTETS).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "an id twice": request(DOT, OCTETS, ("X-Request-Id", "one"), ("X-Request-Id", "two")),
    "two wishes": request(DOT, OCTETS, ("Connection", "keep-alive"), ("Connection", "close")),
    "a last request": request(DOT, OCTETS, ("Connection", "close")),
    "an offer": request(DOT, OCTETS, ("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c")),
    "a question first": request(DOT, OCTETS, ("Expect", "100-continue")),
    "compressed": request(DOT, OCTETS, ("Content-Encoding", "gzip")),
    "in chunks": request(DOT, OCTETS, ("Transfer-Encoding", "chunked")),
    "two lengths": request(DOT, OCTETS, ("Content-Length", "785")),
    "no number": request(DOT, OCTETS).replace(b"Length: 784", b"Length: 7x4"),
    "a number with many noughts": request(DOT, OCTETS).replace(
        b"Length: 784", b"Length: " + b"0" * 17 + b"7840"
    ),
    "no path": request(DOT, OCTETS, path="http://x"),
    "a query without a path": request(DOT, OCTETS, path="?top=1"),
    "an old wish": request(DOT, OCTETS, ("Proxy-Connection", "close")),
    "a huge number": request(DOT, OCTETS).replace(b"Length: 784", b"Length: " + b"9" * 500),
    "a body that is too large": request(bytes(200_001), OCTETS),
    "a part of one that is too large": request(bytes(200_001), OCTETS)[:3000],
    "a control character": request(DOT, OCTETS, ("A", "\x00")),
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_rest_is_left_to_the_usual_way(app: App, name: str) -> None:
    """
    As if nobody had looked: nothing is answered, counted or kept.
    """
    before = counted(app)
    caller = Caller()

    async def ask() -> bool:
        return Lane(app.direct, caller).take(OTHERS[name])

    assert not asyncio.run(ask())
    assert caller == Caller()
    assert counted(app) == before


def counted(app: App) -> tuple[int, int]:
    """Requests in flight and bytes of bodies that are being answered."""
    in_flight = app.direct.journal._metrics.in_flight
    return in_flight, app.direct.answering.gate._pending_bytes


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    start=st.sampled_from([b"", request(DOT, OCTETS), request(NESTED, JSON)[:-1], request(b"", OCTETS)]),
    body=st.binary(max_size=60),
    cut=st.integers(0, 2000),
)
def test_nothing_that_comes_goes_wrong(app: App, start: bytes, body: bytes, cut: int) -> None:
    """
    Whatever bytes: an answer, the usual way, or a wait for more; nothing is left behind.
    """
    before = counted(app)
    (answer,) = direct(app, start[:cut] + body)

    assert answer is None or answer.status_code in (200, 400, 415)
    assert counted(app) == before


@settings(max_examples=100, deadline=None, derandomize=True)
@given(name=st.sampled_from(sorted(PLAIN)), cuts=st.lists(st.integers(0, 4000), max_size=4))
def test_a_body_may_come_in_pieces(app: App, name: str, cuts: list[int]) -> None:
    """
    Where the head comes whole; else all of it goes the usual way, in order.
    """
    body, headers, path = PLAIN[name]
    whole = request(body, *headers, path=path)
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[start:stop] for start, stop in itertools.pairwise(places) if stop > start]
    caller = Caller()

    async def ask() -> None:
        lane = Lane(app.direct, caller)
        for piece in pieces:
            if caller.usual or not lane.take(piece):
                caller.go_the_usual_way(piece)
                caller.rests = False
        await until(lambda: not lane.is_busy())
        assert lane.is_empty()

    asyncio.run(ask())

    if len(pieces[0]) >= len(whole) - len(body):
        assert len(caller.answers) == 1
        assert shown(caller.answers[0]) == shown(usual(app, body, *headers, path=path))
    else:
        assert caller.usual == whole
    assert counted(app) == (0, 0)


def test_what_comes_before_an_answer_is_held(app: App) -> None:
    """
    And given back in order, once the answer is written.
    """
    caller = Caller()

    async def ask() -> bytes:
        lane = Lane(app.direct, caller)
        assert lane.take(request(DOT, OCTETS))
        assert lane.take(b"POST ")
        assert lane.take(b"/v1")
        assert caller.held == 2
        await until(lambda: not lane.is_busy())
        return lane.held()

    assert asyncio.run(ask()) == b"POST /v1"
    assert len(caller.answers) == 1
    assert caller.held == 0


@pytest.mark.parametrize(
    "more",
    [
        DOT[700:] + b"POST",  # the next request begins
        b"",  # it takes too long, the server stops, or the caller says that it has sent everything
    ],
)
def test_a_body_that_does_not_come_plainly_goes_the_usual_way(app: App, more: bytes) -> None:
    """
    All that has arrived of it, and nothing is counted any more.
    """
    caller = Caller()
    start = request(DOT, OCTETS)[:-84]

    async def ask() -> None:
        lane = Lane(app.direct, caller)
        assert lane.take(start)
        assert counted(app)[1] == 700
        if more:
            assert lane.take(more)
        else:
            lane.give_up()
        assert lane.is_empty()

    asyncio.run(ask())

    assert caller.usual == start + more
    assert not caller.answers
    assert counted(app) == (0, 0)


@pytest.fixture
def narrow(toy_settings: Settings) -> App:
    """A service that lets in hardly anything."""
    return create_app(toy_settings.model_copy(update={"max_body_bytes": 1024, "max_pending_bytes": 2000}))


def test_limits_of_bodies_hold(narrow: App) -> None:
    """
    One by one and all together; who is answered makes room.
    """
    large = request(images(1, 2).tobytes(), OCTETS)
    three = [request(DOT, OCTETS)] * 3

    assert direct(narrow, large) == [None]
    for _ in range(2):
        answers = direct(narrow, *three)
        assert [answer is None for answer in answers] == [False, False, True]
    assert counted(narrow) == (0, 0)


def test_bodies_that_arrive_count_as_those_that_have(narrow: App) -> None:
    """
    What finds no room goes the usual way, which says so.
    """
    parts = [request(DOT, OCTETS)[:-1]] * 3
    callers = [Caller() for _ in parts]

    async def ask() -> None:
        lanes = [Lane(narrow.direct, caller) for caller in callers]
        for lane, part in zip(lanes, parts, strict=True):
            assert lane.take(part)
        assert counted(narrow)[1] == 2 * 783
        for lane in lanes:
            lane.leave()

    asyncio.run(ask())

    assert [caller.usual for caller in callers] == [b"", b"", parts[2]]
    assert counted(narrow) == (0, 0)


@pytest.mark.parametrize("error", [InferenceFailed("quadrants", "2"), ZeroDivisionError()])
def test_a_prediction_that_fails_is_told(app: App, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """
    If somebody foresaw it; else the request begins anew on the usual way, where the error comes again.
    """

    def fail(predictor: Predictor, model: Model, images: object) -> Prediction:
        del predictor, model, images
        raise error

    monkeypatch.setattr(Predictor, "predict", fail)
    for asked in (request(DOT, OCTETS), request(images(*range(60)).tobytes(), OCTETS)):
        caller = Caller()

        async def ask(asked: bytes = asked, caller: Caller = caller) -> None:
            lane = Lane(app.direct, caller)
            assert lane.take(asked)
            await until(lambda: not lane.is_busy())

        asyncio.run(ask())

        if isinstance(error, InferenceFailed):
            assert [answer.status_code for answer in caller.answers] == [500]
            assert not caller.usual
        else:
            assert caller.usual == asked
            assert not caller.answers
        assert counted(app) == (0, 0)


def test_who_left_is_not_predicted_for(
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
    callers = [Caller() for _ in range(4)]

    async def ask() -> None:
        early, late, long, stayer = [Lane(app.direct, caller) for caller in callers]
        early.take(request(DOT, OCTETS)[:-1])
        late.take(request(DOT, OCTETS))
        long.take(request(images(*range(60)).tobytes(), OCTETS))
        stayer.take(request(DOT, OCTETS))
        for lane in (early, late, long):
            lane.leave()
        await until(lambda: not stayer.is_busy())
        await asyncio.sleep(0.05)  # in which work that was begun by mistake would have been done

    asyncio.run(ask())

    assert sizes == [1]
    assert [len(caller.answers) for caller in callers] == [0, 0, 0, 1]
    assert not any(caller.usual for caller in callers)
    assert counted(app) == (0, 0)
    lines = [line for record in caplog.records for line in vars(record).get("lines", ())]
    assert sorted(line["status"] for line in lines) == [200, 499, 499, 499]
    assert sorted(line["received_bytes"] for line in lines) == [783, 784, 784, 60 * 784]
