"""`service/http/server/connection_table.py`: limits, and the order of eviction."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from service.http.server.connection_table import RESERVED, ConnectionTable, Slot, TooManyConnections
from tests.service.http.server.fakes import run, until


@dataclass(eq=False)
class Peer:
    """A connection as the table sees it."""

    accepted: float = 0.0
    idle: bool = True
    evictable: bool = True
    unread: bool = False
    evicted: int = 0
    checked: list[float] = field(default_factory=list)

    def is_idle(self) -> bool:
        return self.idle

    def idle_s(self, now: float) -> float:
        return now if self.idle else 0.0

    def has_unread(self) -> bool:
        return self.unread

    def is_evictable(self) -> bool:
        return self.evictable

    def check(self, now: float) -> None:
        self.checked.append(now)

    def evict(self) -> None:
        self.evicted += 1


@dataclass
class Table:
    """A table, and the connections in it."""

    table: ConnectionTable
    slots: list[Slot] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)

    def open(
        self, client: str, *, idle: bool = True, evictable: bool = True, is_exempt: bool = False
    ) -> Slot:
        slot = self.table.acquire(client, is_exempt)
        peer = Peer(float(len(self.peers)), idle, evictable)
        slot.connection = peer
        self.slots.append(slot)
        self.peers.append(peer)
        return slot

    def busy(self, client: str, count: int, *, is_exempt: bool = False) -> None:
        """Open connections that are being answered."""
        for _ in range(count):
            self.open(client, idle=False, evictable=False, is_exempt=is_exempt)

    def evicted(self) -> list[int]:
        """Return the numbers of those that had to give way."""
        return [number for number, peer in enumerate(self.peers) if peer.evicted]


def with_table(test: Callable[[Table], None], most: int = 4, per_client: int = 4) -> None:
    """Run a test of a table in an event loop."""

    async def inside() -> None:
        made = Table(ConnectionTable(most, per_client, 1))
        test(made)
        for slot in made.slots:
            made.table.release(slot)
        assert len(made.table) == 0
        assert not made.table.per_client()

    run(inside())


def test_oldest_idle_connection_is_evicted() -> None:
    """For other clients, and for its own."""

    def test(table: Table) -> None:
        table.open("a", idle=False)
        for _ in range(3):
            table.open("a")
        table.open("b")
        assert table.evicted() == [1]
        assert len(table.table) == 4

    with_table(test)


def test_client_with_most_connections_loses_one() -> None:
    """Not the oldest connection of all."""

    def test(table: Table) -> None:
        for client in ("a", "b", "b", "b"):
            table.open(client)
        table.open("c")
        assert table.evicted() == [1]
        assert table.table.per_client() == {"a": 1, "b": 2, "c": 1}

    with_table(test)


def test_sending_connection_is_evicted_for_a_client_with_fewer() -> None:
    """For its own client, a reserved slot is acquired instead."""

    def test(table: Table) -> None:
        for _ in range(4):
            table.open("a", idle=False)
        assert table.open("a", idle=False).is_reserved
        assert table.evicted() == []
        assert not table.open("b").is_reserved
        assert table.evicted() == [0]

    with_table(test, per_client=9)


def test_reserved_slot_is_not_evicted_for_others() -> None:
    """Else it would be replaced by a normal slot, and the table would grow."""

    def test(table: Table) -> None:
        table.busy("a", 4)
        for number in range(10):
            assert table.open(f"client {number}").is_reserved
        assert len(table.table) == 14
        assert table.evicted() == []

    with_table(test)


def test_connection_with_unread_input_is_not_evicted() -> None:
    """The next oldest is."""

    def test(table: Table) -> None:
        for _ in range(4):
            table.open("a")
        table.peers[0].unread = True
        table.open("b")
        assert table.evicted() == [1]

    with_table(test)


def test_connection_being_answered_is_not_evicted() -> None:
    """New connections get reserved slots while there are any. Old reserved slots are evicted in any state."""

    def test(table: Table) -> None:
        table.busy("a", 4)
        for number in range(RESERVED):
            assert table.open(f"client {number}", idle=False).is_reserved
        assert table.open("late", idle=False).is_reserved
        assert table.evicted() == [4]
        for peer in table.peers:
            peer.evictable = False
            peer.accepted = time.perf_counter() + 60
        with pytest.raises(TooManyConnections, match=r"^Connections should be at most 4; "):
            table.open("later")
        table.table.release(table.slots[0])
        assert not table.open("later").is_reserved

    with_table(test)


def test_limit_for_each_client() -> None:
    """Its own idle connections are evicted. Exempt clients have no limit."""

    def test(table: Table) -> None:
        table.busy("a", 2)
        with pytest.raises(TooManyConnections, match=r"^Connections of one client should be at most 2; "):
            table.open("a")
        table.open("a", is_exempt=True)
        table.open("a")
        assert table.evicted() == [2]
        table.open("b")

    with_table(test, per_client=2)


def test_slot_is_released_once() -> None:
    """An evicted connection closes later, when its slot has another connection."""

    def test(table: Table) -> None:
        slot = table.open("a")
        table.table.release(slot)
        table.table.release(slot)
        assert len(table.table) == 0
        reserved = table.table.acquire("a")
        reserved.is_reserved = True
        table.table._reserved += 1
        table.table.release(reserved)
        table.table.release(reserved)
        assert table.table._reserved == 0

    with_table(test)


def test_slot_without_a_connection_is_not_evicted() -> None:
    def test(table: Table) -> None:
        slots = [table.table.acquire("a") for _ in range(4)]
        assert table.table.acquire("b").is_reserved
        assert table.table.all() == []
        for slot in [*slots, *table.table._slots]:
            table.table.release(slot)

    with_table(test)


def test_sweep_checks_all_connections() -> None:
    """While there are any, and after a check has failed."""

    class Broken(Peer):
        def check(self, now: float) -> None:
            super().check(now)
            raise ZeroDivisionError

    async def test() -> None:
        table = ConnectionTable(4, 4, 0.02)
        slot = table.acquire("a")
        broken = Broken()
        slot.connection = broken
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        await until(lambda: len(broken.checked) > 2)
        table.release(slot)
        await until(lambda: table._timer is None)
        seen = len(broken.checked)
        again = table.acquire("a")
        peer = Peer()
        again.connection = peer
        await until(lambda: peer.checked)
        assert len(broken.checked) == seen
        table.release(again)

    run(test())
