"""`service/http/server/listener.py`: many connections per iteration, slots, exhausted descriptors, TLS."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from service.http.server import listener
from service.http.server.connection_table import RESERVED, ConnectionTable, Slot
from service.http.server.listener import Listener
from service.http.server.tls import Certificates
from tests.certificates import connect, make
from tests.service.http.running import PATIENCE_S


class Protocol(asyncio.Protocol):
    """Notes what happens to a connection, and sends what it got back."""

    def __init__(self, table: ConnectionTable, slot: Slot | None, refusal: str | None) -> None:
        self.slot = slot
        self.refusal = refusal
        self.accepted = 0.0
        self.transport: Any = None
        self.is_lost = False
        self._table = table

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self.slot is not None:
            self.slot.connection = self

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.is_lost = True
        if self.slot is not None:
            self._table.release(self.slot)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def is_idle(self) -> bool:
        return False

    def has_unread(self) -> bool:
        return False

    def is_evictable(self) -> bool:
        return False

    def idle_s(self, now: float) -> float:
        return now - now

    def check(self, now: float) -> None: ...

    def evict(self) -> None: ...


class Rig:
    """A listener on a free port."""

    def __init__(self, most: int, certificates: Certificates | None, **options: Any) -> None:  # noqa: ANN401
        self.table = ConnectionTable(most, most, 10)
        self.made: list[Protocol] = []
        self.errors: list[str] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.listener = Listener(
            self._create,
            self.table,
            handshake_timeout_s=PATIENCE_S,
            certificates=certificates,
            count_error=self.errors.append,
            **options,
        )
        self.listener.add(self.socket)

    def _create(self, slot: Slot | None, refusal: str | None) -> Protocol:
        self.made.append(Protocol(self.table, slot, refusal))
        return self.made[-1]

    def connect(self, count: int = 1) -> list[socket.socket]:
        return [socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) for _ in range(count)]

    async def end(self) -> None:
        await self.listener.close()
        for protocol in self.made:
            if protocol.transport is not None:
                protocol.transport.abort()
        await until(lambda: not len(self.table))


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not happened():
            await asyncio.sleep(0.005)


def with_listener(
    test: Callable[[Rig], Coroutine[Any, Any, None]],
    most: int = 200,
    certificates: Certificates | None = None,
    **options: Any,  # noqa: ANN401 - the listener's
) -> None:
    """Run a test in the event loop that the service has."""

    async def inside() -> None:
        made = Rig(most, certificates, **options)
        try:
            await test(made)
        finally:
            await made.end()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(inside())


def close(*opened: socket.socket) -> None:
    for one in opened:
        one.close()


def test_many_connections_are_accepted_per_iteration() -> None:
    async def test(made: Rig) -> None:
        opened = made.connect(40)
        turns = 0
        while len(made.made) < 40:
            await asyncio.sleep(0)
            turns += 1
        assert turns < 20
        assert len(made.table) == 40
        close(*opened)

    with_listener(test)


def test_connection_gets_its_slot() -> None:
    async def test(made: Rig) -> None:
        (one,) = made.connect()
        await until(lambda: made.made and made.made[0].transport)
        assert made.table.per_client() == {"127.0.0.1": 1}
        assert made.made[0].slot is not None
        assert made.made[0].refusal is None
        one.close()
        await until(lambda: not len(made.table))

    with_listener(test)


def test_connection_without_a_slot_gets_a_reason() -> None:
    async def test(made: Rig) -> None:
        opened = made.connect(2)
        await until(lambda: len(made.made) == 2)
        assert [one.refusal is None for one in made.made] == [True, False]
        assert "at most 1;" in str(made.made[1].refusal)
        close(*opened)

    with_listener(test, most=1)


def test_exempt_address_has_no_limit() -> None:
    async def test(made: Rig) -> None:
        opened = made.connect(3)
        await until(lambda: len(made.made) == 3)
        assert [one.refusal for one in made.made] == [None] * 3
        close(*opened)

    with_listener(test, most=1, is_exempt=lambda address: address == "127.0.0.1")


def test_queued_connections_are_accepted_at_close() -> None:
    """They may have sent a request. Later connections are refused by the kernel."""

    async def test(made: Rig) -> None:
        opened = made.connect(100)
        for one in opened:
            one.sendall(b"x")
        await made.listener.close()
        assert len(made.made) == 100
        assert all(one.transport is not None for one in made.made)
        with pytest.raises(ConnectionRefusedError):
            made.connect()
        close(*opened)

    with_listener(test)


def test_removed_socket_stays_open() -> None:
    """Another process may accept its connections."""

    async def test(made: Rig) -> None:
        made.listener.remove(made.socket)
        opened = made.connect()
        await asyncio.sleep(0.02)
        assert not made.made
        made.listener.add(made.socket)
        await until(lambda: made.made)
        close(*opened)

    with_listener(test)


class Failing:
    """A listening socket whose `accept` fails."""

    def __init__(self, own: socket.socket, *errors: int) -> None:
        self._own = own
        self._errors = list(errors)
        self.asked = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.asked += 1
        if self._errors:
            raise OSError(self._errors.pop(0), "reason")
        return self._own.accept()

    def __getattr__(self, name: str) -> object:
        return getattr(self._own, name)


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.EMFILE, "descriptors"), (errno.ENFILE, "descriptors"), (errno.EIO, "other")]
)
def test_exhausted_descriptors_pause_accepting(
    number: int, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is counted and logged, and the event loop does not spin."""
    monkeypatch.setattr(listener, "_PAUSE_S", 0.1)
    caplog.set_level(logging.ERROR, "service")

    async def test(made: Rig) -> None:
        made.listener.remove(made.socket)
        failing: Any = Failing(made.socket, number, number)
        made.listener.add(failing)
        opened = made.connect()
        await until(lambda: made.made)
        assert made.errors == [reason, reason]
        assert failing.asked < 6
        close(*opened)

    with_listener(test)
    assert [record.message for record in caplog.records] == ["connection not accepted"] * 2


