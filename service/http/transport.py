"""HTTP as it arrives: what uvicorn leaves open is closed here.

A connection must send a request's head in time and within its size, there are not more connections than
the process can hold, and what is no HTTP gets the same kind of answer as any other error.
"""

import asyncio
import logging
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.http import problems
from service.http.direct import Direct
from service.http.exchange import ARRIVED, new_request_id
from service.http.lane import Lane
from service.http.problems import Problem

log = logging.getLogger(__name__)

_MOST_PIPELINED = 64
"""Requests of one connection that may wait for their turn; browsers and HTTP libraries send one at a time."""

_UPGRADE = re.compile(rb"\r\n(?=upgrade[ \t]*:)", re.IGNORECASE)


class _Writer:
    """A connection's way out, on which the head of an answer waits for its body.

    uvicorn writes each by itself, and a system call costs a request as much as its network does. What nothing
    follows in the same turn of the event loop leaves at the turn's end.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._waiting: bytes | None = None
        self.abort = transport.abort
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes) -> None:
        """Write, soon; nothing if the connection has ended."""
        if self._transport.is_closing():
            return
        if self._waiting is None:
            self._waiting = data
            self._loop.call_soon(self._flush)
        elif self._waiting:
            self._transport.write(self._waiting + data)
            self._waiting = b""  # until the flush that is due
        else:
            self._transport.write(data)

    def write_whole(self, answer: bytes) -> None:
        """Write a head and its body; nothing waits here, as every answer before was whole."""
        self._transport.write(answer)

    def close(self) -> None:
        """Close once all is written."""
        self._flush()
        self._transport.close()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the caller has not taken."""
        return self._transport.get_write_buffer_size() + len(self._waiting or b"")

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting and not self._transport.is_closing():
            self._transport.write(waiting)


