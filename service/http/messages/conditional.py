"""Conditional GET: responses with an ETag, 304 if `If-None-Match` matches, and bodies that responses share.

`Range` is ignored, as RFC 9110 allows.
"""

import asyncio
from collections.abc import Callable, Mapping

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from service.http.messages.cache_keys import BodyInfo, Key
from service.http.messages.response_cache import RenderedBody, ResponseCache

HEAD_ONLY = "inkling.head_only"
"""Key of the ASGI scope: whether the request is HEAD, handled as GET without sending the body."""

SHARED = "inkling.shared"
"""Key of an ASGI message: whether several responses share its body, which is in the budget already."""


class SharedResponse(Response):
    """A response whose body is one bytes object of several responses.

    A server that sends the body without calling the response must call `release` afterwards.
    """

    def __init__(self, body: bytes | RenderedBody, headers: Mapping[str, str]) -> None:
        """Create a response.

        Args:
            body: A constant, or a rendered body, which the response releases.
            headers: Headers, with the content type.
        """
        self._rendered = body if isinstance(body, RenderedBody) else None
        super().__init__(body.body if isinstance(body, RenderedBody) else body, headers=dict(headers))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response over ASGI; release the body at the end, also after an error."""

        async def send_shared(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, SHARED: True}
            await send(message)

        try:
            await super().__call__(scope, receive, send_shared)
        finally:
            self.release()

    def release(self) -> None:
        """Release the body; further calls do nothing."""
        self.body = b""
        if self._rendered is not None:
            self._rendered.release()


class Constant:
    """A body that is constant while the process runs, with its ETag."""

    def __init__(self, content: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        """Compute the ETag.

        Args:
            content: The whole body.
            content_type: Content type of the body.
            headers: Further headers of every response, including 304.
        """
        self.content = content
        self._type = content_type
        self._info = BodyInfo.of(content)
        self._headers = {**(headers or {}), "Cache-Control": "no-cache"}

    def respond(self, request: Request) -> Response:
        """Return the response to a request: 200, or 304 without a body."""
        if _matches(request, self._info):
            return _not_modified(self._info, self._headers)
        return SharedResponse(self.content, _headers(self._info, self._type, self._headers))


async def respond(
    request: Request,
    cache: ResponseCache,
    key: Key,
    render: Callable[[], bytes],
    cost_bytes: int,
    content_type: str,
    headers: Mapping[str, str],
) -> Response:
    """Return a response with a body from the response cache.

    HEAD, and GET with a matching `If-None-Match`, do not render a body that was rendered before.

    Args:
        request: A request that passed `RequestMiddleware`.
        cache: The response cache.
        key: As `ResponseCache.get`.
        render: As `ResponseCache.get`.
        cost_bytes: As `ResponseCache.get`.
        content_type: Content type of the body.
        headers: Further headers of every response, including 304.

    Raises:
        ClientDisconnect: The client disconnected during rendering.
        ServiceError: As `ResponseCache.get`.
    """
    info = cache.info(key)
    if info is not None:
        if _matches(request, info):
            return _not_modified(info, headers)
        if request.scope.get(HEAD_ONLY):
            described = _headers(info, content_type, headers)
            return Response(headers={**described, "Content-Length": str(info.length)})
    rendered = await get(request, cache, key, render, cost_bytes)
    if _matches(request, rendered.info):
        rendered.release()
        return _not_modified(rendered.info, headers)
    return SharedResponse(rendered, _headers(rendered.info, content_type, headers))


async def get(
    request: Request,
    cache: ResponseCache,
    key: Key,
    render: Callable[[], bytes],
    cost_bytes: int,
) -> RenderedBody:
    """Return a body from the response cache, unless the client disconnects first.

    Args:
        request: The request.
        cache: The response cache.
        key: As `ResponseCache.get`.
        render: As `ResponseCache.get`.
        cost_bytes: As `ResponseCache.get`.

    Raises:
        ClientDisconnect, ServiceError: As `respond`.
    """
    if found := cache.find(key):
        return found
    rendering = asyncio.ensure_future(cache.get(key, render, cost_bytes))
    disconnecting = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((rendering, disconnecting), return_when=asyncio.FIRST_COMPLETED)
        if not rendering.done():
            raise ClientDisconnect
        return rendering.result()
    except BaseException:
        rendering.cancel()
        rendering.add_done_callback(_release)  # it may be done already
        raise
    finally:
        disconnecting.cancel()


async def _disconnected(request: Request) -> None:
    """Return when the client disconnects."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _release(rendering: "asyncio.Task[RenderedBody]") -> None:
    if not rendering.cancelled() and rendering.exception() is None:
        rendering.result().release()


def _matches(request: Request, info: BodyInfo) -> bool:
    """Return whether `If-None-Match` holds an ETag, strong or weak, or `*`."""
    values = request.headers.getlist("if-none-match")
    return any(info.etag in value or value.strip() == "*" for value in values)


def _headers(info: BodyInfo, content_type: str, headers: Mapping[str, str]) -> dict[str, str]:
    return {**headers, "ETag": info.etag, "Content-Type": content_type}


def _not_modified(info: BodyInfo, headers: Mapping[str, str]) -> Response:
    return Response(status_code=304, headers={**headers, "ETag": info.etag})
