import os
from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.inference.admission.buckets import BucketTable
from service.inference.admission.rates import NS, Rate, RateLimits, parse
from tests.processes import python
from tests.service.inference.admission.conftest import Clock

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no processes of this kind")


def test_requests_beyond_the_burst_are_refused_until_time_passes(clock: Clock) -> None:
    """A refused request takes no tokens."""
    table, limits = BucketTable(clock=clock), RateLimits(parse("10/s", 3))
    client = table.identity(b"key", b"app")

    granted = [not table.spend(client, limits, 1, None).refused for _ in range(5)]
    clock.now += NS // 10
    later = [table.spend(client, limits, 1, None).refused for _ in range(2)]

    assert granted == [True, True, True, False, False]
    assert later == ["", "requests"]


def test_clients_do_not_share_buckets(clock: Clock) -> None:
    """Nor do a key and an address of the same name."""
    table, limits = BucketTable(clock=clock), RateLimits(parse("1/s"))
    clients = [table.identity(b"key", b"a"), table.identity(b"key", b"b"), table.identity(b"address", b"a")]

    for _ in range(2):
        refused = [table.spend(client, limits, 1, None).refused for client in clients]

    assert len(set(clients)) == 3
    assert refused == ["requests"] * 3
    assert not table.spend(table.identity(b"key", b"c"), limits, 1, None).refused


def test_one_empty_bucket_leaves_the_other_as_it_was(clock: Clock) -> None:
    """Tokens are taken from both buckets or from none."""
    table, limits = BucketTable(clock=clock), RateLimits(parse("1/s", 10), parse("1/s", 5))
    client = table.identity(b"key", b"app")
    table.spend(client, limits, None, 5)

    refused = table.spend(client, limits, 1, 1)
    after = table.spend(client, limits, 0, None)

    assert refused.refused == "images"
    assert limits.requests is not None
    assert limits.requests.left(after.requests_full_at, after.now) == 10


def test_a_check_takes_no_tokens_and_no_slot(clock: Clock) -> None:
    table, limits = BucketTable(8, clock=clock), RateLimits(parse("1/s"), parse("1/s"))

    for number in range(100):
        assert not table.spend(table.identity(b"key", b"%d" % number), limits, 0, 0).refused

    assert table._memory[:] == bytes(8 * 32)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, NS)), max_size=100))
@settings(max_examples=50)
def test_clients_that_fit_are_counted_exactly(spent: list[tuple[int, int]]) -> None:
    """Each as with a table of its own, though all share one group of slots."""
    clock, rate = Clock(), Rate.of(Fraction(2), 3)
    table = BucketTable(8, clock=clock)
    alone = [0] * 6
    for number, ns in spent:
        clock.now += ns
        expected = rate.spend(alone[number], clock.now, 1)
        alone[number] = alone[number] if expected is None else expected

        found = table.spend(table.identity(b"key", b"%d" % number), RateLimits(rate), 1, None)

        assert bool(found.refused) == (expected is None)


def test_a_flood_of_clients_takes_no_more_memory(clock: Clock) -> None:
    """The table keeps its size, and every new client is counted."""
    table, limits = BucketTable(64, clock=clock), RateLimits(parse("1/s"))

    for number in range(10_000):
        client = table.identity(b"address", b"%d" % number)
        assert not table.spend(client, limits, 1, None).refused
        assert table.spend(client, limits, 1, None).refused

    assert len(table._memory) == 64 * 32


def test_a_full_group_evicts_the_client_that_is_full_first(clock: Clock) -> None:
    """A client with a deep debt stays refused while others come and go."""
    table = BucketTable(8, clock=clock)
    slow, quick = RateLimits(parse("1/h")), RateLimits(parse("1/s"))
    debtor = table.identity(b"key", b"debtor")
    table.spend(debtor, slow, 1, None)

    for number in range(1000):
        table.spend(table.identity(b"address", b"%d" % number), quick, 1, None)

    assert table.spend(debtor, slow, 1, None).refused == "requests"


def test_a_slot_is_reused_when_its_buckets_are_full(clock: Clock) -> None:
    """Before a client whose buckets are not full is evicted."""
    table, limits = BucketTable(8, clock=clock), RateLimits(parse("1/s"))
    names = [b"%d" % number for number in range(16)]
    for name in names[:8]:
        table.spend(table.identity(b"key", name), limits, 1, None)
    clock.now += NS

    for name in names[8:]:
        table.spend(table.identity(b"key", name), limits, 1, None)

    assert all(table.spend(table.identity(b"key", name), limits, 1, None).refused for name in names[8:])


