"""State shared by the connections of one listener, and the interfaces between a connection and its calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from service.http.server.request import HeadCache

if TYPE_CHECKING:
    import asyncio

    from uvicorn.server import ServerState

    from service.core.errors import ServiceError
    from service.http.server.connection_table import ConnectionTable
    from service.http.server.request import Refused, Request
    from service.memory.budget import Budget
    from service.observability.request_log import Recorder


class Call(Protocol):
    """One request that is being answered; ends with `Responder.end_response` or `on_disconnect`."""

    def on_body(self, piece: bytes) -> None:
        """Receive the next bytes of the body."""

    def on_body_end(self) -> None:
        """Receive the end of the body."""

    def on_body_error(self, error: ServiceError | Refused) -> None:
        """Answer a body that is invalid, too slow or too large; no more of it arrives."""

    def on_disconnect(self) -> None:
        """Stop: the client has disconnected, and nothing can be written."""

    def cancel(self) -> None:
        """Answer soon: the server stops."""


class Responder(Protocol):
    """The connection as its calls see it: they read the body and write the response through it."""

    loop: asyncio.AbstractEventLoop
    server_state: ServerState
    peer: tuple[str, int] | None
    local: tuple[str, int] | None
    scheme: str

    def client(self, request: Request, /) -> str:
        """Return the address of the client that sent a request, or `-`."""

    def send_continue(self) -> None:
        """Send `100 Continue` if the client waits for it before it sends the body."""

    def pause_body(self) -> None:
        """Pass on no more of the body until `resume_body`."""

    def resume_body(self) -> None:
        """Pass on the rest of the body."""

    def close_after_response(self) -> None:
        """Close the connection after the response, which has not begun."""

    def write_response(self, status: int, head: bytes, body: bytes) -> None:
        """Write a whole response, and end it."""

    def write_head(self, status: int, head: bytes) -> None:
        """Write the head of a response whose body follows."""

    async def write_body(self, body: bytes) -> None:
        """Write a part of a body, as fast as the client receives it."""

    def end_response(self) -> None:
        """End a response that was written in parts."""

    def break_off(self) -> None:
        """Close the connection in the middle of a response that cannot be completed."""


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of each connection, in bytes and seconds; see the settings of the same names."""

    max_head_bytes: int
    header_timeout_s: float
    body_timeout_s: float
    write_timeout_s: float
    keep_alive_s: float
    drain_timeout_s: float
    min_send_rate: int


@dataclass
class StopFlag:
    """Whether the server is about to stop. While it is set, each response closes its connection."""

    is_set: bool = False


@dataclass(frozen=True)
class ServerContext:
    """State that all connections of a listener share.

    Attributes:
        limits: Limits of each connection.
        connections: The open connections.
        budget: Memory budget in which unread input and unsent output count.
        request_log: Records refused requests.
        dispatch: Creates the call that answers a request.
        stopping: Whether the server is about to stop.
        heads: Validated request heads.
        constant_headers: Header lines of every response, each with its line end.
        headers: Returns further header lines of the response to a request, which is None if none could be
            parsed. None adds no lines.
        is_probe: Whether a path is a health probe, which may use the reserved connections.
        client: Returns the client address of a request from the address of the peer; None if they are the
            same.
    """

    limits: ConnectionLimits
    connections: ConnectionTable
    budget: Budget
    request_log: Recorder
    dispatch: Callable[[Responder, Request], Call]
    stopping: StopFlag
    heads: HeadCache = field(default_factory=HeadCache)
    constant_headers: bytes = b""
    headers: Callable[[Request | None], bytes] | None = None
    is_probe: Callable[[str], bool] = lambda _: False
    client: Callable[[str, Request], str] | None = None
