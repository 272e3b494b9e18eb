"""`service/http/body_reader.py`: how large a body may be, and how long it may take to arrive."""

import asyncio
import tracemalloc
import zlib
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request
from starlette.testclient import TestClient
from starlette.types import Message

from service.core.errors import BodyTimeout, PayloadTooLarge, TooManyBytes, UnsupportedMediaType
from service.http.body_reader import BodyForm, BodyLimits, reader_of
from service.http.exchange import Exchange
from service.inference import costs
from service.inference.budget import Budget
from tests import toys
from tests.examples import examples
from tests.service.http.bodies import PREDICT, compressed, problem
from tests.service.http.running import chunk


def limits(max_bytes: int, max_pending_bytes: int, timeout_s: float = 10) -> BodyLimits:
    """Limits with a budget for so many bytes of bodies, of a type that costs twice its size."""
    return BodyLimits(Budget(2 * max_pending_bytes), max_bytes, timeout_s)


SCOPE = {"type": "http", "method": "POST", "path": "/"}


LIMITS = limits(100, 100_000)
OCTETS = {"content-type": "application/octet-stream"}


class Body:
    """A body that arrives in parts, and how many of them were taken."""

    def __init__(self, *arriving: Message) -> None:
        self._arriving = list(arriving)
        self.taken = 0
        self.exchange = Exchange("1")

    async def receive(self) -> Message:
        if self.taken == len(self._arriving):
            await asyncio.Event().wait()
        self.taken += 1
        return self._arriving[self.taken - 1]

    def read(self, bounds: BodyLimits = LIMITS, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
        scope = {**SCOPE, "headers": list(headers), "exchange": self.exchange}

        async def enter() -> bytes:
            async with bounds.read(Request(scope, self.receive)) as body:
                return body

        return asyncio.run(enter())


@examples(50)
@given(parts=st.lists(st.binary(max_size=60), min_size=1, max_size=5))
def test_a_body_is_all_its_parts_or_too_large(parts: list[bytes]) -> None:
    """
    The limit itself is inside; what came is counted for the log.
    """
    whole = b"".join(parts)
    body = Body(*[chunk(part, more=index + 1 < len(parts)) for index, part in enumerate(parts)])

    if len(whole) > 100:
        with pytest.raises(PayloadTooLarge, match=r"^Body should be at most 100 bytes; got more.$"):
            body.read()
        assert not body.exchange.body_read
    else:
        assert body.read() == whole
        assert body.exchange.received == len(whole)
        assert body.exchange.body_read


def test_a_body_that_declares_itself_too_large_is_refused_unread() -> None:
    """
    Not one part of it is taken.
    """
    body = Body(chunk(b"x"))

    with pytest.raises(PayloadTooLarge, match=r"^Body should be at most 100 bytes; got 101.$"):
        body.read(headers=[(b"content-length", b"101")])

    assert body.taken == 0


def test_nothing_is_taken_after_the_limit_is_passed() -> None:
    """
    The rest of an endless body stays where it is.
    """
    body = Body(chunk(bytes(60)), chunk(bytes(60)), chunk(bytes(60)))

    with pytest.raises(PayloadTooLarge):
        body.read()

    assert body.taken == 2


@pytest.mark.parametrize("length", [b"", b"-1", b"x", b"1e3", "²".encode(), b"100", b"0" * 30 + b"5"])
def test_a_length_that_says_nothing_useful_is_passed_over(length: bytes) -> None:
    """
    What arrives is counted in any case.
    """
    assert Body(chunk(b"hello", more=False)).read(headers=[(b"content-length", length)]) == b"hello"


def test_a_length_of_a_thousand_digits_is_too_large() -> None:
    """
    And does no harm in the message.
    """
    with pytest.raises(PayloadTooLarge) as caught:
        Body().read(headers=[(b"content-length", b"9" * 1000)])

    assert len(str(caught.value)) < 100


def test_a_body_that_does_not_arrive_in_time_is_given_up() -> None:
    """
    The message says how much of it came.
    """
    body = Body(chunk(bytes(7)))

    with pytest.raises(BodyTimeout, match=r"^Body should arrive within 0\.1 seconds; got 7 bytes of it\.$"):
        body.read(limits(100, 1000, 0.1))


def test_a_caller_who_leaves_is_told_apart_from_one_who_is_slow() -> None:
    """
    Half a body is never taken for a whole one.
    """
    with pytest.raises(ClientDisconnect):
        Body(chunk(b"half"), {"type": "http.disconnect"}).read()


@pytest.mark.parametrize("encoding", [b"br", b"gzip, identity", b"", b"x" * 1000])
def test_a_body_compressed_otherwise_is_of_an_unknown_kind(encoding: bytes) -> None:
    """
    It is refused before it is read, with what would be taken.
    """
    body = Body(chunk(b"x", more=False))

    with pytest.raises(
        UnsupportedMediaType, match=r"^Content-Encoding should be one of gzip, deflate, identity; got "
    ):
        body.read(headers=[(b"content-encoding", encoding)])

    assert body.taken == 0


@pytest.mark.parametrize("encoding", [b"identity", b" IDENTITY "])
def test_identity_is_no_compression(encoding: bytes) -> None:
    """
    Some clients say so.
    """
    body = Body(chunk(b"x", more=False))

    assert body.read(headers=[(b"content-encoding", encoding)]) == b"x"


def test_a_declared_body_over_the_limit_gets_a_413(client: TestClient) -> None:
    """
    Through the whole service.
    """
    answer = client.post(PREDICT, content=bytes(200_001), headers=OCTETS)

    assert problem(answer, 413, "payload-too-large") == "Body should be at most 200,000 bytes; got 200,001."


def test_a_streamed_body_over_the_limit_gets_a_413(client: TestClient) -> None:
    """
    Without a Content-Length nobody knows before it is there.
    """

    def parts() -> Iterator[bytes]:
        for _ in range(5):
            yield bytes(50_000)

    answer = client.post(PREDICT, content=parts(), headers=OCTETS)

    assert problem(answer, 413, "payload-too-large") == "Body should be at most 200,000 bytes; got more."
    assert "content-length" not in answer.request.headers


def test_bodies_that_are_too_much_together_are_turned_away() -> None:
    """
    What one holds is taken from all, and given back when it is answered.
    """
    bounds = limits(100, 150)

    async def enter(size: int) -> int:
        body = Body(chunk(bytes(size), more=False))
        scope = {**SCOPE, "headers": [], "exchange": body.exchange}
        async with bounds.read(Request(scope, body.receive)) as content:
            if size < 100:
                return len(content)
            with pytest.raises(TooManyBytes, match=r"at most 300 bytes together"):
                await enter(60)
            return await enter(50)

    assert asyncio.run(enter(100)) == 50
    assert asyncio.run(enter(99)) == 99


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_what_a_compressed_body_holds_is_what_counts(coding: str) -> None:
    """
    100 zeros are taken, 101 are too many, however few bytes they came in; the log has those that came.
    """
    headers = [(b"content-encoding", coding.encode())]
    fitting, large = (compressed(bytes(size), coding) for size in (100, 101))
    body = Body(chunk(fitting, more=False))

    assert body.read(headers=headers) == bytes(100)
    assert body.exchange.received == len(fitting) < 40
    assert body.exchange.body_read
    with pytest.raises(PayloadTooLarge, match=r"^Body should be at most 100 bytes; got more.$"):
        Body(chunk(large, more=False)).read(headers=headers)


def test_all_bodies_together_count_by_what_they_hold() -> None:
    """
    And no longer once they have been answered; unpacking one takes some memory, too.
    """
    bounds = limits(10_000, 1000 + costs.CODED_BYTES // 2)
    headers = [(b"content-encoding", b"gzip")]
    bounds.budget.acquire(1000)
    for _ in range(3):
        with pytest.raises(TooManyBytes):
            Body(chunk(compressed(bytes(501), "gzip"), more=False)).read(bounds, headers)

    assert len(Body(chunk(compressed(bytes(500), "gzip"), more=False)).read(bounds, headers)) == 500
    assert bounds.budget.used == 1000


def test_a_bomb_is_not_unpacked_beyond_the_limit() -> None:
    """
    A gigabyte in a megabyte: what is held of it stays near the limit.
    """
    bounds = limits(1_000_000, 10_000_000, 60)
    layer = zlib.compressobj(9, wbits=31)
    begun, block = (layer.compress(bytes(2**24)) + layer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    bomb = begun + 63 * block  # a full flush forgets what came before, so that a block may be repeated
    assert len(bomb) > 900_000
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLarge):
            Body(chunk(bomb[:900_000])).read(bounds, [(b"content-encoding", b"gzip")])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 8_000_000


def test_a_body_in_very_many_pieces_takes_hardly_more_than_its_size() -> None:
    """
    Each piece by itself would take some sixty bytes.
    """
    size = 100_000
    messages = iter([chunk(b"a", more=True)] * (size - 1) + [chunk(b"a", more=False)])

    async def receive() -> Message:
        return next(messages)

    async def enter() -> bytes:
        scope = {**SCOPE, "headers": [], "exchange": Exchange("1")}
        async with limits(10**6, 10**6).read(Request(scope, receive)) as body:
            return body

    tracemalloc.start()
    try:
        assert asyncio.run(enter()) == b"a" * size
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 5 * size


def test_a_stream_that_holds_nothing_is_too_large_too() -> None:
    """
    Empty blocks without end make no body, but they come.
    """
    packer = zlib.compressobj()
    empty = packer.flush(zlib.Z_FULL_FLUSH)
    parts = [chunk(empty)] + [chunk(packer.flush(zlib.Z_FULL_FLUSH) or empty[2:]) for _ in range(100)]

    with pytest.raises(PayloadTooLarge):
        Body(*parts).read(headers=[(b"content-encoding", b"deflate")])


@pytest.mark.parametrize("sizes", [[1, 20_000, 1, 1, 20_000, 20_000], [20_000, 1], [1, 1], [40_000] * 3])
def test_pieces_of_any_size_are_put_together_in_order(sizes: list[int]) -> None:
    parts = [bytes([number]) * size for number, size in enumerate(sizes)]
    arriving = [chunk(part, more=index + 1 < len(parts)) for index, part in enumerate(parts)]

    assert Body(*arriving).read(limits(10**6, 10**6)) == b"".join(parts)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_compressed_prediction_is_answered_as_any_other(client: TestClient, coding: str) -> None:
    """
    On every route that takes a body.
    """
    content = toys.dot(1).tobytes()
    headers = OCTETS | {"content-encoding": coding}

    answer = client.post(PREDICT, content=compressed(content, coding), headers=headers)
    cut = client.post(PREDICT, content=compressed(content, coding)[:-3], headers=headers)

    assert answer.json() == client.post(PREDICT, content=content, headers=OCTETS).json()
    expected = f"Body should be one whole stream of {coding}, as Content-Encoding says; got its beginning."
    assert problem(cut, 400, "malformed-request") == expected


def test_large_bodies_of_one_client_leave_room_for_others() -> None:
    """
    Small ones are not counted, and nothing is left when the readers are released.
    """
    bounds = limits(1_000_000, 1_000_000)
    form = BodyForm.of("/", {b"content-type": b"application/octet-stream"}, None)
    first, second, other = (reader_of(bounds, form, client) for client in ("a", "a", "b"))
    first.push(bytes(700_000))
    second.push(bytes(30_000))

    with pytest.raises(TooManyBytes):
        second.push(bytes(30_000))

    other.push(bytes(200_000))
    for reader in (first, second, other):
        reader.release()
    assert bounds.budget.used == len(bounds.shares) == 0
