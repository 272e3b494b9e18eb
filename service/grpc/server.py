"""A gRPC server in the running event loop: our service, health checking and reflection, with limits."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2

from service.core.errors import ModelNotReady, Stopping
from service.grpc import tls
from service.grpc.limits.connections import Connections
from service.grpc.servicer import SERVICE, Servicer
from service.grpc.standard_services import StandardServices
from service.inference.models.registry import Registry

log = logging.getLogger(__name__)

_OVERALL = ""
"""The name of the whole server in the health service."""

_MAX_STREAMS = 100
"""Calls of one connection at once; a client of the library queues further ones."""

_MAX_PENDING_CALLS = 4096

_READ_BYTES = 262_144
"""Bytes read from a connection at once; the core's own choice is megabytes for each that sends fast."""

_MAX_HEADER_BYTES = 16_384
"""Of the metadata of a call."""

_MIN_PING_INTERVAL_MS = 10_000
_MAX_PING_STRIKES = 2
"""A client that pings more often than the interval, so many times, is disconnected."""

_REFUSED_CALLS = 512
"""Calls above the limit that may be told so at the same time; the library refuses the others."""


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    Attributes:
        message_bytes: Size of one message, decompressed.
        connections: Connections open at once; also calls in progress at once.
        idle_s: Seconds for which a connection without calls is kept.
        handshake_s: Longest time for a connection to be established, in seconds.
        drain_s: How long calls in progress may continue once the server stops, in seconds.
        shares_port: Whether other processes of the service listen on the same port.
    """

    message_bytes: int
    connections: int
    idle_s: float
    handshake_s: float
    drain_s: float
    shares_port: bool = False

    def options(self) -> list[tuple[str, int]]:
        """Return them as options of gRPC's core."""
        return [
            # Else two processes would share the port and neither would know.
            ("grpc.so_reuseport", int(self.shares_port)),
            ("grpc.max_receive_message_length", self.message_bytes),
            # Fixed windows: else megabytes are received for calls whose message is not read yet.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", 65_535),
            ("grpc.max_concurrent_streams", _MAX_STREAMS),
            # Calls that the event loop has not begun yet. Above a limit the core cancels any, also those
            # of clients that did nothing.
            ("grpc.server.max_pending_requests", _MAX_PENDING_CALLS),
            ("grpc.server.max_pending_requests_hard_limit", 2 * _MAX_PENDING_CALLS),
            ("grpc.experimental.tcp_max_read_chunk_size", _READ_BYTES),
            ("grpc.experimental.tcp_max_read_buffer_size", _READ_BYTES),
            ("grpc.max_metadata_size", _MAX_HEADER_BYTES),
            ("grpc.absolute_max_metadata_size", _MAX_HEADER_BYTES),
            ("grpc.http2.hpack_table_size.decoder", 4096),
            ("grpc.http2.max_ping_strikes", _MAX_PING_STRIKES),
            ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_INTERVAL_MS),
            ("grpc.http2.settings_timeout", round(1000 * self.handshake_s)),
            # A client that is gone without closing its connection does not answer a ping.
            ("grpc.keepalive_time_ms", round(1000 * self.idle_s)),
            ("grpc.keepalive_timeout_ms", round(1000 * self.handshake_s)),
            # Above the limit connections are closed by ourselves, fairly; the core refuses the newest.
            ("grpc.max_allowed_incoming_connections", 2 * self.connections),
            ("grpc.max_connection_idle_ms", round(1000 * self.idle_s)),
            ("grpc.server_handshake_timeout_ms", round(1000 * self.handshake_s)),
        ]


@dataclass(frozen=True)
class Certificate:
    """The files of a server's TLS certificate.

    Attributes:
        chain: PEM file of the certificate, and those that lead to its issuer.
        key: PEM file of the private key.
    """

    chain: Path
    key: Path


@asynccontextmanager
async def serving(
    servicer: Servicer, host: str, port: int, limits: Limits, certificate: Certificate | None = None
) -> AsyncIterator[int]:
    """Serve while the context is entered; calls in progress may continue for a while when it is left.

    Args:
        servicer: Answers.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        limits: Limits of the server.
        certificate: For TLS; None serves without.

    Yields:
        The port.

    Raises:
        RuntimeError: The address is not free, or the certificate cannot be used.
    """
    calls = servicer.calls
    server = grpc.aio.server(
        options=limits.options(), maximum_concurrent_rpcs=limits.connections + _REFUSED_CALLS
    )
    status = health.aio.HealthServicer()
    standard = StandardServices(status, (SERVICE,), calls, servicer.reader, servicer.access)
    server.add_generic_rpc_handlers((servicer.handler(), *standard.handlers()))
    address = f"[{host}]" if ":" in host else host
    if certificate is None:
        bound = server.add_insecure_port(f"{address}:{port}")
    else:
        try:
            credentials = tls.credentials(certificate.chain, certificate.key)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise RuntimeError(
                "The TLS certificate and key should be readable and belong together."
            ) from error
        bound = server.add_secure_port(f"{address}:{port}", credentials)
    await _follow(servicer.registry, status)
    await server.start()
    log.info("listening", extra={"fields": {"address": f"grpc://{address}:{bound}"}})
    try:
        async with calls.watching(Connections(bound, limits.connections)):
            yield bound
    finally:
        await status.enter_graceful_shutdown()
        await server.stop(limits.drain_s)


async def _follow(registry: Registry, status_service: health.aio.HealthServicer) -> None:
    """Keep the state that the health service reports equal to the registry's."""
    loop = asyncio.get_running_loop()

    async def show() -> None:
        try:
            registry.check_ready()
        except (ModelNotReady, Stopping):
            status = health_pb2.HealthCheckResponse.NOT_SERVING
        else:
            status = health_pb2.HealthCheckResponse.SERVING
        for name in (_OVERALL, SERVICE):
            await status_service.set(name, status)

    def change() -> None:
        if not loop.is_closed():
            asyncio.run_coroutine_threadsafe(show(), loop)

    await show()
    registry.subscribe(change)