class Transport(HttpToolsProtocol):
    """One connection. The limits are the class's: uvicorn makes the instances.

    Attributes:
        max_connections: Open connections; one more is answered with 503 and closed.
        max_head_bytes: Size of a request's line and headers, and of anything else that is not its body.
        write_timeout_s: Longest time in which a caller takes nothing of an answer.
        header_timeout_s: Longest time from a connection's or request's first byte to its head's last.
        direct: Answers whole requests; None leaves all of them to uvicorn.
    """

    max_connections: int
    max_head_bytes: int
    header_timeout_s: float
    write_timeout_s: float
    direct: Direct | None = None

    _lane: Lane | None = None
    _answered_at = 0.0  # when `direct` last did, by the event loop's clock
    _is_draining = False

    _head_timer: asyncio.TimerHandle | None = None
    _unused_bytes = 0  # since a head or a piece of a body was complete
    _head_is_too_large = False
    _in_message = False
    _in_head = False  # bytes came that should be one
    _half_closed = False
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Take a connection if there is room for it."""
        self._writer = _Writer(self.loop, transport)
        super().connection_made(self._writer)  # type: ignore[arg-type]  # all of it that is used
        if len(self.connections) > self.max_connections:
            expected = f"Connections should be at most {self.max_connections:,}"
            self._refuse(problems.TOO_MANY_CONNECTIONS, f"{expected}; as many are open already.")
        else:
            self._start_timer()
            if self.direct is not None:
                self._lane = Lane(self.direct, self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        if self._write_timer is not None:
            self._write_timer.cancel()
        if self._lane is not None:
            self._lane.leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, unless the connection is being closed."""
        if self.transport.is_closing():
            return
        if self._lane is None or not self._lane.take(data):
            self.go_the_usual_way(data)
        elif self._head_timer is not None and not self._lane.is_empty():
            self._stop_timer()

    def go_the_usual_way(self, data: bytes) -> None:
        """Let uvicorn have bytes."""
        if self.transport.is_closing():
            return
        self._in_head = not self._in_message
        self._unused_bytes += len(data)
        super().data_received(data if self._in_message else _without_upgrade(data))
        if self._in_head and self._head_timer is None and not self.transport.is_closing():
            self._start_timer()  # most heads come whole and need none
        if self._unused_bytes > self.max_head_bytes:
            self._refuse_head()

    def is_at_rest(self) -> bool:
        """Tell whether every request was answered and nothing came of the next one."""
        is_reading = self._unused_bytes or self._in_message or self._in_head
        is_answering = self.cycle is not None and not self.cycle.response_complete
        return not (is_reading or is_answering or self.flow.write_paused)

    def address(self) -> str:
        """Return the caller's address, or `-`."""
        return self.client[0] if self.client else "-"

    def write(self, status: int, head: bytes, content: bytes) -> None:
        """Write an answer; the head lacks its first line and what every answer has."""
        always = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        if not self.transport.is_closing():
            self._writer.write_whole(b"".join((STATUS_LINE[status], *always, head, content)))
        self._answered_at = self.loop.time()

    def hold(self) -> None:
        """Read no more until it may go on."""
        self.flow.pause_reading()

    def go_on(self) -> None:
        """Read on, and take what came while a request was answered."""
        assert self._lane is not None
        self.flow.resume_reading()
        if held := self._lane.held():
            self.data_received(held)
        if self._is_draining:
            self.shutdown()
        elif not held:
            self._rest()

    def _rest(self) -> None:
        """Close, or wait for another request, if nothing is left to be done."""
        if self._lane is None or not self._lane.is_empty() or not self.is_at_rest():
            return
        if self._half_closed:
            self.transport.close()
        elif self.timeout_keep_alive_task is None:
            self._wait_for_another(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which nothing was asked for too long.

        `direct` does not set this timer anew for every request, which costs as much as its log line.
        """
        self.timeout_keep_alive_task = None
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if left > 0 or (self._lane is not None and not self._lane.is_empty()):
            self._wait_for_another(max(left, 1))
        else:
            super().timeout_keep_alive_handler()

    def _wait_for_another(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def shutdown(self) -> None:
        """Close the connection, once what was asked is answered."""
        if self._lane is not None:
            self._lane.give_up()
            self._is_draining = self._lane.is_busy()
        if not self._is_draining:
            super().shutdown()

    def eof_received(self) -> bool | None:  # type: ignore[override]  # asyncio: true keeps it open
        """Let a caller who has sent everything wait for the answer on a connection closed halfway."""
        self._half_closed = True
        if self._lane is not None:
            self._lane.give_up()
            if self._lane.is_busy():
                return True
        return self.cycle is not None and not self._in_message and not self.cycle.response_complete

    def on_headers_complete(self) -> None:
        """Start to answer: the head has arrived."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.max_head_bytes:
            self._head_is_too_large = True
            raise ValueError("head too large")  # the parser makes of it what leads to send_400_response
        if len(self.pipeline) >= _MOST_PIPELINED:
            raise ValueError("too many requests at once")
        self._stop_timer()
        self._in_head = False
        self._in_message = True
        self._unused_bytes = 0
        super().on_headers_complete()

    def on_message_begin(self) -> None:
        """Begin to read a head."""
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what comes after the body is none of ours."""
        if not self._in_message:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._unused_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to wait for another head."""
        self.scope[ARRIVED] = True  # type: ignore[literal-required]  # ours, beside the standard's
        self._in_message = False
        self._unused_bytes = 0
        super().on_message_complete()
        if self.cycle.response_complete:  # it came before the end of a body that nobody wanted
            self._stop_timer()
            self._start_timer()

    def pause_writing(self) -> None:
        """Begin to watch whether the caller takes anything of what was written."""
        super().pause_writing()
        self._watch_writing(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Stop watching: the caller has taken nearly all."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        if not self.transport.is_closing():
            self._rest()

    def _watch_writing(self, waiting: int) -> None:
        def check() -> None:
            left = self.transport.get_write_buffer_size()
            if left < waiting:
                self._watch_writing(left)
            else:
                self.transport.abort()  # close would wait for the caller, too

        self._write_timer = self.loop.call_later(self.write_timeout_s, check)

    def on_response_complete(self) -> None:
        """Wait for the rest of the body, or for another request."""
        is_last = not self.pipeline
        super().on_response_complete()
        if self._half_closed and is_last:
            self.transport.close()
        elif self._in_message and self._head_timer is None:
            self._start_timer()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP."""
        del msg
        if self.transport.is_closing():
            return
        if self._head_is_too_large:
            self._refuse_head()
        else:
            self._refuse(problems.BROKEN_HTTP, "Bytes should be an HTTP/1.1 request; got others.")

    def _refuse_head(self) -> None:
        if self._in_message and self.cycle.response_started:  # trailers, or a chunk's head, without an end
            self.transport.close()
            return
        expected = f"Request line and headers should be at most {self.max_head_bytes:,} bytes"
        self._refuse(problems.HEAD_TOO_LARGE, f"{expected}; got more.")

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.header_timeout_s, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, problem: Problem, detail: str) -> None:
        request_id = new_request_id()
        fields = {"request_id": request_id, "reason": problem.kind, "status": problem.status}
        log.warning("connection refused", extra={"fields": fields})
        self._stop_timer()
        body = problems.body(problem, detail, "", request_id)
        head = [
            f"HTTP/1.1 {problem.status} {problem.title}",
            f"content-type: {problems.CONTENT_TYPE}",
            f"content-length: {len(body)}",
            f"x-request-id: {request_id}",
            "connection: close",
            *(["retry-after: 1"] if problem is problems.TOO_MANY_CONNECTIONS else []),
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.close()


def _without_upgrade(data: bytes) -> bytes:
    """Rename the header by which clients offer HTTP/2, so that it is passed over as the standard asks.

    The parser would take everything after the head for the other protocol, a POST's body too.
    """
    if b"pgrade" not in data and b"PGRADE" not in data:
        return data
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nX-Offered-", head) + end + rest


def with_limits(**limits: Any) -> type[Transport]:  # noqa: ANN401 - the class's attributes say the types
    """Return the kind of connection that has these limits: `Transport`'s attributes, by name."""
    return type("LimitedTransport", (Transport,), limits)
