"""Handlers of GRPCInferenceService: messages in, messages out. Limits, access and errors are in `_answer`."""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message

from service.core.errors import DeadlineExceeded, ModelError, ModelNotReady, ServiceError, Stopping
from service.grpc import statuses
from service.grpc.access import UNLIMITED, Access, Grant, Metadata, Right
from service.grpc.limits.calls import Call, Calls
from service.grpc.limits.clients import client_of
from service.grpc.messages import codec
from service.grpc.messages import inference_pb2 as pb
from service.grpc.messages.reader import MessageReader
from service.grpc.messages.scan import ScannedRequest
from service.http.messages import problems
from service.inference.admission.audit import Actor
from service.inference.pipeline import Pipeline, PredictionRequest
from service.inference.models.model import Model
from service.inference.models.registry import Registry
from service.inference.request_context import CLIENT_CLOSED, RequestContext, request_id_from
from service.observability.model_statistics import StatisticsReader
from service.observability.request_log import RequestLog
from service.oip import inference
from service.oip import model_metadata as description
from service.oip.messages import InferenceResponse
from service.oip.model_repository import Management

log = logging.getLogger(__name__)

_BYTES_PER_NUMBER = 16
"""Memory of a number in typed contents while it is parsed: eight bytes in the parsed message,
eight in an array."""

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name


@dataclass(frozen=True)
class Request:
    """One call of a method.

    Attributes:
        content: Its message, as it came; empty for a method whose message has no fields.
        request_context: What is known of it.
        grant: What its client may do.
        address: The client's IP address, or `-`.
        deadline_s: When its client gives up, in seconds since it began; None if never.
    """

    content: bytes
    request_context: RequestContext
    grant: Grant
    address: str
    deadline_s: float | None


@dataclass(frozen=True)
class Method:
    """A method of the service.

    Attributes:
        answer: Returns the answer's bytes for a call.
        right: What its client needs; None if everybody may call it.
        reads: Which message it has: `none`, whose fields nobody needs, a `small` one, or an `inference`.
    """

    answer: Callable[[Request], Awaitable[bytes]]
    right: Right | None
    reads: Literal["none", "small", "inference"] = "small"