def test_disconnect_before_accept_is_ignored() -> None:
    async def test(made: Rig) -> None:
        made.listener.remove(made.socket)
        failing: Any = Failing(made.socket, errno.ECONNABORTED, errno.EPROTO)
        made.listener.add(failing)
        opened = made.connect()
        await until(lambda: made.made)
        assert made.errors == []
        close(*opened)

    with_listener(test)


def test_failed_protocol_releases_its_slot() -> None:
    async def test(made: Rig) -> None:
        asked: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)

        def make(*arguments: object) -> Protocol:
            asked.append(arguments)
            raise ZeroDivisionError

        made.listener._create = make
        opened = made.connect()
        await until(lambda: asked and not made.listener._opening)
        assert len(made.table) == 0
        close(*opened)

    with_listener(test)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(*make(tmp_path_factory.mktemp("tls"), "one"))


def test_tls_connection(certificates: Certificates) -> None:
    async def test(made: Rig) -> None:
        def ask() -> bytes:
            with connect(made.port) as connection:
                connection.sendall(b"hello")
                return connection.recv(5)

        assert await asyncio.to_thread(ask) == b"hello"
        await until(lambda: not len(made.table))

    with_listener(test, certificates=certificates)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"])
def test_failed_handshake_releases_its_slot(certificates: Certificates, sent: bytes) -> None:
    """The client disconnects, or sends no TLS."""

    async def test(made: Rig) -> None:
        (one,) = made.connect()
        await until(lambda: len(made.table))
        one.sendall(sent)
        one.close()
        await until(lambda: not len(made.table))
        assert all(protocol.transport is None for protocol in made.made)

    with_listener(test, certificates=certificates)


def test_handshake_is_evicted_for_another_client(certificates: Certificates) -> None:
    """Else one address could hold all slots without sending a byte."""

    async def test(made: Rig) -> None:
        opened = made.connect(3)
        await until(lambda: len(made.table) == 3)
        other = made.table.acquire("192.0.2.9")
        assert not other.is_reserved
        await until(lambda: not made.listener._opening or len(made.listener._opening) == 2)
        assert opened[0].recv(1) == b""
        assert made.table.per_client() == {"127.0.0.1": 2, "192.0.2.9": 1}
        made.table.release(other)
        close(*opened)
        await until(lambda: not len(made.table))

    with_listener(test, most=3, certificates=certificates)


def test_tls_connection_without_a_slot_is_closed(certificates: Certificates) -> None:
    """A handshake only to refuse costs too much."""

    async def test(made: Rig) -> None:
        taken = [made.table.acquire(f"client {number}") for number in range(1 + RESERVED)]
        (one,) = made.connect()
        assert await asyncio.to_thread(one.recv, 1) == b""
        assert not made.made
        for slot in taken:
            made.table.release(slot)
        one.close()

    with_listener(test, most=1, certificates=certificates)


def test_close_does_not_wait_for_idle_handshakes(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_LAST_HANDSHAKES_S", 0.05)

    async def test(made: Rig) -> None:
        opened = made.connect(2)
        await until(lambda: len(made.listener._opening) == 2)
        async with asyncio.timeout(PATIENCE_S / 2):
            await made.listener.close()
        assert made.listener._opening
        close(*opened)
        await until(lambda: not made.listener._opening)

    with_listener(test, certificates=certificates)
