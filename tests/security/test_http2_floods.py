"""Floods of HTTP/2 frames on the gRPC port: other clients are served, and memory is bounded."""

import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from service.grpc.messages import inference_pb2 as pb
from tests import http2, toys
from tests.http2 import (
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PRIORITY,
    RST_STREAM,
    SERVICE,
    SETTINGS,
    WINDOW_UPDATE,
    begin,
    connect,
    frame,
    head,
    message,
    setting,
)
from tests.processes import PATIENCE_S, Process, connections, free_port, running, wait_until

GROWTH_MB = 100
"""Most memory that a flood may cost; most of it is what the first calls load."""

ANSWERS = 5
"""How many answers of each kind others must get while a flood goes on."""

Flood = Callable[[int], bytes]
"""Returns the frames to send; streams begin at the number given, and are at most 200 higher."""


def _streams(first: int) -> range:
    return range(first, first + 200, 2)


def rapid_reset(first: int) -> bytes:
    """Calls that are cancelled at once (CVE-2023-44487)."""
    cancel = struct.pack(">I", CANCEL)
    return b"".join(
        begin("ModelInfer", stream) + frame(RST_STREAM, 0, stream, cancel) for stream in _streams(first)
    )


def rapid_reset_of_whole_calls(first: int) -> bytes:
    """Complete calls that are cancelled before the response."""
    cancel = struct.pack(">I", CANCEL)
    return b"".join(
        begin("ServerLive", stream) + message(b"", stream) + frame(RST_STREAM, 0, stream, cancel)
        for stream in _streams(first)
    )


def many_streams(first: int) -> bytes:
    """Calls above the limit of a connection."""
    return b"".join(begin("ModelInfer", stream) for stream in _streams(first))


def pings(first: int) -> bytes:
    """PING frames, which need a response (CVE-2019-9512)."""
    del first
    return frame(PING, 0, 0, b"12345678") * 100


def settings(first: int) -> bytes:
    """SETTINGS frames, which need an acknowledgement (CVE-2019-9515)."""
    del first
    return frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 65_535)) * 100


def priorities(first: int) -> bytes:
    """Return a flood of HTTP/2 PRIORITY frames (CVE-2019-9513)."""
    del first
    return frame(PRIORITY, 0, 0x7FFF_FFFF, b"\x00\x00\x00\x00\x01") * 100


def window_updates(first: int) -> bytes:
    """WINDOW_UPDATE frames of one byte each."""
    del first
    return frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)) * 100


def continuations(first: int) -> bytes:
    """A header block without end (CVE-2024-27316)."""
    begun = frame(HEADERS, 0, 1, head("ModelInfer")) if first == 1 else b""
    return begun + frame(CONTINUATION, 0, 1, http2.field(b"x-a", b"y" * 100) * 100) * 20


def empty_continuations(first: int) -> bytes:
    """A header block without end, in empty frames."""
    begun = frame(HEADERS, 0, 1, head("ModelInfer")) if first == 1 else b""
    return begun + frame(CONTINUATION, 0, 1) * 100


def empty_data(first: int) -> bytes:
    """A message in empty frames (CVE-2019-9518)."""
    return (begin("ModelInfer", 1) if first == 1 else b"") + frame(DATA, 0, 1) * 100


def tiny_data(first: int) -> bytes:
    """Messages of 8 KB in frames of one byte."""
    prefix = frame(DATA, 0, first, b"\x00" + struct.pack(">I", 8_192))
    return begin("ModelInfer", first) + prefix + frame(DATA, 0, first, b"a") * 8_192


def header_bombs(first: int) -> bytes:
    """Header blocks with thousands of references to one large table entry (CVE-2016-6581)."""
    # The length 4,000 with a prefix of 7 bits: 127 + 3,873, least significant seven bits first.
    entry = b"\x40\x01a\x7f\xa1\x1e" + b"z" * 4_000
    stored = frame(HEADERS, END_HEADERS, 1, head("ModelInfer") + entry) if first == 1 else b""
    return stored + b"".join(
        frame(HEADERS, END_HEADERS, stream, head("ModelInfer") + b"\xbe" * 8_000)
        for stream in range(first + 2, first + 20, 2)
    )


FLOODS: list[Flood] = [
    rapid_reset,
    rapid_reset_of_whole_calls,
    many_streams,
    pings,
    settings,
    priorities,
    window_updates,
    continuations,
    empty_continuations,
    empty_data,
    tiny_data,
    header_bombs,
]


@dataclass
class Flooding:
    """A running flood, on connections that are reopened when they are closed."""

    stopped: threading.Event
    sent: int = 0

    def send(self, port: int, flood: Flood, is_read: bool) -> None:
        while not self.stopped.is_set():
            with suppress(OSError), connect(port, is_read=is_read) as connection:
                connection.settimeout(0.5)
                for first in range(1, 2**30, 200):
                    if self.stopped.is_set():
                        return
                    content = flood(first)
                    connection.sendall(content)
                    self.sent += len(content)


@contextmanager
def flooding(port: int, flood: Flood, connections: int, is_read: bool = True) -> Iterator[Flooding]:
    """Send frames while the context is entered."""
    going_on = Flooding(threading.Event())
    threads = [
        threading.Thread(target=going_on.send, args=(port, flood, is_read), daemon=True)
        for _ in range(connections)
    ]
    for thread in threads:
        thread.start()
    try:
        yield going_on
    finally:
        going_on.stopped.set()
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