@dataclass(frozen=True)
class Servicer:
    """The protocol's service.

    Attributes:
        registry: What is served.
        pipeline: The prediction pipeline.
        statistics: Counts and times by model.
        management: The model repository.
        request_log: The request log.
        version: Of the server.
        engine_threads: Of one inference.
        calls: The calls in progress.
        reader: Reads their messages.
        access: Admission control.
    """

    registry: Registry
    pipeline: Pipeline
    statistics: StatisticsReader
    management: Management
    request_log: RequestLog
    version: str
    engine_threads: int
    calls: Calls
    reader: MessageReader
    access: Access

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what a server of gRPC needs to answer.

        Methods are declared as if they took a stream of messages, and take bytes: so a message is read when
        its turn has come, and one that cannot be parsed is refused as every other error is. On the wire there
        is no difference.
        """
        methods = {
            "ServerLive": Method(self.server_live, None, "none"),
            "ServerReady": Method(self.server_ready, None, "none"),
            "ServerMetadata": Method(self.server_metadata, "read", "none"),
            "ModelReady": Method(self.model_ready, "read"),
            "ModelMetadata": Method(self.model_metadata, "read"),
            "ModelConfig": Method(self.model_config, "read"),
            "ModelStatistics": Method(self.model_statistics, "read"),
            "ModelInfer": Method(self.model_infer, "predict", "inference"),
            "RepositoryIndex": Method(self.repository_index, "manage"),
            "RepositoryModelLoad": Method(self.repository_model_load, "manage"),
            "RepositoryModelUnload": Method(self.repository_model_unload, "manage"),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.stream_unary_rpc_method_handler(
                    functools.partial(self._answer, f"/{SERVICE}/{name}", method)
                )
                for name, method in methods.items()
            },
        )

    async def server_live(self, call: Request) -> bytes:
        """Tell that the process answers."""
        del call
        return _written(pb.ServerLiveResponse(live=True))

    async def server_ready(self, call: Request) -> bytes:
        """Tell whether every model that should be served can answer."""
        del call
        return _written(pb.ServerReadyResponse(ready=_is_ready(self.registry.check_ready)))

    async def server_metadata(self, call: Request) -> bytes:
        """Name the server and what it can do."""
        del call
        document = description.server(self.version, self.management.is_on)
        return _written(json_format.ParseDict(document, pb.ServerMetadataResponse()))

    async def model_ready(self, call: Request) -> bytes:
        """Tell whether a model can answer; raises UnknownModel, UnknownVersion."""
        asked = _parsed(pb.ModelReadyRequest, call)
        is_ready = _is_ready(lambda: self._find(call, asked.name, asked.version))
        return _written(pb.ModelReadyResponse(ready=is_ready))

    async def model_metadata(self, call: Request) -> bytes:
        """Describe a model's tensors."""
        asked = _parsed(pb.ModelMetadataRequest, call)
        model = self._find(call, asked.name, asked.version)
        document = description.model(model, self._versions(model))
        return _written(json_format.ParseDict(document, pb.ModelMetadataResponse()))

    async def model_config(self, call: Request) -> bytes:
        """Describe how a model is served."""
        asked = _parsed(pb.ModelConfigRequest, call)
        model = self._find(call, asked.name, asked.version)
        max_images = self.pipeline.limits.of(model.shape).images
        document = description.configuration(model, self._versions(model), max_images, self.engine_threads)
        return _written(json_format.ParseDict({"config": document}, pb.ModelConfigResponse()))

    async def model_statistics(self, call: Request) -> bytes:
        """Say what every model was asked, or one, or one version of it."""
        asked = _parsed(pb.ModelStatisticsRequest, call)
        if asked.name:
            model = self._find(call, asked.name, asked.version)
            versions = [model.version] if asked.version else self._versions(model)
            keys = [(model.name, version) for version in versions]
        else:
            keys = [(model.name, model.version) for model in self.registry.models()]
        document = description.statistics({key: self.statistics.of(*key) for key in keys})
        return _written(json_format.ParseDict(document, pb.ModelStatisticsResponse()))

    async def model_infer(self, call: Request) -> bytes:
        """Run a model on tensors."""
        envelope = ScannedRequest.of(call.content, self.pipeline.limits.images)
        request_context = call.request_context
        model = self._find(call, envelope.model, envelope.version or "")
        request_context.is_prediction = True
        limits = self.pipeline.limits

        def understand() -> PredictionRequest[bytes]:
            asked, is_raw = codec.read(envelope)

            def write(inferred: InferenceResponse) -> bytes:
                return codec.write(inferred, is_raw)

            prediction_request = inference.prediction_request(asked, model, limits, request_context, write)
            call.grant.charge(len(prediction_request.drawings))
            times = [time for time in (prediction_request.timeout_s, call.deadline_s) if time is not None]
            return prediction_request._replace(timeout_s=min(times, default=None))

        def read() -> PredictionRequest[bytes]:
            try:
                return understand()
            except ServiceError as error:
                raise error.with_traceback(None)  # noqa: B904 - which would hold the message until it is told

        cost = _BYTES_PER_NUMBER * envelope.numbers
        self.calls.budget.acquire(cost)
        try:
            return await self.pipeline.respond(
                request_context, model, read, len(call.content), len(envelope.rest)
            )
        finally:
            self.calls.budget.release(cost)

    async def repository_index(self, call: Request) -> bytes:
        """List what is published, and what of it is served."""
        self.management.check()
        asked = _parsed(pb.RepositoryIndexRequest, call)
        document = {"models": description.index(self.management.index(asked.ready))}
        return _written(json_format.ParseDict(document, pb.RepositoryIndexResponse()))

    async def repository_model_load(self, call: Request) -> bytes:
        """Serve what is published of a model now."""
        self.management.check()
        asked = _parsed(pb.RepositoryModelLoadRequest, call)
        name = asked.model_name or asked.repository_name  # where KServe's edition has the model's name
        call.grant.check_model(name)
        await self.management.load(name, asked.parameters, _actor(call))
        return _written(pb.RepositoryModelLoadResponse(model_name=name, isLoaded=True))

    async def repository_model_unload(self, call: Request) -> bytes:
        """Serve a model no longer."""
        self.management.check()
        asked = _parsed(pb.RepositoryModelUnloadRequest, call)
        name = asked.model_name or asked.repository_name  # as above
        call.grant.check_model(name)
        await self.management.unload(name, _actor(call))
        return _written(pb.RepositoryModelUnloadResponse(model_name=name, isUnloaded=True))

    async def _answer(
        self, path: str, method: Method, requests: object, context: grpc.aio.ServicerContext
    ) -> bytes:
        """Answer one call, whatever comes, and log it.

        Errors are sent by setting the code: `abort` raises an error whose traceback would hold the message,
        in a cycle that the garbage collector finds late.
        """
        del requests
        metadata = context.invocation_metadata() or ()
        request_context = RequestContext(_request_id(metadata), route=path)
        deadline_s = context.time_remaining()
        trailing = statuses.metadata(request_context.request_id)
        call: Call | None = None
        answer = b""
        self.request_log.begin()
        try:
            call = self.calls.begin(context)
            grant = await self._authorize(metadata, call, method)
            answer = await self._run(method, grant, call, request_context, deadline_s, context)
            trailing += tuple(grant.fields())
            self.calls.answer(call, len(answer))
            request_context.status = 200
        except ServiceError as error:
            answer = b""
            request_context.status = problems.lookup(error).status
            if isinstance(error, ModelError):
                fields = {"request_id": request_context.request_id}
                log.error("model failed", exc_info=error, extra={"fields": fields})
            context.set_code(statuses.code(error))
            context.set_details(statuses.sentence(error))
            trailing = statuses.metadata(request_context.request_id, error)
        except asyncio.CancelledError:
            is_late = deadline_s is not None and request_context.age_s() >= deadline_s
            if call is not None and not is_late:
                self.calls.cancelled(call)
            request_context.status = problems.TABLE[DeadlineExceeded].status if is_late else CLIENT_CLOSED
            raise
        except Exception:
            answer = b""
            request_context.status = problems.INTERNAL.status
            log.exception("unexpected error", extra={"fields": {"request_id": request_context.request_id}})
            context.set_code(grpc.StatusCode.INTERNAL)
            context.set_details(statuses.INTERNAL_SENTENCE)
        finally:
            self.request_log.end(request_context, "POST", path, client_of(context.peer()).address)
        if call is not None and request_context.status != 200:
            self.calls.finish(call)
        context.set_trailing_metadata(trailing)
        return answer

    async def _authorize(self, metadata: Metadata, call: Call, method: Method) -> Grant:
        """Check that the client may call a method, before anything of its message is read."""
        if method.right is None:
            return UNLIMITED
        return await self.access.authorize(metadata, call.client.address, method.right)

    async def _run(
        self,
        method: Method,
        grant: Grant,
        call: Call,
        request_context: RequestContext,
        deadline_s: float | None,
        context: grpc.aio.ServicerContext,
    ) -> bytes:
        """Read a call's message and return the answer."""
        address = call.client.address
        if method.reads == "none":
            return await method.answer(Request(b"", request_context, grant, address, deadline_s))
        if method.reads == "small":
            content = await self.reader.read_small(call, context)
            _note(request_context, content)
            return await method.answer(Request(content, request_context, grant, address, deadline_s))
        content = await self.reader.read(call, context)
        try:
            _note(request_context, content)
            return await method.answer(Request(content, request_context, grant, address, deadline_s))
        finally:
            self.reader.release(content)

    def _find(self, call: Request, name: str, version: str) -> Model:
        call.grant.check_model(name)
        return self.pipeline.find_model(call.request_context, name, version or None)

    def _versions(self, model: Model) -> list[str]:
        return [other.version for other in self.registry.models() if other.name == model.name]


def _actor(call: Request) -> Actor:
    """Return who asks, for the audit record."""
    return Actor(call.grant.client, call.address, call.request_context.request_id)


def _request_id(metadata: Metadata) -> str:
    """Return the client's id of a request if it can be logged, else a new one."""
    return request_id_from(str(next((value for key, value in metadata if key == statuses.REQUEST_ID), "")))


def _note(request_context: RequestContext, content: bytes) -> None:
    request_context.received = len(content)
    request_context.body_read = True
    request_context.mark("read")


def _parsed(kind: type[codec.AnyMessage], call: Request) -> codec.AnyMessage:
    """Parse a message that is no inference."""
    return codec.parse(kind, call.content)


def _written(message: Message) -> bytes:
    return bytes(message.SerializeToString())


def _is_ready(check: Callable[[], object]) -> bool:
    try:
        check()
    except (ModelNotReady, Stopping):
        return False
    return True
