"""`service/http/messages/conditional.py`: 304, HEAD, and the release of shared bodies."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message

from service.http.messages import conditional
from service.http.messages.cache_keys import Key
from service.http.messages.conditional import HEAD_ONLY, SHARED, Constant, SharedResponse
from service.http.messages.response_cache import ResponseCache
from service.inference.thread_pool import ThreadPool
from service.memory.budget import Budget

PATIENCE_S = 10.0
KEY = Key("test")
TAGS = '"other", W/{}'


def request(*if_none_match: str, head_only: bool = False, leaves: bool = False) -> Request:
    """Return a GET whose client stays, or disconnects at once."""
    arriving: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if arriving:
            return arriving.pop(0)
        if not leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    headers = [(b"if-none-match", tag.encode()) for tag in if_none_match]
    return Request({"type": "http", "headers": headers, HEAD_ONLY: head_only}, receive)


class Rendering:
    """A cache, and how often it rendered."""

    def __init__(self, retained: int = 0) -> None:
        self.budget = Budget(10_000)
        self.cache = ResponseCache(ThreadPool(1, 4, PATIENCE_S), self.budget, retained)
        self.times = 0
        self.gate = threading.Event()
        self.gate.set()

    def render(self) -> bytes:
        assert self.gate.wait(PATIENCE_S)
        self.times += 1
        return b"x" * 100

    async def respond(self, to: Request) -> Response:
        headers = {"Vary": "Accept"}
        return await conditional.respond(to, self.cache, KEY, self.render, 200, "text/plain", headers)


async def send(response: Response) -> Sequence[Message]:
    """Send a response as ASGI does; return the messages."""
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError

    async def keep(message: Message) -> None:
        sent.append(message)

    await response({"type": "http"}, receive, keep)
    return sent


def test_a_matching_etag_renders_nothing() -> None:
    """Whether the body is in memory or not; for weak and strong ETags."""

    async def ask() -> None:
        rendering = Rendering()
        first = await rendering.respond(request())
        await send(first)
        assert rendering.budget.used == 0  # gone
        for tags in ([TAGS.format(first.headers["etag"])], ['"other"', first.headers["etag"]]):
            again = await rendering.respond(request(*tags))
            assert (again.status_code, again.body) == (304, b"")
            assert (again.headers["etag"], again.headers["vary"]) == (first.headers["etag"], "Accept")
        assert rendering.times == 1
        other = await rendering.respond(request('"other"'))
        assert other.status_code == 200

    asyncio.run(ask())


def test_an_unknown_etag_is_compared_after_rendering() -> None:
    """As after a restart."""

    async def ask() -> None:
        tag = (await Rendering().respond(request())).headers["etag"]
        rendering = Rendering()
        assert (await rendering.respond(request(tag))).status_code == 304
        assert (rendering.times, rendering.budget.used) == (1, 0)

    asyncio.run(ask())


def test_head_renders_nothing_once_the_length_is_known() -> None:

    async def ask() -> None:
        rendering = Rendering()
        get = await rendering.respond(request())
        await send(get)
        head = await rendering.respond(request(head_only=True))
        assert (head.status_code, head.body) == (200, b"")
        assert dict(head.headers) == dict(get.headers)
        assert head.headers["content-length"] == "100"
        assert (rendering.times, rendering.budget.used) == (1, 0)

    asyncio.run(ask())


def test_a_body_is_released_after_sending_also_on_failure() -> None:

    async def ask() -> None:
        rendering = Rendering()
        response = await rendering.respond(request())
        assert rendering.budget.used == 100
        start, body = await send(response)
        assert body["body"] == b"x" * 100
        assert body[SHARED] is True
        assert SHARED not in start
        assert rendering.budget.used == 0

        stuck = await rendering.respond(request())

        async def receive() -> Message:
            raise AssertionError

        async def never(message: Message) -> None:
            del message
            await asyncio.Event().wait()

        sending = asyncio.create_task(stuck({"type": "http"}, receive, never))
        await asyncio.sleep(0)
        assert rendering.budget.used == 100
        sending.cancel()
        await asyncio.wait([sending])
        assert rendering.budget.used == 0

    asyncio.run(ask())


@asynccontextmanager
async def _failing(error: type[BaseException]) -> AsyncIterator[None]:
    with pytest.raises(error):
        yield


def test_a_disconnect_during_rendering_releases_the_body() -> None:
    """Also when both happen in the same turn of the event loop."""

    async def ask() -> None:
        rendering = Rendering()
        rendering.gate.clear()
        async with _failing(ClientDisconnect):
            await rendering.respond(request(leaves=True))
        rendering.gate.set()
        async with asyncio.timeout(PATIENCE_S):
            while rendering.budget.used or rendering.cache.alive_bytes:
                await asyncio.sleep(0.01)

    asyncio.run(ask())


def test_a_cancelled_request_releases_the_body() -> None:
    """After 0, 1, 2, ... turns of the event loop."""

    async def ask() -> None:
        rendering = Rendering()
        for turns in range(40):
            task = asyncio.create_task(rendering.respond(request()))
            for _ in range(turns):
                await asyncio.sleep(0.0002 * (turns % 3))
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                response = task.result()
                assert isinstance(response, SharedResponse)
                response.release()
        async with asyncio.timeout(PATIENCE_S):
            while rendering.budget.used or rendering.cache.alive_bytes:
                await asyncio.sleep(0.01)

    asyncio.run(ask())


def test_a_constant_is_shared_by_all_responses() -> None:

    async def ask() -> None:
        constant = Constant(b"content", "text/plain", {"X-Own": "1"})
        first, second = constant.respond(request()), constant.respond(request())
        assert first.body is second.body is constant.content
        assert first.headers["x-own"] == "1"
        again = constant.respond(request(first.headers["etag"]))
        assert (again.status_code, again.headers["x-own"]) == (304, "1")
        assert [message.get(SHARED) for message in await send(first)] == [None, True]

    asyncio.run(ask())
