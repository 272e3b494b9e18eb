"""A server of gRPC in the event loop that is running: the protocol's service, health and reflection."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from service.core.errors import ModelNotReady
from service.grpc.servicer import SERVICE, Servicer
from service.serving.registry import Registry

log = logging.getLogger(__name__)

_OVERALL = ""
"""The name under which the health service knows the whole server."""


@dataclass(frozen=True)
class Limits:
    """How much callers may ask of a server.

    Attributes:
        message_bytes: Of one message, once it is unpacked.
        connections: Open at once; also calls being answered at once.
        idle_s: How long a connection on which nobody calls is kept.
        handshake_s: How long a connection may take to begin.
        drain_s: How long calls may go on once the server stops.
        shares_port: Whether other processes of ours listen on the same port, each taking its share of
            connections.
    """

    message_bytes: int
    connections: int
    idle_s: float
    handshake_s: float
    drain_s: float
    shares_port: bool = False


@asynccontextmanager
async def serving(servicer: Servicer, host: str, port: int, limits: Limits) -> AsyncIterator[int]:
    """Serve while the context is entered; calls under way may end when it is left, for a while.

    Args:
        servicer: Answers.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        limits: How much callers may ask.

    Yields:
        The port.

    Raises:
        RuntimeError: The address is not free.
    """
    server = grpc.aio.server(
        options=[
            # Else two processes would share the port and neither would know.
            ("grpc.so_reuseport", int(limits.shares_port)),
            ("grpc.max_receive_message_length", limits.message_bytes),
            ("grpc.http2.bdp_probe", 0),  # else it takes in megabytes of messages that nobody reads yet
            ("grpc.max_allowed_incoming_connections", limits.connections),
            ("grpc.max_connection_idle_ms", round(1000 * limits.idle_s)),
            ("grpc.server_handshake_timeout_ms", round(1000 * limits.handshake_s)),
        ],
        maximum_concurrent_rpcs=limits.connections,
    )
    server.add_generic_rpc_handlers((servicer.handler(),))
    standing = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(standing, server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    address = f"[{host}]" if ":" in host else host
    bound = server.add_insecure_port(f"{address}:{port}")
    await _follow(servicer.registry, standing)
    await server.start()
    log.info("listening", extra={"fields": {"address": f"grpc://{address}:{bound}"}})
    try:
        yield bound
    finally:
        await standing.enter_graceful_shutdown()
        await server.stop(limits.drain_s)


async def _follow(registry: Registry, standing: health.aio.HealthServicer) -> None:
    """Let the health service say of the server and of its service what the registry says, now and later."""
    loop = asyncio.get_running_loop()

    async def show() -> None:
        try:
            registry.check_ready()
        except ModelNotReady:
            status = health_pb2.HealthCheckResponse.NOT_SERVING
        else:
            status = health_pb2.HealthCheckResponse.SERVING
        for name in (_OVERALL, SERVICE):
            await standing.set(name, status)

    def change() -> None:
        if not loop.is_closed():
            asyncio.run_coroutine_threadsafe(show(), loop)

    await show()
    registry.subscribe(change)
