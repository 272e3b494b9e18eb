"""Handles one call of a method: limits, admission, reading the message, errors, log."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import grpc

from service.core.errors import INTERNAL_MESSAGE, DeadlineExceeded, ModelError, ServiceError, client_message
from service.grpc import access, statuses
from service.grpc.access import Metadata
from service.grpc.limits.calls import Call, Calls
from service.grpc.limits.clients import client_of
from service.grpc.messages.reader import MessageReader
from service.inference.admission.access import Access, Grant
from service.inference.admission.keys import Right
from service.inference.request_context import CLIENT_CLOSED, RequestContext, request_id_from
from service.observability.request_log import RequestLog

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """The request of one call.

    Attributes:
        message: Its message, serialized; empty for a method whose message has no fields.
        context: Its request context.
        address: IP address of the client, or `-`.
        deadline_s: Deadline that the client set, in seconds after the start of the call; None without one.
    """

    message: bytes
    context: RequestContext
    address: str
    deadline_s: float | None

    @property
    def client(self) -> str:
        """Name of the client in the key file; `-` without a key."""
        grant = self.context.grant
        return "-" if grant is None else grant.client

    def check_model(self, name: str) -> None:
        """Check that the client may use a model; raises Forbidden."""
        if self.context.grant is not None:
            self.context.grant.check_model(name)


@dataclass(frozen=True)
class Method:
    """A method of the service.

    Attributes:
        handle: Returns the serialized response to a request.
        right: Right that the client needs; None if no key is needed.
        reads: Which message to read: `none` if it has no fields, a `small` one, or an `inference`.
    """

    handle: Callable[[Request], Awaitable[bytes]]
    right: Right | None
    reads: Literal["none", "small", "inference"] = "small"


@dataclass(frozen=True)
class CallHandler:
    """Handles calls.

    Attributes:
        calls: The calls in progress.
        reader: Reads their messages.
        access: Admission control.
        request_log: The request log.
    """

    calls: Calls
    reader: MessageReader
    access: Access
    request_log: RequestLog

    async def handle(
        self, path: str, method: Method, requests: object, servicer_context: grpc.aio.ServicerContext
    ) -> bytes:
        """Handle one call and log it; every error is sent to the client.

        Errors are sent by setting the code: `abort` raises an error whose traceback would hold the message,
        in a reference cycle that the garbage collector finds late.

        Args:
            path: Path of the method, `/SERVICE/METHOD`.
            method: The method.
            requests: gRPC's iterator of messages; unused, see `MessageReader`.
            servicer_context: gRPC's context of the call.

        Returns:
            The serialized response; empty after an error.
        """
        del requests
        metadata = servicer_context.invocation_metadata() or ()
        context = RequestContext(_request_id(metadata), route=path)
        deadline_s = servicer_context.time_remaining()
        trailing = statuses.trailing_metadata(context.request_id)
        call: Call | None = None
        response = b""
        self.request_log.begin()
        try:
            call = self.calls.begin(servicer_context)
            context.grant = await self._authorize(metadata, call, method)
            response = await self._run(method, call, context, deadline_s, servicer_context)
            if context.grant is not None:
                trailing += tuple(context.grant.fields())
            self.calls.start_sending(call, len(response))
            context.status = 200
        except ServiceError as error:
            response = b""
            status = statuses.lookup(error)
            context.status = status.http
            if isinstance(error, ModelError):
                fields = {"request_id": context.request_id}
                log.error("model failed", exc_info=error, extra={"fields": fields})
            servicer_context.set_code(status.code)
            servicer_context.set_details(client_message(error))
            trailing = statuses.trailing_metadata(context.request_id, error)
        except asyncio.CancelledError:
            is_late = deadline_s is not None and context.age_s() >= deadline_s
            if call is not None and not is_late:
                self.calls.count_cancelled(call)
            context.status = statuses.TABLE[DeadlineExceeded].http if is_late else CLIENT_CLOSED
            raise
        except Exception:  # any unexpected error: logged, and the client gets INTERNAL
            response = b""
            context.status = statuses.INTERNAL.http
            log.exception("unexpected error", extra={"fields": {"request_id": context.request_id}})
            servicer_context.set_code(statuses.INTERNAL.code)
            servicer_context.set_details(INTERNAL_MESSAGE)
        finally:
            self.request_log.end(context, "POST", path, client_of(servicer_context.peer()).address)
        if call is not None and context.status != 200:
            self.calls.start_sending(call, 0)
        servicer_context.set_trailing_metadata(trailing)
        return response

    async def _authorize(self, metadata: Metadata, call: Call, method: Method) -> Grant | None:
        """Admit the call, before anything of its message is read."""
        if method.right is None:
            return None
        return await access.authorize(self.access, metadata, call.client.address, method.right)

    async def _run(
        self,
        method: Method,
        call: Call,
        context: RequestContext,
        deadline_s: float | None,
        servicer_context: grpc.aio.ServicerContext,
    ) -> bytes:
        """Read the message and return the response."""
        address = call.client.address
        if method.reads == "none":
            return await method.handle(Request(b"", context, address, deadline_s))
        if method.reads == "small":
            message = await self.reader.read_small(call, servicer_context)
            _note_read(context, message)
            return await method.handle(Request(message, context, address, deadline_s))
        message = await self.reader.read(call, servicer_context)
        try:
            _note_read(context, message)
            return await method.handle(Request(message, context, address, deadline_s))
        finally:
            self.reader.release(message)


def _request_id(metadata: Metadata) -> str:
    """Return the client's request id if it is valid; else a new one."""
    return request_id_from(str(next((value for key, value in metadata if key == statuses.REQUEST_ID), "")))


def _note_read(context: RequestContext, message: bytes) -> None:
    context.received = len(message)
    context.body_read = True
    context.mark("read")