@dataclass(frozen=True)
class Target:
    """The attacked service, and a client of it."""

    process: Process
    port: int
    channel: grpc.Channel

    def predict(self) -> None:
        """Predict over HTTP."""
        image = toys.dot(0).tolist()
        answer = self.process.get("/v1/models/quadrants/predict", {"images": [image]})
        assert answer["model"] == "quadrants"

    def is_live(self) -> bool:
        """Ask over gRPC, with no second attempt."""
        method = self.channel.unary_unary(
            f"{SERVICE}/ServerLive",
            pb.ServerLiveRequest.SerializeToString,
            pb.ServerLiveResponse.FromString,
        )
        return bool(method(pb.ServerLiveRequest(), timeout=PATIENCE_S).live)


@pytest.fixture(scope="module")
def target(toy_root: Path) -> Iterator[Target]:
    port = free_port()
    with running(toy_root, "--grpc-port", str(port), "--no-access-log", "--write-timeout-s", "1") as process:
        with grpc.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            grpc.channel_ready_future(channel).result(timeout=PATIENCE_S)
            yield Target(process, port, channel)
        status = process.handle.poll()
    assert status is None, "it ended while it was attacked"


def check_others(target: Target, seconds: float, is_under_way: Callable[[], bool]) -> None:
    """Send requests as another client for some time and check the memory."""
    target.predict()
    before = target.process.resident_mb()
    end = time.monotonic() + seconds
    asked = 0
    wait_until(is_under_way)
    while asked < ANSWERS or time.monotonic() < end:
        target.predict()
        assert target.is_live()
        assert target.process.resident_mb() < before + GROWTH_MB
        asked += 1


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.__name__)
def test_flood_does_not_block_other_clients(target: Target, flood: Flood) -> None:
    with flooding(target.port, flood, connections=2) as going_on:
        check_others(target, 0.5, lambda: going_on.sent > 10_000)


@pytest.mark.parametrize("flood", [pings, settings, rapid_reset], ids=lambda flood: flood.__name__)
def test_unread_responses_of_a_flood_are_not_buffered(target: Target, flood: Flood) -> None:
    with flooding(target.port, flood, connections=2, is_read=False) as going_on:
        check_others(target, 0.5, lambda: going_on.sent > 10_000)


NOT_PREVENTED: dict[Flood, str] = {
    tiny_data: "the process grows by some 300 MB, once",
    header_bombs: "gRPC's core cancels calls of other clients",
}
"""What two floods do when they are long; docs/security.md says so."""


@pytest.mark.torture
@pytest.mark.parametrize("is_read", [True, False], ids=["read", "unread"])
@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.__name__)
def test_long_flood_does_not_block_other_clients(
    target: Target, flood: Flood, is_read: bool, request: pytest.FixtureRequest
) -> None:
    """
    On sixteen connections, for twenty seconds.
    """
    if flood in NOT_PREVENTED:
        request.applymarker(pytest.mark.xfail(reason=NOT_PREVENTED[flood]))
    with flooding(target.port, flood, connections=16, is_read=is_read) as going_on:
        check_others(target, 20, lambda: going_on.sent > 10_000)


def test_calls_without_message_do_not_block_other_clients(target: Target) -> None:
    """
    600 calls without a message, more than the limit; then another client predicts.
    """
    asked = pb.ModelInferRequest(model_name="quadrants", raw_input_contents=[toys.dot(0).tobytes()])
    asked.inputs.add(name="image", datatype="UINT8", shape=[1, 28, 28])
    infer = target.channel.unary_unary(
        f"{SERVICE}/ModelInfer", pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString
    )
    ready = target.channel.unary_unary(
        f"{SERVICE}/ModelReady", pb.ModelReadyRequest.SerializeToString, pb.ModelReadyResponse.FromString
    )
    with ExitStack() as stack:
        for _ in range(6):
            connection = stack.enter_context(connect(target.port))
            connection.sendall(b"".join(begin("ModelInfer", stream) for stream in range(1, 199, 2)))
            connection.sendall(begin("ModelReady", 199))

        for _ in range(ANSWERS):
            # A call that waited until the silent ones time out would take `body_timeout_s`, 30 seconds.
            assert infer(asked, timeout=10).model_name == "quadrants"
            assert ready(pb.ModelReadyRequest(name="quadrants"), timeout=10).ready
            assert target.is_live()


def test_client_that_does_not_read_responses_is_disconnected(target: Target) -> None:
    """
    A client with a flow-control window of 0 requests large responses; after `write_timeout_s` their memory is
    released.
    """
    asked = pb.ModelInferRequest(model_name="quadrants", raw_input_contents=[toys.dot(0).tobytes() * 64])
    asked.inputs.add(name="image", datatype="UINT8", shape=[64, 28, 28])
    asked.parameters["explain"].bool_param = True
    content = asked.SerializeToString()
    with ExitStack() as stack:
        opened = [
            stack.enter_context(connect(target.port, setting(INITIAL_WINDOW_SIZE, 0), is_read=False))
            for _ in range(20)
        ]
        for connection in opened:
            connection.sendall(begin("ModelInfer", 1) + message(content, 1))

        check_others(target, 0.5, lambda: True)
        for connection in opened:
            connection.settimeout(PATIENCE_S)
            with suppress(ConnectionResetError):
                while connection.recv(65_536):
                    pass


def test_idle_connections_do_not_block_new_clients(target: Target) -> None:
    """
    600 connections, more than the limit; the oldest are closed, the new client's is not.
    """
    with ExitStack() as stack:
        for _ in range(600):
            stack.enter_context(connect(target.port, is_read=False))

        with grpc.insecure_channel(
            f"127.0.0.1:{target.port}", options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            grpc.channel_ready_future(channel).result(timeout=PATIENCE_S)
            assert Target(target.process, target.port, channel).is_live()
            wait_until(lambda: connections(target.port, target.process.handle.pid) <= 512)
        target.predict()
