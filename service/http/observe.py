"""Every request's id and timings as headers of its answer; what is written down of it is `journal`'s work."""

import asyncio
import logging

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.core.errors import Stopping
from service.http import problems
from service.http.conditional import HEAD_ONLY
from service.http.exchange import Exchange, request_id_from
from service.http.journal import Journal

log = logging.getLogger(__name__)


class Observer:
    """The outermost layer of the usual way: nobody goes it without an answer, a count and a line."""

    def __init__(self, app: ASGIApp, journal: Journal) -> None:
        self._app = app
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI asks."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        exchange = Exchange(request_id_from(headers.get(b"x-request-id", b"").decode("latin-1")))
        head_only = scope["method"] == "HEAD"

        async def send_observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                self._add_headers(message, exchange)
                if b"expect" in headers and not exchange.body_read:
                    # The caller may or may not send the body it announced: only a new connection is sure.
                    MutableHeaders(scope=message)["Connection"] = "close"
            elif head_only:
                message = {**message, "body": b""}
            await send(message)

        # HEAD is GET without the body, on every route; the server's own scope keeps the real method.
        method = "GET" if head_only else scope["method"]
        inner = {**scope, "exchange": exchange, "method": method, HEAD_ONLY: head_only}
        self._journal.begin()
        try:
            await self._app(inner, receive, send_observed)
        except asyncio.CancelledError:  # the time to drain is over
            if exchange.status:
                raise
            response = problems.answer(Stopping(), scope["path"], exchange.request_id)
            await response(inner, receive, send_observed)
        except Exception:
            log.exception("unforeseen", extra={"fields": {"request_id": exchange.request_id}})
            if not exchange.status:
                response = problems.unforeseen(scope["path"], exchange.request_id)
                await response(inner, receive, send_observed)
        finally:
            client = scope.get("client")
            self._journal.end(exchange, scope["method"], scope["path"], client[0] if client else "-")

    def _add_headers(self, message: Message, exchange: Exchange) -> None:
        headers = [*message["headers"], (b"x-request-id", exchange.request_id.encode())]
        if timing := exchange.server_timing():
            headers.append((b"server-timing", timing))
        message["headers"] = headers
