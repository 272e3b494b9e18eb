"""What all connections of a listener share: limits, tables, and how a request is dispatched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from service.http.server.request import HeadCache

if TYPE_CHECKING:
    import asyncio

    from uvicorn.server import ServerState

    from service.core.errors import ServiceError
    from service.http.server.connection_table import Connections
    from service.http.server.request import Refused, Request
    from service.memory.budget import Budget
    from service.observability.request_log import Recorder


class Call(Protocol):
    """One request that is being answered; it ends with `Responder.end_response` or when it is told to."""

    def on_body(self, piece: bytes) -> None:
        """Take the next bytes of the body."""

    def on_body_end(self) -> None:
        """Note that the body is complete."""

    def on_body_error(self, error: ServiceError | Refused) -> None:
        """Answer that the body is broken, too slow or too large; no more of it comes."""

    def on_disconnect(self) -> None:
        """Stop: the client has left, and nothing can be written."""

    def cancel(self) -> None:
        """Answer soon: the server stops."""


class Responder(Protocol):
    """The connection of a call: where it writes its response, and asks for the body."""

    loop: asyncio.AbstractEventLoop
    server_state: ServerState
    peer: tuple[str, int] | None
    local: tuple[str, int] | None
    scheme: str

    def client(self, request: Request, /) -> str:
        """Return the address of the client that sent a request, or `-`."""

    def send_continue(self) -> None:
        """Tell a client that waits for it to send the body."""

    def pause_body(self) -> None:
        """Hand on no more of the body until `resume_body`."""

    def resume_body(self) -> None:
        """Hand on the rest of the body."""

    def close_after_response(self) -> None:
        """Close the connection after the response that has not begun yet."""

    def write_response(self, status: int, head: bytes, body: bytes) -> None:
        """Write a whole response, and end it."""

    def write_head(self, status: int, head: bytes) -> None:
        """Write the head of a response whose body follows."""

    async def write_body(self, body: bytes) -> None:
        """Write a part of a body, as quickly as the client takes it."""

    def end_response(self) -> None:
        """End a response that was written in parts."""

    def break_off(self) -> None:
        """Close without an end to the response: it cannot be completed."""


@dataclass(frozen=True)
class Limits:
    """Limits of each connection, in bytes and seconds; the settings of the same names describe them."""

    max_head_bytes: int
    header_timeout_s: float
    body_timeout_s: float
    write_timeout_s: float
    keep_alive_s: float
    drain_timeout_s: float
    min_send_rate: int


@dataclass
class Stopping:
    """Whether the server is about to stop; then every response closes its connection."""

    is_set: bool = False


@dataclass(frozen=True)
class ServerContext:
    """What all connections of a listener share.

    Attributes:
        limits: Limits of each connection.
        connections: Table of those that are open.
        budget: Where unread input and unsent output are counted.
        request_log: Records refused requests.
        dispatch: Begins to answer a request on a connection.
        stopping: Whether the server is about to stop.
        heads: Request heads, checked and kept.
        constant_headers: Header lines of every response, each with its line end.
        headers: Returns further header lines of the response to a request; the request is None where none
            could be parsed. None if there are none.
        is_probe: Whether a path may be requested on one of the reserved connections.
        client: Returns a request's client address from the peer's address and the request; None if that is
            the peer's.
    """

    limits: Limits
    connections: Connections
    budget: Budget
    request_log: Recorder
    dispatch: Callable[[Responder, Request], Call]
    stopping: Stopping
    heads: HeadCache = field(default_factory=HeadCache)
    constant_headers: bytes = b""
    headers: Callable[[Request | None], bytes] | None = None
    is_probe: Callable[[str], bool] = lambda _: False
    client: Callable[[str, Request], str] | None = None
