"""Responses of one connection: status line, common headers, and whether the connection closes afterwards."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from service.http.messages import problems
from service.inference.admission import headers

if TYPE_CHECKING:
    from uvicorn.server import ServerState

    from service.http.server.connection.input import Input
    from service.http.server.connection.writer import Writer
    from service.http.server.request import Refused, Request
    from service.http.server.server_context import ServerContext

_SKIPPED_BYTES = 2**20
"""Bytes of a body up to which its rest is skipped after the response, and the connection is kept."""

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("latin-1") for status in HTTPStatus
}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE = b"connection: close\r\n"


class Responses:
    """Writes the responses of one connection, one at a time.

    Attributes:
        has_begun: Whether the head of the current response is written; reset for each request, as the next.
        has_continued: Whether `100 Continue` was sent, or need not be.
        closes: Whether the connection closes after that response.
    """

    def __init__(
        self,
        server_context: ServerContext,
        server_state: ServerState,
        writer: Writer,
        received: Input,
        *,
        is_reserved: bool,
    ) -> None:
        self.has_begun = False
        self.closes = False
        self.has_continued = False
        self._server_context = server_context
        self._server_state = server_state
        self._writer = writer
        self._input = received
        self._is_reserved = is_reserved

    def send_continue(self, request: Request) -> None:
        """Send `100 Continue` once if the client waits for it before it sends the body."""
        if self.has_begun or self.has_continued or not request.head.expects_continue:
            return
        self.has_continued = True
        if not request.received and not request.is_complete:
            self._writer.write(_CONTINUE)

    def begin(self, request: Request | None, status: int, head: bytes, body: bytes = b"") -> None:
        """Write the head of a response, and the first bytes of its body.

        Args:
            request: The request; None if none could be parsed.
            status: HTTP status.
            head: Header lines, each with its line end. The header lines of every response are added.
            body: Framed as the head declares.
        """
        context = self._server_context
        self.has_begun = True
        self.closes = closes = self._must_close(request)
        dates = self._server_state.default_headers  # renewed every second by uvicorn
        lines = (
            _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status,
            b"date: %b\r\n" % dates[0][1] if dates else b"",
            context.constant_headers,
            b"" if context.headers is None else context.headers(request),
            _CLOSE if closes else b"",
            head,
            b"\r\n",
            body,
        )
        self._writer.write(b"".join(lines))

    def _must_close(self, request: Request | None) -> bool:
        """Return whether the connection closes after the response to a request."""
        received, is_stopping = self._input, self._server_context.stopping.is_set
        if request is None or not request.keep_alive or self._is_reserved:
            return True  # a reserved connection is for one probe: other clients probe, too
        if request.is_complete:
            return not received.queue and (received.is_broken or (is_stopping and not received.held))
        if is_stopping:
            return True
        if request.head.expects_continue and not self.has_continued and not request.received:
            return True  # the client may or may not send the body
        missing = request.missing
        return received.is_broken or missing is None or missing > _SKIPPED_BYTES


def refusal_response(refusal: Refused, path: str, request_id: str) -> tuple[bytes, bytes]:
    """Return the header lines and the body of the response to invalid input.

    Args:
        refusal: The problem, and what was expected.
        path: Path of the request; empty if none could be parsed.
        request_id: Value of `X-Request-Id`.
    """
    problem = refusal.problem
    body = problems.problem_body(problem, refusal.detail, path, request_id)
    lines = [f"content-type: {problems.CONTENT_TYPE}\r\ncontent-length: {len(body)}\r\n"]
    if problem.status == 503:
        lines.append(f"retry-after: {headers.retry_after_s(1)}\r\n")
    lines.append(f"x-request-id: {request_id}\r\n")
    return "".join(lines).encode(), body
