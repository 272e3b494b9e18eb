"""Chunked bodies in tiny pieces do not delay other requests.

Promised: a body whose chunk framing is larger than the body itself by more than a head may be is refused with
400 `too-many-pieces` as soon as that is so, and the connection closes. Meanwhile others run in between.

Not promised: that one-byte chunks which stay below that bound are as cheap as one large chunk.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from service.app import create_app
from service.settings import Settings
from tests import toys
from tests.processes import Process, running
from tests.security.client import connect, read_response, repeating
from tests.security.conftest import Record
from tests.security.in_process import Server, parse

CHUNKS = b"1\r\n\0\r\n" * (784 * 1000)
HEAD = (
    b"POST /v1/models/quadrants/predict HTTP/1.1\r\nHost: test\r\n"
    b"Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
PREDICT = (
    b"POST /v1/models/quadrants/predict HTTP/1.1\r\nHost: test\r\nContent-Length: 784\r\n"
    b"Content-Type: application/octet-stream\r\n\r\n" + toys.dot(1).tobytes()
)
LIMIT = 32_768  # the setting `max_head_bytes`
CHUNK_BYTES = 6
MOST_CHUNKS = LIMIT // 4
"""One-byte chunks have five bytes of framing each; so many have a head's size more of it than of the body."""
SLICE_BYTES = 4096

BEFORE_S = 0.45
"""Others' median beside four such clients, before there was a bound."""


@pytest.fixture(scope="module")
def process(toy_root: Path) -> Iterator[Process]:
    with running(toy_root, "--max-body-bytes", str(16 * 2**20)) as process:
        yield process


def test_body_in_tiny_chunks_is_refused(toy_settings: Settings, figure: Record) -> None:
    """
    After a bounded number of bytes, however they are split into packets.
    """
    app = create_app(toy_settings)

    async def run(step: int) -> tuple[int, bytes]:
        connection, peer = Server(app.dispatch, app.request_log, max_head_bytes=LIMIT).connect()
        connection.data_received(HEAD)
        sent = 0
        while not peer.written and sent < len(CHUNKS):
            while not peer.reads:
                await asyncio.sleep(0)
            connection.data_received(CHUNKS[sent : sent + step])
            sent += step
        connection.connection_lost(None)
        return sent, peer.written

    for step in (1, 7, 1000):
        sent, written = asyncio.run(run(step))
        ((status, body),) = parse(written)
        assert status == 400
        assert json.loads(body)["type"] == "/problems/too-many-pieces"
        assert CHUNK_BYTES * MOST_CHUNKS <= sent <= CHUNK_BYTES * (MOST_CHUNKS + 2) + SLICE_BYTES
        figure(f"bytes before the refusal, {step} at a time", sent, len(CHUNKS))


def median(process: Process, count: int) -> float:
    """Return the median duration of a prediction in seconds, on a kept-alive connection."""
    seconds = []
    with connect(process.port) as connection:
        for _ in range(count):
            began = time.perf_counter()
            connection.sendall(PREDICT)
            status, _, _ = read_response(connection)
            assert status == 200
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def send_tiny_chunks(process: Process) -> None:
    """Send a body in one-byte chunks until it is refused."""
    with connect(process.port) as connection:
        with suppress(ConnectionError):
            connection.sendall(HEAD + CHUNKS)
        with suppress(ConnectionError):
            status, _, body = read_response(connection)
            assert status == 400
            assert b"too-many-pieces" in body


def check_others(process: Process, count: int, figure: Record) -> None:
    alone = median(process, count)
    with repeating([lambda: send_tiny_chunks(process)] * 4) as rounds:
        beside = median(process, count)
    figure("median of others, alone", f"{alone * 1000:.1f} ms")
    figure("median of others, beside four such clients", f"{beside * 1000:.1f} ms", "450 ms before")
    figure("ratio", f"{beside / alone:.1f}")
    figure("bodies refused meanwhile", sum(rounds))
    assert sum(rounds) > 0
    assert beside < BEFORE_S + 10 * alone


def test_tiny_chunks_do_not_delay_other_predictions(process: Process, figure: Record) -> None:
    """
    Four clients repeatedly send 784 KB in one-byte chunks.
    """
    check_others(process, 100, figure)


@pytest.mark.torture
def test_many_tiny_chunks_do_not_delay_other_predictions(process: Process, figure: Record) -> None:
    """
    The same for longer.
    """
    check_others(process, 1000, figure)
