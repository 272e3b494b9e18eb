"""Outermost ASGI middleware: request context, request id, rate limit and timing headers, request log."""

import asyncio
import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.core.errors import Stopping
from service.http.messages import problems
from service.http.messages.conditional import HEAD_ONLY
from service.http.messages.request_scope import STARTED
from service.http.routing.root_path import strip_root_path
from service.inference.request_context import RequestContext, request_id_from
from service.observability.request_log import Recorder

log = logging.getLogger(__name__)


class RequestMiddleware:
    """Gives every request a context, a response, a metric and a log line."""

    def __init__(self, app: ASGIApp, request_log: Recorder, root_path: str = "") -> None:
        """Wrap an application.

        Args:
            app: The application.
            request_log: Records requests.
            root_path: The setting `root_path`.
        """
        self._app = app
        self._request_log = request_log
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        context = RequestContext(
            request_id_from(headers.get(b"x-request-id", b"").decode("latin-1")),
            scope.get(STARTED, 0.0) or time.perf_counter(),
        )
        head_only = scope["method"] == "HEAD"

        async def send_observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                self._add_headers(message, context)
            elif head_only:
                message = {**message, "body": b""}
            await send(message)

        # Every route handles HEAD as GET without the body. The server keeps the real method in its own scope.
        path = strip_root_path(scope["path"], self._root_path)
        method = "GET" if head_only else scope["method"]
        inner = {**scope, "context": context, "method": method, "path": path, HEAD_ONLY: head_only}
        self._request_log.begin()
        try:
            await self._app(inner, receive, send_observed)
        except asyncio.CancelledError:  # the server stops, and the time to drain is over
            if context.status:
                raise
            response = problems.error_response(Stopping(), path, context.request_id)
            await response(inner, receive, send_observed)
        except Exception:  # any unexpected error: logged, and the client gets a 500
            log.exception("unexpected error", extra={"fields": {"request_id": context.request_id}})
            if not context.status:
                response = problems.internal_error_response(path, context.request_id)
                await response(inner, receive, send_observed)
        finally:
            client = scope.get("client")
            self._request_log.end(context, scope["method"], path, client[0] if client else "-")

    def _add_headers(self, message: Message, context: RequestContext) -> None:
        headers = [*message["headers"], (b"x-request-id", context.request_id.encode())]
        if context.grant is not None:
            written = {name for name, _ in headers}
            fields = [(name.encode(), value.encode()) for name, value in context.grant.fields()]
            headers += [field for field in fields if field[0] not in written]
        if timing := context.server_timing():
            headers.append((b"server-timing", timing))
        message["headers"] = headers
