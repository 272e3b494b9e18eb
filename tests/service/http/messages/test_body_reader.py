"""`service/http/messages/body_reader.py`: size, time and memory limits, decompression."""

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
from service.http.messages.body_reader import BodyForm, BodyLimits, reader_of
from service.inference.request_context import RequestContext
from service.memory import costs
from service.memory.budget import Budget
from tests import toys
from tests.examples import examples
from tests.service.http.bodies import OCTETS, PREDICT, compressed, problem
from tests.service.http.running import chunk


def limits(max_bytes: int, max_pending_bytes: int, timeout_s: float = 10) -> BodyLimits:
    """Limits with a budget for so many bytes of bodies, of a type that costs twice its size."""
    return BodyLimits(Budget(2 * max_pending_bytes), max_bytes, timeout_s)


SCOPE = {"type": "http", "method": "POST", "path": "/"}


LIMITS = limits(100, 100_000)


class Body:
    """A body that arrives in parts, and how many of them were taken."""

    def __init__(self, *arriving: Message) -> None:
        self._arriving = list(arriving)
        self.taken = 0
        self.context = RequestContext("1")

    async def receive(self) -> Message:
        if self.taken == len(self._arriving):
            await asyncio.Event().wait()
        self.taken += 1
        return self._arriving[self.taken - 1]

    def read(self, bounds: BodyLimits = LIMITS, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
        scope = {**SCOPE, "headers": list(headers), "context": self.context}

        async def enter() -> bytes:
            async with bounds.read(Request(scope, self.receive)) as body:
                return body

        return asyncio.run(enter())


@examples(50)
@given(parts=st.lists(st.binary(max_size=60), min_size=1, max_size=5))
def test_a_body_is_joined_or_refused_as_too_large(parts: list[bytes]) -> None:
    """The limit itself is allowed; received bytes are counted for the log."""
    whole = b"".join(parts)
    body = Body(*[chunk(part, more=index + 1 < len(parts)) for index, part in enumerate(parts)])

    if len(whole) > 100:
        with pytest.raises(PayloadTooLarge, match=r"^Body should be at most 100 bytes; got more.$"):
            body.read()
        assert not body.context.body_read
    else:
        assert body.read() == whole
        assert body.context.received == len(whole)
        assert body.context.body_read


def test_a_too_large_declared_length_is_refused_before_reading() -> None:
    body = Body(chunk(b"x"))

    with pytest.raises(PayloadTooLarge, match=r"^Body should be at most 100 bytes; got 101.$"):
        body.read(headers=[(b"content-length", b"101")])

    assert body.taken == 0


def test_reading_stops_at_the_limit() -> None:
    body = Body(chunk(bytes(60)), chunk(bytes(60)), chunk(bytes(60)))

    with pytest.raises(PayloadTooLarge):
        body.read()

    assert body.taken == 2


@pytest.mark.parametrize("length", [b"", b"-1", b"x", b"1e3", "²".encode(), b"100", b"0" * 30 + b"5"])
def test_an_invalid_content_length_is_ignored(length: bytes) -> None:
    assert Body(chunk(b"hello", more=False)).read(headers=[(b"content-length", length)]) == b"hello"


def test_a_content_length_of_a_thousand_digits_is_refused() -> None:
    with pytest.raises(PayloadTooLarge) as caught:
        Body().read(headers=[(b"content-length", b"9" * 1000)])

    assert len(str(caught.value)) < 100


def test_a_slow_body_times_out() -> None:
    """The message has the number of bytes received."""
    body = Body(chunk(bytes(7)))

    with pytest.raises(BodyTimeout, match=r"^Body should arrive within 0\.1 seconds; got 7 bytes of it\.$"):
        body.read(limits(100, 1000, 0.1))


def test_a_disconnect_is_not_a_timeout() -> None:
    """An incomplete body is never used."""
    with pytest.raises(ClientDisconnect):
        Body(chunk(b"half"), {"type": "http.disconnect"}).read()


@pytest.mark.parametrize("encoding", [b"br", b"gzip, identity", b"", b"x" * 1000])
def test_an_unsupported_content_coding_is_refused_before_reading(encoding: bytes) -> None:
    body = Body(chunk(b"x", more=False))

    with pytest.raises(
        UnsupportedMediaType, match=r"^Content-Encoding should be one of gzip, deflate, identity; got "
    ):
        body.read(headers=[(b"content-encoding", encoding)])

    assert body.taken == 0


@pytest.mark.parametrize("encoding", [b"identity", b" IDENTITY "])
def test_content_coding_identity(encoding: bytes) -> None:
    body = Body(chunk(b"x", more=False))

    assert body.read(headers=[(b"content-encoding", encoding)]) == b"x"


def test_a_declared_body_over_the_limit_gets_a_413(client: TestClient) -> None:
    response = client.post(PREDICT, content=bytes(200_001), headers=OCTETS)

    assert problem(response, 413, "payload-too-large") == "Body should be at most 200,000 bytes; got 200,001."


def test_a_streamed_body_over_the_limit_gets_a_413(client: TestClient) -> None:

    def parts() -> Iterator[bytes]:
        for _ in range(5):
            yield bytes(50_000)

    response = client.post(PREDICT, content=parts(), headers=OCTETS)

    assert problem(response, 413, "payload-too-large") == "Body should be at most 200,000 bytes; got more."
    assert "content-length" not in response.request.headers


def test_bodies_beyond_the_memory_budget_are_refused() -> None:
    """The memory of a body is released after its response."""
    bounds = limits(100, 150)

    async def enter(size: int) -> int:
        body = Body(chunk(bytes(size), more=False))
        headers = [(b"content-type", b"application/octet-stream")]
        scope = {**SCOPE, "headers": headers, "context": body.context}
        async with bounds.read(Request(scope, body.receive)) as content:
            if size < 100:
                return len(content)
            with pytest.raises(TooManyBytes, match=r"at most 300 bytes together"):
                await enter(60)
            return await enter(50)

    assert asyncio.run(enter(100)) == 50
    assert asyncio.run(enter(99)) == 99


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_the_limit_applies_to_the_decompressed_size(coding: str) -> None:
    """The log has the compressed size."""
    headers = [(b"content-encoding", coding.encode())]
    fitting, large = (compressed(bytes(size), coding) for size in (100, 101))
    body = Body(chunk(fitting, more=False))

    assert body.read(headers=headers) == bytes(100)
    assert body.context.received == len(fitting) < 40
    assert body.context.body_read
    with pytest.raises(PayloadTooLarge, match=r"^Body should be at most 100 bytes; got more.$"):
        Body(chunk(large, more=False)).read(headers=headers)


def test_the_budget_counts_decompressed_sizes() -> None:
    bounds = limits(10_000, 1000 + costs.DECOMPRESSOR_BYTES // 2)
    headers = [(b"content-encoding", b"gzip"), (b"content-type", b"application/octet-stream")]
    bounds.budget.acquire(1000)
    for _ in range(3):
        with pytest.raises(TooManyBytes):
            Body(chunk(compressed(bytes(501), "gzip"), more=False)).read(bounds, headers)

    assert len(Body(chunk(compressed(bytes(500), "gzip"), more=False)).read(bounds, headers)) == 500
    assert bounds.budget.used == 1000


def test_a_decompression_bomb_is_stopped_at_the_limit() -> None:
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


def test_a_body_in_many_pieces_needs_little_more_memory_than_its_size() -> None:
    size = 100_000
    messages = iter([chunk(b"a", more=True)] * (size - 1) + [chunk(b"a", more=False)])

    async def receive() -> Message:
        return next(messages)

    async def enter() -> bytes:
        scope = {**SCOPE, "headers": [], "context": RequestContext("1")}
        async with limits(10**6, 10**6).read(Request(scope, receive)) as body:
            return body

    tracemalloc.start()
    try:
        assert asyncio.run(enter()) == b"a" * size
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 5 * size


def test_an_endless_stream_of_empty_blocks_is_refused() -> None:
    packer = zlib.compressobj()
    empty = packer.flush(zlib.Z_FULL_FLUSH)
    parts = [chunk(empty)] + [chunk(packer.flush(zlib.Z_FULL_FLUSH) or empty[2:]) for _ in range(100)]

    with pytest.raises(PayloadTooLarge):
        Body(*parts).read(headers=[(b"content-encoding", b"deflate")])


@pytest.mark.parametrize("sizes", [[1, 20_000, 1, 1, 20_000, 20_000], [20_000, 1], [1, 1], [40_000] * 3])
def test_pieces_are_joined_in_order(sizes: list[int]) -> None:
    parts = [bytes([number]) * size for number, size in enumerate(sizes)]
    arriving = [chunk(part, more=index + 1 < len(parts)) for index, part in enumerate(parts)]

    assert Body(*arriving).read(limits(10**6, 10**6)) == b"".join(parts)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_bodies_get_the_same_response(client: TestClient, coding: str) -> None:
    """On every operation with a body."""
    content = toys.dot(1).tobytes()
    headers = OCTETS | {"content-encoding": coding}

    response = client.post(PREDICT, content=compressed(content, coding), headers=headers)
    cut = client.post(PREDICT, content=compressed(content, coding)[:-3], headers=headers)

    assert response.json() == client.post(PREDICT, content=content, headers=OCTETS).json()
    expected = f"Body should be one whole stream of {coding}, as Content-Encoding says; got its beginning."
    assert problem(cut, 400, "malformed-request") == expected


def test_large_bodies_count_against_the_share_of_the_client() -> None:
    """Small ones do not."""
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
