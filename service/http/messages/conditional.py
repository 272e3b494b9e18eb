"""GET responses with an ETag: 304 where the client has the body already, and bodies that responses share.

`Range` is ignored, as RFC 9110 allows: every body is sent whole, however many ranges are asked for.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from service.http.messages.response_cache import Facts, Key, Rendered, ResponseCache

HEAD_ONLY = "inkling.head_only"
"""Key of a scope: true if a HEAD is answered as a GET whose body is not sent."""

SHARED = "inkling.shared"
"""Key of an ASGI message: true if its body is one bytes object of several responses, and counted already."""


class SharedResponse(Response):
    """A response whose body belongs to others too: one bytes object, which must not be counted again.

    Who sends it without calling it must call `release` when the client has taken it, or is gone.
    """

    def __init__(self, body: bytes | Rendered, headers: Mapping[str, str]) -> None:
        """Create a response.

        Args:
            body: A constant, or the response's share of a rendered body, which it releases.
            headers: The content type among them.
        """
        self._rendered = body if isinstance(body, Rendered) else None
        super().__init__(body.body if isinstance(body, Rendered) else body, headers=dict(headers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, as ASGI has it; release the body at the end, whatever that is."""

        async def send_shared(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, SHARED: True}
            await send(message)

        try:
            await super().__call__(scope, receive, send_shared)
        finally:
            self.release()

    def release(self) -> None:
        """Give up the body; more calls do nothing."""
        self.body = b""
        if self._rendered is not None:
            self._rendered.release()


class Constant:
    """A body that never changes while the process runs, with its ETag."""

    def __init__(self, content: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        """Compute the ETag.

        Args:
            content: The whole body.
            content_type: Of the body.
            headers: Further headers of every response, a 304 included.
        """
        self.content = content
        self._type = content_type
        self._facts = Facts(f'"{hashlib.sha256(content).hexdigest()[:32]}"', len(content))
        self._headers = {**(headers or {}), "Cache-Control": "no-cache"}

    def respond(self, request: Request) -> Response:
        """Return the response to a request: 200, or 304 without a body."""
        if _matches(request, self._facts):
            return _not_modified(self._facts, self._headers)
        return SharedResponse(self.content, _described(self._facts, self._type, self._headers))


async def respond(
    request: Request,
    cache: ResponseCache,
    key: Key,
    render: Callable[[], bytes],
    cost_bytes: int,
    content_type: str,
    headers: Mapping[str, str],
) -> Response:
    """Return a response whose body comes from the cache of rendered bodies.

    A HEAD, and a GET with an `If-None-Match` that matches, render nothing if the body was rendered before.

    Args:
        request: It must have come through `RequestMiddleware`.
        cache: Where the body is looked up and rendered.
        key: As `ResponseCache.get` takes it.
        render: As above.
        cost_bytes: As above.
        content_type: Of the body.
        headers: Further headers of every response, a 304 included.

    Raises:
        ClientDisconnect: The client left while the body was being rendered.
        ServiceError: As `ResponseCache.get`.
    """
    facts = cache.facts(key)
    if facts is not None:
        if _matches(request, facts):
            return _not_modified(facts, headers)
        if request.scope.get(HEAD_ONLY):
            described = _described(facts, content_type, headers)
            return Response(headers={**described, "Content-Length": str(facts.length)})
    rendered = await get(request, cache, key, render, cost_bytes)
    if _matches(request, rendered.facts):
        rendered.release()
        return _not_modified(rendered.facts, headers)
    return SharedResponse(rendered, _described(rendered.facts, content_type, headers))


async def get(
    request: Request,
    cache: ResponseCache,
    key: Key,
    render: Callable[[], bytes],
    cost_bytes: int,
) -> Rendered:
    """Return a body from the cache; if the client leaves first, do not wait for it any longer.

    Args:
        request: Nothing but its end is awaited.
        cache: Where the body is looked up and rendered.
        key: As `ResponseCache.get` takes it.
        render: As above.
        cost_bytes: As above.

    Raises:
        ClientDisconnect, ServiceError: As `respond`.
    """
    if found := cache.find(key):
        return found
    rendering = asyncio.ensure_future(cache.get(key, render, cost_bytes))
    leaving = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((rendering, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not rendering.done():
            raise ClientDisconnect
        return rendering.result()
    except BaseException:
        rendering.cancel()
        rendering.add_done_callback(_release)  # it may have been done in this very turn
        raise
    finally:
        leaving.cancel()


async def _disconnected(request: Request) -> None:
    """Return when the client has disconnected."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _release(rendering: "asyncio.Task[Rendered]") -> None:
    if not rendering.cancelled() and rendering.exception() is None:
        rendering.result().release()


def _matches(request: Request, facts: Facts) -> bool:
    """Return whether `If-None-Match` names an ETag, as a strong or a weak one, or any (`*`)."""
    values = request.headers.getlist("if-none-match")
    return any(facts.etag in value or value.strip() == "*" for value in values)


def _described(facts: Facts, content_type: str, headers: Mapping[str, str]) -> dict[str, str]:
    return {**headers, "ETag": facts.etag, "Content-Type": content_type}


def _not_modified(facts: Facts, headers: Mapping[str, str]) -> Response:
    return Response(status_code=304, headers={**headers, "ETag": facts.etag})
