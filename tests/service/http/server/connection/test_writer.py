"""`service/http/server/connection/writer.py`: unsent bytes are counted, and have a minimum rate."""

import asyncio
from time import perf_counter
from typing import cast

import pytest

from service.http.server.connection.writer import SEND_BYTES, Writer
from service.memory.budget import Budget
from tests.service.http.server.fakes import run, turns
from tests.service.http.server.transports import Transport


class Told(asyncio.Protocol):
    """Hands flow control on to a writer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def pause_writing(self) -> None:
        self._writer.pause()

    def resume_writing(self) -> None:
        self._writer.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        assert exc is None
        self._writer.resume()


@pytest.fixture
def budget() -> Budget:
    return Budget(1000)


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
def writer(transport: Transport, budget: Budget) -> Writer:
    made = Writer(transport, budget)
    transport.protocol = cast("asyncio.Protocol", Told(made))
    return made


def test_bytes_sent_at_once_are_not_counted(writer: Writer, transport: Transport, budget: Budget) -> None:
    writer.write(b"abc")

    assert (transport.received, budget.used, writer.is_paused) == (b"abc", 0, False)


def test_unsent_bytes_are_counted_until_sent(writer: Writer, transport: Transport, budget: Budget) -> None:
    """Above the limit too: they are in memory already."""
    transport.accepts = False
    writer.write(bytes(5000))
    writer.write(bytes(1000))
    assert (budget.used, writer.is_paused) == (6000, True)

    transport.read()

    assert (budget.used, writer.is_paused, len(transport.received)) == (0, False, 6000)


def test_nothing_is_written_after_close(writer: Writer, transport: Transport, budget: Budget) -> None:
    transport._is_closing = True

    writer.write(b"abc")

    assert (transport.received, budget.used) == (b"", 0)


def too_slow(writer: Writer, after_s: float, rate: int = 10) -> bool:
    return writer.is_too_slow(perf_counter() + after_s, 10, rate)


def test_client_that_reads_nothing_is_too_slow(writer: Writer, transport: Transport) -> None:
    """Also with a minimum rate of 0."""
    transport.accepts = False
    writer.write(bytes(5000))

    assert not too_slow(writer, 9)
    assert too_slow(writer, 11)
    assert too_slow(writer, 11, rate=0)


def test_minimum_rate_is_measured_per_interval(writer: Writer, transport: Transport, budget: Budget) -> None:
    transport.accepts = False
    writer.write(bytes(5000))
    transport.read(200)

    assert not too_slow(writer, 11)
    assert budget.used == 4800
    assert not too_slow(writer, 20)
    assert too_slow(writer, 22)


def test_client_below_the_minimum_rate_is_too_slow(writer: Writer, transport: Transport) -> None:
    transport.accepts = False
    writer.write(bytes(5000))
    transport.read(99)

    assert too_slow(writer, 10.01)
    assert not too_slow(writer, 10.01, rate=1)


def test_added_output_does_not_lower_the_rate(writer: Writer, transport: Transport) -> None:
    """An unsent head, and a large first part of the body after it."""
    transport.accepts = False
    writer.write(bytes(100))
    writer.write(bytes(60_000))
    transport.read(50_000)

    assert not too_slow(writer, 11)


def test_client_that_has_read_everything_is_not_slow(writer: Writer) -> None:
    assert not too_slow(writer, 1000)


def test_large_body_is_written_in_parts(writer: Writer, transport: Transport, budget: Budget) -> None:
    """One part is in memory at a time."""
    data = bytes(range(256)) * 1024

    async def write() -> None:
        transport.accepts = False
        task = asyncio.ensure_future(writer.write_slowly(data))
        for _ in range(len(data) // SEND_BYTES):
            await turns()
            assert budget.used == len(transport.unsent) == SEND_BYTES
            assert not task.done()
            transport.read()
        await task

    run(write())
    assert transport.received == data
    assert budget.used == 0


def test_writing_ends_with_the_connection(writer: Writer, transport: Transport, budget: Budget) -> None:
    """A client that disconnects does not block the response."""

    async def write() -> None:
        transport.accepts = False
        task = asyncio.ensure_future(writer.write_slowly(bytes(10 * SEND_BYTES)))
        await turns()
        transport.abort()
        await task

    run(write())
    assert budget.used == 0
    assert transport.received == b""