def test_a_torn_slot_does_not_refuse_for_long(clock: Clock) -> None:
    """An impossible state counts as the deepest debt; in the slot of another client, it is free."""
    table, limits = BucketTable(8, clock=clock), RateLimits(parse("1/s", 2))
    client = table.identity(b"key", b"app")
    table.spend(client, limits, 1, None)
    for slot in range(8):
        table._memory[32 * slot + 16 : 32 * slot + 32] = b"\xff\xff\xff\xff\xff\xff\xff\x7f" * 2

    found = table.spend(client, limits, 1, None)
    clock.now += 3 * NS
    later = table.spend(client, limits, 1, None)
    other = [table.spend(table.identity(b"key", b"b"), limits, 1, None).refused for _ in range(3)]

    assert found.requests_full_at == found.now + 4 * NS
    assert (found.refused, later.refused) == ("requests", "")
    assert other == ["", "", "requests"]


def test_a_lower_rate_does_not_inherit_a_longer_debt(clock: Clock) -> None:
    """After a reload, a client waits no longer than its new rate allows."""
    table, client = BucketTable(clock=clock), b"0" * 16
    table.spend(client, RateLimits(parse("1/h", 20)), 20, None)
    limits = RateLimits(parse("10/s"))

    refused = [bool(table.spend(client, limits, 1, None).refused)]
    clock.now += 2 * NS - 1
    refused += [bool(table.spend(client, limits, 1, None).refused)]

    assert refused == [True, False]


def _tables() -> Iterator[BucketTable]:
    yield BucketTable()
    if hasattr(os, "fork"):
        yield BucketTable(is_shared=True)


def test_identities_differ_between_starts() -> None:
    """So clients cannot choose addresses that share a group with another client."""
    first, second = (table.identity(b"address", b"1") for table in (BucketTable(), BucketTable()))

    assert first != second
    assert len(first) == 16


_BEGINNING = """
import os, signal
from service.inference.admission.buckets import BucketTable
from service.inference.admission.rates import RateLimits, parse

reader, writer = os.pipe()

def stop_with_the_lock(table):
    pid = os.fork()
    if not pid:
        assert table._processes.acquire(0)
        os.write(writer, b"locked")
        signal.pause()
    os.read(reader, 6)
    return pid
"""

_TOGETHER = """
table = BucketTable(is_shared=True, patience_s=60)
limits = RateLimits(parse("1000/d"), parse("2000/d"))
client = table.identity(b"key", b"app")
pids = []
for process in range(4):
    pid = os.fork()
    if not pid:
        granted = sum(not table.spend(client, limits, 1, 1).refused for _ in range(600))
        os.write(writer, b"%d\\n" % granted)
        os._exit(0)
    pids.append(pid)
for pid in pids:
    os.waitpid(pid, 0)
print(sum(map(int, os.read(reader, 4096).split())))
"""

_KILLED = """
table = BucketTable(8, is_shared=True, patience_s=60)
limits = RateLimits(parse("1000/d"))
client = table.identity(b"key", b"app")
pid = stop_with_the_lock(table)
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
print(repr(table.spend(client, limits, 1, None).refused))
"""

_STOPPED = """
table = BucketTable(8, is_shared=True, patience_s=0.01)
limits = RateLimits(parse("2/d"))
client = table.identity(b"key", b"app")
pid = stop_with_the_lock(table)
os.kill(pid, signal.SIGSTOP)
print([table.spend(client, limits, 1, None).refused for _ in range(3)])
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
"""


@needs_fork
@pytest.mark.parametrize(
    ("script", "output"),
    [(_TOGETHER, "1000"), (_KILLED, "''"), (_STOPPED, "['', '', 'requests']")],
    ids=["together", "killed", "stopped"],
)
def test_processes_share_one_limit(script: str, output: str) -> None:
    """
    Four that send at once get exactly the burst. One killed with the lock does not leave it locked, and one
    stopped with it does not block the others.
    """
    done = python("-c", _BEGINNING + script)

    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", output)


@needs_fork
def test_a_shared_table_counts_as_a_private_one() -> None:
    limits = RateLimits(parse("5/d"))
    for table in _tables():
        client = table.identity(b"key", b"app")

        refused = [table.spend(client, limits, 1, None).refused for _ in range(7)]

        assert refused == [""] * 5 + ["requests"] * 2
