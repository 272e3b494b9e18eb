"""Options of connections, for both listeners: limits from the settings, probes, constant headers."""

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

from uvicorn.server import ServerState

from service.http.routing.root_path import strip_root_path
from service.http.security.response_headers import Header
from service.http.server.connection.protocol import Connection
from service.http.server.server_context import ConnectionLimits
from service.settings import Settings

_PROBES = frozenset({"/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})


async def abort_all(state: ServerState) -> None:
    """Close all open connections; an event loop cannot be closed before."""
    for connection in list(state.connections):
        cast("Connection", connection).abort()
    await asyncio.sleep(0)


def probe_check(settings: Settings) -> Callable[[str], bool]:
    """Return a function that tells whether a path may be requested on a connection reserved for probes."""
    return lambda path: strip_root_path(path, settings.root_path) in _PROBES


def header_lines(headers: Sequence[Header]) -> bytes:
    """Return headers as lines of a response head."""
    return b"".join(b"%b: %b\r\n" % header for header in headers)


def connection_limits(settings: Settings) -> ConnectionLimits:
    """Return the limits of a connection."""
    return ConnectionLimits(
        max_head_bytes=settings.max_head_bytes,
        header_timeout_s=settings.header_timeout_s,
        body_timeout_s=settings.body_timeout_s,
        write_timeout_s=settings.write_timeout_s,
        keep_alive_s=settings.keep_alive_s,
        drain_timeout_s=settings.drain_timeout_s,
        min_send_rate=settings.min_send_rate,
    )


def shortest_timeout_s(settings: Settings) -> float:
    """Return the shortest timeout of a connection."""
    return min(
        settings.header_timeout_s, settings.body_timeout_s, settings.write_timeout_s, settings.keep_alive_s
    )
