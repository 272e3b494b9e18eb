"""The client and a server that is busy, lies, never answers, never ends or leads elsewhere."""

import gzip
import io
import socket
import threading
import time
from email.utils import formatdate
from typing import Any

import anyio
import numpy as np
import pytest
from numpy.typing import NDArray

from inkling import Client
from inkling.client import connection
from inkling.errors import (
    ApiError,
    InvalidResponse,
    MalformedRequest,
    NoResponse,
    RateLimited,
    ServiceUnavailable,
)
from tests import toys
from tests.inkling.client.servers import PREDICTION, SUMMARY, http, predictions, problem, response, tcp

IMAGE = toys.dot(1)


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Delays before retries, in seconds; nothing waits."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    return found


def npy(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_asked_again_after_the_delay_it_names(status: int, delays: list[float]) -> None:
    """
    Whole seconds, with up to a tenth more.
    """
    with (
        http(lambda n, *_: problem(status, "Retry-After: 7") if n < 2 else predictions(1)) as (url, received),
        Client(url) as client,
    ):
        assert client.predict(IMAGE).labels == ["a"]

    assert len(received.heads) == 3
    assert all(7 <= delay <= 7.7 for delay in delays)
    assert len(delays) == 2


def test_a_date_to_retry_after_is_understood(delays: list[float]) -> None:
    at = formatdate(time.time() + 20, usegmt=True)
    with (
        http(lambda n, *_: problem(503, f"Retry-After: {at}") if n < 1 else predictions(1)) as (url, _),
        Client(url) as client,
    ):
        client.predict(IMAGE)

    assert 15 < delays[0] < 23


@pytest.mark.parametrize("value", ["", "Retry-After: soon", "Retry-After: -5", "Retry-After: \xb2"])
def test_without_a_delay_it_is_doubled(value: str, delays: list[float]) -> None:
    """
    Until the retries are used up; then the error has the problem's fields.
    """
    headers = [value] if value else []
    with (
        http(lambda *_: problem(503, *headers)) as (url, received),
        Client(url, retries=3) as client,
        pytest.raises(ServiceUnavailable) as caught,
    ):
        client.predict(IMAGE)

    error = caught.value
    assert (error.status, error.kind, error.title, error.detail) == (503, "some-kind", "T", "D")
    assert (error.request_id, error.retry_after_s) == ("r1", None)
    assert len(received.heads) == 4
    assert len(delays) == 3
    assert 0.1 <= delays[0] <= 0.2 <= delays[1] <= 0.4 <= delays[2] <= 0.8


@pytest.mark.parametrize("seconds", ["1000000", "9" * 400])
def test_a_delay_beyond_the_timeout_is_not_waited_for(seconds: str, delays: list[float]) -> None:
    with (
        http(lambda *_: problem(429, f"Retry-After: {seconds}")) as (url, _),
        Client(url) as client,
        pytest.raises(RateLimited) as caught,
    ):
        client.predict(IMAGE)

    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s >= 1_000_000
    assert delays == []


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500, 502, 504])
def test_other_errors_are_not_repeated(status: int, delays: list[float]) -> None:
    """
    Nor is a problem document needed.
    """
    with (
        http(lambda *_: response(status, b"<html>")) as (url, received),
        Client(url) as client,
        pytest.raises(ApiError) as caught,
    ):
        client.predict(IMAGE)

    assert (caught.value.status, caught.value.detail, len(received.heads)) == (status, "", 1)
    assert delays == []


def test_a_broken_connection_is_opened_again(delays: list[float]) -> None:
    """
    A prediction changes nothing, so it may be asked for twice.
    """
    count = 0

    def serve(client: socket.socket) -> None:
        nonlocal count
        count += 1
        if count > 1:
            client.recv(65_536)
            client.sendall(response(200, {"default": "toy", "models": [SUMMARY]}))

    with tcp(serve) as url, Client(url) as client:
        assert [model.name for model in client.models()] == ["toy"]

    assert len(delays) == 1


