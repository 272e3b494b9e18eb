"""The gRPC server: inference, health and reflection services in the running event loop, with limits."""

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
"""Name of the whole server in the health service."""

_MAX_STREAMS = 100
"""Concurrent calls per connection; gRPC clients queue further calls."""

_MAX_PENDING_CALLS = 4096

_READ_BYTES = 262_144
"""Size of a read from a connection; gRPC's default is megabytes for each fast connection."""

_MAX_HEADER_BYTES = 16_384
"""Maximum size of the metadata of a call."""

_MIN_PING_INTERVAL_MS = 10_000
_MAX_PING_STRIKES = 2
"""Number of pings in shorter intervals after which a client is disconnected."""

_REFUSED_CALLS = 512
"""Calls above the limit that get our error at the same time; gRPC refuses further ones itself."""


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    Attributes:
        message_bytes: Maximum size of a message, decompressed.
        connections: Maximum number of connections, and of calls in progress.
        idle_s: Time in seconds after which a connection without calls is closed.
        handshake_s: Timeout of the TLS and HTTP/2 handshake in seconds.
        drain_s: Time in seconds that calls in progress have to finish when the server stops.
        shares_port: Whether other workers of the service listen on the same port.
    """

    message_bytes: int
    connections: int
    idle_s: float
    handshake_s: float
    drain_s: float
    shares_port: bool = False

    def options(self) -> list[tuple[str, int]]:
        """Return the limits as gRPC channel arguments."""
        return [
            # The default, 1, lets two services listen on the same port without an error.
            ("grpc.so_reuseport", int(self.shares_port)),
            ("grpc.max_receive_message_length", self.message_bytes),
            # Fixed flow-control windows: otherwise gRPC receives megabytes of messages not read yet.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", 65_535),
            ("grpc.max_concurrent_streams", _MAX_STREAMS),
            # Calls that the event loop has not started yet. Above this number gRPC cancels calls at random,
            # also those of well-behaved clients.
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
            # Pings detect clients that are gone without closing their connection.
            ("grpc.keepalive_time_ms", round(1000 * self.idle_s)),
            ("grpc.keepalive_timeout_ms", round(1000 * self.handshake_s)),
            # `Connections.trim` closes connections fairly before gRPC refuses new ones.
            ("grpc.max_allowed_incoming_connections", 2 * self.connections),
            ("grpc.max_connection_idle_ms", round(1000 * self.idle_s)),
            ("grpc.server_handshake_timeout_ms", round(1000 * self.handshake_s)),
        ]


@dataclass(frozen=True)
class Certificate:
    """The files of a server's TLS certificate.

    Attributes:
        chain: PEM file of the certificate chain.
        key: PEM file of the private key.
    """

    chain: Path
    key: Path


@asynccontextmanager
async def serving(
    servicer: Servicer, host: str, port: int, limits: Limits, certificate: Certificate | None = None
) -> AsyncIterator[int]:
    """Serve while the context is entered; on exit, calls in progress have `limits.drain_s` to finish.

    Args:
        servicer: The inference service.
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.
        limits: Limits of the server.
        certificate: Certificate for TLS; None for no TLS.

    Yields:
        The port.

    Raises:
        RuntimeError: The address is in use, or the certificate is not valid.
    """
    call_handler = servicer.call_handler
    calls = call_handler.calls
    server = grpc.aio.server(
        options=limits.options(), maximum_concurrent_rpcs=limits.connections + _REFUSED_CALLS
    )
    status = health.aio.HealthServicer()
    standard = StandardServices(status, (SERVICE,), calls, call_handler.reader, call_handler.access)
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
    await _follow_readiness(servicer.registry, status)
    await server.start()
    log.info("listening", extra={"fields": {"address": f"grpc://{address}:{bound}"}})
    try:
        async with calls.watching(Connections(bound, limits.connections)):
            yield bound
    finally:
        await status.enter_graceful_shutdown()
        await server.stop(limits.drain_s)


async def _follow_readiness(registry: Registry, status_service: health.aio.HealthServicer) -> None:
    """Set the status of the health service whenever the registry's status changes."""
    loop = asyncio.get_running_loop()

    async def update() -> None:
        try:
            registry.check_ready()
        except (ModelNotReady, Stopping):
            status = health_pb2.HealthCheckResponse.NOT_SERVING
        else:
            status = health_pb2.HealthCheckResponse.SERVING
        for name in (_OVERALL, SERVICE):
            await status_service.set(name, status)

    def on_change() -> None:
        if not loop.is_closed():
            asyncio.run_coroutine_threadsafe(update(), loop)

    await update()
    registry.subscribe(on_change)
