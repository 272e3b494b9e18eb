"""The standard gRPC services, health checking and reflection, with the same limits as the other methods.

The library's own handlers do not limit how many messages are read at the same time.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from service.core.errors import ServiceError, client_message
from service.grpc import access, statuses
from service.grpc.limits.calls import Call, Calls
from service.grpc.messages import codec
from service.grpc.messages.reader import MessageReader
from service.inference.admission.access import Access
from service.inference.admission.keys import Right

Context: TypeAlias = grpc.aio.ServicerContext


@dataclass(frozen=True)
class StandardServices:
    """Health checking, which needs no API key, and reflection, which needs the right to read.

    Attributes:
        health: The library's health service.
        services: Services that reflection lists, besides health and reflection.
        calls: The calls in progress.
        reader: Reads their messages.
        access: Admission control.
    """

    health: health.aio.HealthServicer
    services: tuple[str, ...]
    calls: Calls
    reader: MessageReader
    access: Access

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return the handlers of both services, for a gRPC server."""
        names = (*self.services, health.SERVICE_NAME, reflection.SERVICE_NAME)
        library = reflection.aio.ReflectionServicer(service_names=names)

        async def check(context: Context, call: Call) -> Message:
            content = await self.reader.read_small(call, context)
            return await self.health.Check(codec.parse(health_pb2.HealthCheckRequest, content), context)

        async def watch(context: Context, call: Call) -> None:
            content = await self.reader.read_small(call, context)
            request = codec.parse(health_pb2.HealthCheckRequest, content)
            async with self.calls.revocable(call, None):
                await self.health.Watch(request, context)

        async def reflect(context: Context, call: Call) -> None:
            metadata = context.invocation_metadata() or ()
            await access.authorize(self.access, metadata, call.client.address, Right.READ)
            requests = self._reflection_requests(context, call)
            async for response in library.ServerReflectionInfo(requests, context):
                async with self.calls.revocable(call, None):
                    await context.write(response)

        return (
            grpc.method_handlers_generic_handler(
                health.SERVICE_NAME,
                {
                    "Check": grpc.stream_unary_rpc_method_handler(self._handler(check), None, _serialize),
                    "Watch": grpc.stream_stream_rpc_method_handler(self._handler(watch), None, _serialize),
                },
            ),
            grpc.method_handlers_generic_handler(
                reflection.SERVICE_NAME,
                {
                    "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
                        self._handler(reflect), None, _serialize
                    ),
                },
            ),
        )

    def _handler(
        self, method: Callable[[Context, Call], Awaitable[Message | None]]
    ) -> Callable[[object, Context], Awaitable[Message | None]]:
        """Return a handler that limits and counts its calls, and sends errors by setting the code."""

        async def handle(requests: object, context: Context) -> Message | None:
            del requests
            call: Call | None = None
            try:
                call = self.calls.begin(context)
                response = await method(context, call)
            except asyncio.CancelledError:
                if call is not None:
                    self.calls.count_cancelled(call)
                raise
            except ServiceError as error:
                response = None
                context.set_code(statuses.lookup(error).code)
                context.set_details(client_message(error))
            if call is not None:
                self.calls.start_sending(call, 0)
            return response

        return handle

    async def _reflection_requests(
        self, context: Context, call: Call
    ) -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        while (content := await self.reader.next_small(call, context)) is not None:
            yield codec.parse(reflection_pb2.ServerReflectionRequest, content)


def _serialize(message: Message | None) -> bytes:
    """Serialize a response; that of a failed call is empty."""
    return b"" if message is None else bytes(message.SerializeToString())
