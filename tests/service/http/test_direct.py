"""`service/http/direct.py`: the same answers as on the usual way, or none."""

import asyncio
import io
from collections.abc import Sequence
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
from service.http.direct import Pending
from service.serving.predictor import Prediction, Predictor
from service.serving.registry import Model
from service.settings import Settings
from tests import toys
from tests.service.http.bodies import PREDICT, QUADRANTS, images, npy, picture
from tests.service.http.running import Exchanged, chunk, exchange

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
    returned: list[bytes] = field(default_factory=list)

    def address(self) -> str:
        return "127.0.0.1"

    def answer(self, head: bytes, content: bytes) -> None:
        lines = [line.split(b": ", 1) for line in head.removesuffix(b"\r\n\r\n").split(b"\r\n")]
        headers = Headers(raw=[(name.lower(), value) for name, value in lines])
        assert len(headers.items()) == len(headers), "every header should be there once"
        self.answers.append(Exchanged(200, headers, content))

    def go_the_usual_way(self, request: bytes) -> None:
        self.returned.append(request)


def request(body: bytes, *headers: tuple[str, str], path: str = PREDICT, method: str = "POST") -> bytes:
    """A request as it comes over the wire."""
    lines = [f"{name}: {value}" for name, value in (("Host", "test"), *headers)]
    head = [f"{method} {path} HTTP/1.1", *lines, f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


async def _turns() -> None:
    for _ in range(3):  # the batch, the journal, and what it wrote
        await asyncio.sleep(0)


def direct(app: App, *requests: bytes) -> list[Exchanged | None]:
    """Ask in one turn of an event loop; None for what is left to the usual way."""

    async def ask() -> list[Exchanged | None]:
        callers = [Caller() for _ in requests]
        taken = [app.direct.take(one, caller) for one, caller in zip(requests, callers, strict=True)]
        await _turns()
        assert not any(caller.returned for caller in callers)
        assert [len(caller.answers) for caller in callers] == [int(one is not None) for one in taken]
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


OTHERS: dict[str, bytes] = {
    "nothing": b"",
    "half a head": request(DOT, OCTETS)[:40],
    "a head": request(DOT, OCTETS)[:-784],
    "half a body": request(DOT, OCTETS)[:-1],
    "more than a body": request(DOT, OCTETS) + b"G",
    "two requests": request(DOT, OCTETS) * 2,
    "no body": request(b"", OCTETS),
    "a long head": request(DOT, OCTETS, ("Cookie", "a" * 1100)),
    "no HTTP": b"\x16\x03\x01\r\n\r\n",
    "another verb": request(DOT, OCTETS, method="PUT"),
    "a head without a body": request(b"", OCTETS, method="HEAD"),
    "another path": request(DOT, OCTETS, path="/nowhere"),
    "an operation that asks no model": request(DOT, OCTETS, path="/v2/repository/index"),
    "unknown model": request(DOT, OCTETS, path="/v1/models/nobody/predict"),
    "unknown version": request(DOT, OCTETS, path=f"{QUADRANTS}/versions/9/predict"),
    "unknown option": request(DOT, OCTETS, path=f"{PREDICT}?colour=red"),
    "bad option": request(DOT, OCTETS, path=f"{PREDICT}?top=0"),
    "long work": request(DOT, OCTETS, path=f"{PREDICT}?include=steps"),
    "preparation of bytes": request(DOT, OCTETS, path=f"{PREDICT}?prepare=mnist"),
    "HTTP/1.0": request(DOT, OCTETS).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a last request": request(DOT, OCTETS, ("Connection", "close")),
    "an offer": request(DOT, OCTETS, ("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c")),
    "a question first": request(DOT, OCTETS, ("Expect", "100-continue")),
    "compressed": request(DOT, OCTETS, ("Content-Encoding", "gzip")),
    "in chunks": request(DOT, OCTETS, ("Transfer-Encoding", "chunked")),
    "two lengths": request(DOT, OCTETS, ("Content-Length", "785")),
    "no number": request(DOT, OCTETS).replace(b"Length: 784", b"Length: 7x4"),
    "a huge number": request(DOT, OCTETS).replace(b"Length: 784", b"Length: " + b"9" * 5000),
    "no content type": request(DOT),
    "unknown content type": request(DOT, ("Content-Type", "text/plain")),
    "wrong size": request(DOT[1:], OCTETS),
    "no JSON": request(b"{", JSON),
    "blank": request(orjson.dumps({"image": [0] * 784}), JSON),
    "too many images": request(bytes(65 * 784), OCTETS),
    "a large body": request(bytes(30 * 784), OCTETS),
    "a large picture": request(picture(Image.new("L", (2000, 2000), 255)), ("Content-Type", "image/png")),
    "timeout": request(
        orjson.dumps({"inputs": [{**TENSOR, "data": [1] * 784}], "parameters": {"timeout": 1}}),
        JSON,
        path=INFER,
    ),
    "binary header": request(DOT, ("Inference-Header-Content-Length", "9999"), path=INFER),
    "a control character": request(DOT, OCTETS, ("A", "\x00")),
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_rest_is_left_to_the_usual_way(app: App, name: str) -> None:
    """
    As if nobody had looked: nothing is answered, counted or kept.
    """
    before = counted(app)

    assert direct(app, OTHERS[name]) == [None]
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
    Whatever bytes: an answer or the usual way, and nothing is left behind.
    """
    before = counted(app)
    (answer,) = direct(app, start[:cut] + body)

    assert answer is None or answer.status_code == 200
    assert counted(app) == before


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


def test_a_request_that_fails_begins_anew_on_the_usual_way(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the error comes again, and is told and counted once.
    """

    def fail(predictor: Predictor, model: Model, images: object) -> Prediction:
        del predictor, images
        raise InferenceFailed(model.name, model.version)

    monkeypatch.setattr(Predictor, "predict", fail)
    caller = Caller()

    async def ask() -> None:
        assert app.direct.take(request(DOT, OCTETS), caller) is not None
        await _turns()

    asyncio.run(ask())

    assert caller.returned == [request(DOT, OCTETS)]
    assert not caller.answers
    assert counted(app) == (0, 0)


def test_who_left_is_not_predicted_for(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What waits beside it is, and the log says who left.
    """
    sizes = []
    real = Predictor.predict

    def predict(predictor: Predictor, model: Model, images: np.ndarray) -> Prediction:
        sizes.append(len(images))
        return real(predictor, model, images)

    monkeypatch.setattr(Predictor, "predict", predict)
    leaver, stayer = Caller(), Caller()

    async def ask() -> None:
        pending = app.direct.take(request(DOT, OCTETS), leaver)
        assert isinstance(pending, Pending)
        app.direct.take(request(DOT, OCTETS), stayer)
        pending.leave()
        await _turns()

    asyncio.run(ask())

    assert sizes == [1]
    assert not leaver.answers
    assert not leaver.returned
    assert len(stayer.answers) == 1
    assert counted(app) == (0, 0)