def test_too_large_a_request_is_divided() -> None:
    """
    Where the service told other limits than it has.
    """

    def reply(_n: int, _head: str, body: bytes) -> bytes:
        images = (len(body) - 128) // 784
        return predictions(1) if images == 1 else problem(413)

    with http(reply) as (url, received), Client(url) as client:
        assert client.predict(np.stack([IMAGE] * 7)).labels == ["a"] * 7

    assert sorted((len(body) - 128) // 784 for body in received.bodies) == [1] * 7 + [2, 2, 2, 3, 4]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_key_does_not_follow_a_redirect(status: int) -> None:
    """
    Nor does the request.
    """
    with http(lambda *_: predictions(1)) as (elsewhere, others):
        redirect = response(status, b"", f"Location: {elsewhere}/v1/models/toy/predict")
        with (
            http(lambda *_: redirect) as (url, received),
            Client(url, key="ink_secret") as client,
            pytest.raises(InvalidResponse, match=f"a {status} to 'http"),
        ):
            client.predict(IMAGE)

    assert "authorization: bearer ink_secret" in received.heads[0].lower()
    assert others.heads == []


@pytest.mark.usefixtures("delays")
def test_errors_do_not_show_the_key() -> None:
    with (
        http(lambda *_: problem(503)) as (url, _),
        Client(url, key="ink_secret") as client,
        pytest.raises(ApiError) as caught,
    ):
        client.predict(IMAGE)

    assert "ink_secret" not in repr(caught.value) + str(caught.value) + repr(client)


def silent(client: socket.socket) -> None:
    while client.recv(65_536):
        pass


def drip_head(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        client.sendall(b"a: b\r\n")
        time.sleep(0.02)


def drip_body(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        client.sendall(b" ")
        time.sleep(0.02)


def endless_informational(client: socket.socket) -> None:
    client.recv(65_536)
    while True:
        client.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        time.sleep(0.01)


@pytest.mark.parametrize("serve", [silent, drip_head, drip_body, endless_informational])
def test_a_server_that_never_answers_is_left_after_the_timeout(serve: Any) -> None:  # noqa: ANN401 - a function
    """
    Also if it sends a little all the time.
    """
    with tcp(serve) as url, Client(url, timeout_s=0.5, retries=0) as client:
        started = time.monotonic()
        with pytest.raises(NoResponse, match=r"within 0\.5 s"):
            client.models()
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("framing", [b"Content-Length: 10000000000", b"Transfer-Encoding: chunked"])
def test_ten_gigabytes_are_not_read(framing: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The connection is closed at the limit.
    """
    monkeypatch.setattr(connection, "MAX_RESPONSE_BYTES", 5 * 2**20)
    sent = 0
    closed = threading.Event()

    def serve(client: socket.socket) -> None:
        nonlocal sent
        client.recv(65_536)
        client.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        part = b" " * 2**16
        part = b"%x\r\n%b\r\n" % (len(part), part) if b"chunked" in framing else part
        try:
            while True:
                client.sendall(part)
                sent += 2**16
        except OSError:
            closed.set()

    with tcp(serve) as url, Client(url) as client:
        with pytest.raises(InvalidResponse, match="at most 5,242,880 bytes; got more"):
            client.models()
        assert closed.wait(10)

    assert sent < 2**26


def test_a_compressed_response_is_not_decompressed() -> None:
    """
    It was not asked for, and may be a thousand times its size.
    """
    body = gzip.compress(b" " * 10**6)
    with (
        http(lambda *_: response(200, body, "Content-Encoding: gzip")) as (url, received),
        Client(url) as client,
        pytest.raises(InvalidResponse, match="uncompressed; got 'gzip'"),
    ):
        client.predict(IMAGE)

    assert "accept-encoding: identity" in received.heads[0].lower()


WRONG: list[dict[str, Any]] = [
    {"label": 5},
    {"index": "0"},
    {"index": -1},
    {"index": True},
    {"confidence": 7},
    {"confidence": "high"},
    {"confidence": -1},
    {"top": None},
    {"top": [{}]},
    {"sure": "yes"},
]
"""Members of a prediction that no service sends."""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"[" * 100_000,
        b"\xff",
        {},
        {"model": "toy", "version": "3"},
        {"model": 5, "version": "3", "predictions": [PREDICTION]},
        {"model": "toy", "version": "3", "predictions": []},
        {"model": "toy", "version": "3", "predictions": [PREDICTION] * 2},
        {"model": "toy", "version": "3", "predictions": [None]},
        {"model": "toy", "version": "3", "predictions": {"a": 1}},
        *({"model": "toy", "version": "3", "predictions": [{**PREDICTION, **wrong}]} for wrong in WRONG),
    ],
)
def test_a_lie_is_an_invalid_response(body: object) -> None:
    """
    Never an error of Python's, and never a prediction.
    """
    with (
        http(lambda *_: response(200, body)) as (url, _),
        Client(url) as client,
        pytest.raises(InvalidResponse, match="Response should be"),
    ):
        client.predict(IMAGE)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (npy(np.zeros((1, 2), np.float32)), "application/json"),
        (b"no array", "application/x-npy"),
        (npy(np.zeros((2, 2), np.float32)), "application/x-npy"),
        (npy(np.zeros((1, 3), np.float32)), "application/x-npy"),
        (npy(np.zeros(2, np.float32)), "application/x-npy"),
        (npy(np.zeros((1, 2), np.float64)), "application/x-npy"),
        (npy(np.array([[np.nan, 1]], np.float32)), "application/x-npy"),
        (npy(np.array([[2, -1]], np.float32)), "application/x-npy"),
        (npy(np.array([["a", {}]], object)), "application/x-npy"),
        (npy(np.zeros((1, 2), np.float32))[:-1], "application/x-npy"),
        (
            npy(np.zeros((1, 2), np.float32)).replace(b"(1, 2), }", b"(99999999999, 2), }"),
            "application/x-npy",
        ),
    ],
)
def test_a_lie_in_numpys_format_is_an_invalid_response(body: bytes, kind: str) -> None:
    """
    Nothing is unpickled, and nothing is allocated before its size is known.
    """
    with (
        http(lambda *_: response(200, body, f"Content-Type: {kind}")) as (url, _),
        Client(url) as client,
        pytest.raises(InvalidResponse, match="Response should be"),
    ):
        client.probabilities(IMAGE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": []},
        {"input": [28, -28]},
        {"input": [10**9, 10**9]},
        {"input": "28"},
        {"labels": None},
        {"name": 5},
        {"limits": {"images": 0}},
        {"limits": {**SUMMARY["limits"], "images": 0}},
        {"limits": {**SUMMARY["limits"], "body_bytes": "all"}},
        {"limits": []},
    ],
)
def test_a_lie_about_the_model_is_an_invalid_response(wrong: dict[str, Any]) -> None:
    document = {"default": "toy", "models": [{**SUMMARY, **wrong}]}
    with (
        http(lambda *_: predictions(1), response(200, document)) as (url, _),
        Client(url) as client,
        pytest.raises(InvalidResponse, match="a list of models"),
    ):
        client.predict(IMAGE)


def test_huge_limits_do_not_make_huge_requests() -> None:
    """
    A request has at most 1,024 images, whatever the service says.
    """
    limits = dict.fromkeys(SUMMARY["limits"], 2**40)
    info = response(200, {"default": "toy", "models": [{**SUMMARY, "limits": limits}]})
    with (
        http(lambda _n, _head, body: predictions((len(body) - 128) // 784), info) as (url, received),
        Client(url) as client,
    ):
        assert len(client.predict(np.stack([IMAGE] * 3000))) == 3000

    assert sorted((len(body) - 128) // 784 for body in received.bodies) == [952, 1024, 1024]


def test_tiny_limits_still_send_one_image_a_request() -> None:
    limits = {"images": 1, "body_bytes": 1, "picture_pixels": 1, "points": 1}
    info = response(200, {"default": "toy", "models": [{**SUMMARY, "limits": limits}]})
    with http(lambda *_: predictions(1), info) as (url, received), Client(url) as client:
        assert len(client.predict(np.stack([IMAGE] * 3))) == 3

    assert len(received.bodies) == 3


def test_one_refused_request_ends_the_call() -> None:
    """
    With its error, not with a group of errors; an image that is not valid as well.
    """
    with (
        http(lambda n, *_: problem(400) if n == 2 else predictions(4)) as (url, _),
        Client(url) as client,
    ):
        with pytest.raises(ApiError, match="400 T: D"):
            client.predict(np.stack([IMAGE] * 40))
        with pytest.raises(MalformedRequest, match="Image 70"):
            client.predict([*[b"a picture"] * 70, 5])  # type: ignore[arg-type]  # wrong on purpose


def test_a_service_that_tells_no_limits_is_asked_with_small_requests() -> None:
    """
    As one of an earlier version.
    """
    old = {name: value for name, value in SUMMARY.items() if name != "limits"}
    info = response(200, {"default": None, "models": [old]})
    with (
        http(lambda _n, _head, body: predictions((len(body) - 128) // 784), info) as (url, received),
        Client(url) as client,
    ):
        assert len(client.predict(np.stack([IMAGE] * 300))) == 300

    assert sorted((len(body) - 128) // 784 for body in received.bodies) == [44, 256]
