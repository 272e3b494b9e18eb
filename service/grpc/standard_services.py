"""The standard services, health checking and reflection, within the same limits as our own methods.

The library's handlers let gRPC read a message of any allowed size for every call at once; these do not.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from service.core.errors import ServiceError
from service.grpc import statuses
from service.grpc.access import Access
from service.grpc.limits.calls import Call, Calls
from service.grpc.messages import codec
from service.grpc.messages.reader import MessageReader

Context: TypeAlias = grpc.aio.ServicerContext


@dataclass(frozen=True)
class StandardServices:
    """Health checking, which needs no API key, and reflection, which needs the right to read.

    Attributes:
        health: Answers about the state of the services.
        services: Names of the services that reflection describes, besides its own and that of health.
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
        """Return what a gRPC server needs to answer."""
        names = (*self.services, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflected = reflection.aio.ReflectionServicer(service_names=names)

        async def check(context: Context, call: Call) -> Message:
            content = await self.reader.read_small(call, context)
            asked = codec.parse(health_pb2.HealthCheckRequest, content)
            return await self.health.Check(asked, context)

        async def watch(context: Context, call: Call) -> None:
            content = await self.reader.read_small(call, context)
            asked = codec.parse(health_pb2.HealthCheckRequest, content)
            async with self.calls.within(call, None):
                await self.health.Watch(asked, context)

        async def reflect(context: Context, call: Call) -> None:
            await self.access.authorize(context.invocation_metadata() or (), call.client.address, "read")
            questions = self._questions(context, call)
            async for description in reflected.ServerReflectionInfo(questions, context):
                async with self.calls.within(call, None):
                    await context.write(description)

        return (
            grpc.method_handlers_generic_handler(
                health.SERVICE_NAME,
                {
                    "Check": grpc.stream_unary_rpc_method_handler(self._framed(check), None, _serialized),
                    "Watch": grpc.stream_stream_rpc_method_handler(self._framed(watch), None, _serialized),
                },
            ),
            grpc.method_handlers_generic_handler(
                reflection.SERVICE_NAME,
                {
                    "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
                        self._framed(reflect), None, _serialized
                    ),
                },
            ),
        )

    def _framed(
        self, method: Callable[[Context, Call], Awaitable[Message | None]]
    ) -> Callable[[object, Context], Awaitable[Message | None]]:
        """Return a handler that counts its calls and sends errors by setting the code."""

        async def handle(requests: object, context: Context) -> Message | None:
            del requests
            call: Call | None = None
            try:
                call = self.calls.begin(context)
                answer = await method(context, call)
            except asyncio.CancelledError:
                if call is not None:
                    self.calls.cancelled(call)
                raise
            except ServiceError as error:
                answer = None
                context.set_code(statuses.code(error))
                context.set_details(statuses.sentence(error))
            if call is not None:
                self.calls.finish(call)
            return answer

        return handle

    async def _questions(
        self, context: Context, call: Call
    ) -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        while (content := await self.reader.next_small(call, context)) is not None:
            yield codec.parse(reflection_pb2.ServerReflectionRequest, content)


def _serialized(message: Message | None) -> bytes:
    """Serialize an answer; that of a call that failed is nothing."""
    return b"" if message is None else bytes(message.SerializeToString())
