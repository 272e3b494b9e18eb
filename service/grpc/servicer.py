"""The methods of the protocol's service. Each is a translation; how an error is told stands in one place."""

import asyncio
import functools
import logging
import urllib.parse
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message

from service.core.errors import (
    DeadlineExceeded,
    ModelError,
    ModelNotReady,
    PayloadTooLarge,
    ServiceError,
)
from service.grpc import inference_pb2 as pb
from service.grpc import messages, statuses
from service.grpc.envelope import Envelope
from service.http import problems
from service.http.answering import Answering, Question
from service.http.exchange import CLIENT_CLOSED, Exchange, request_id_from
from service.http.journal import Journal
from service.inference import costs
from service.protocol import description, inference
from service.protocol.inference import Inferred
from service.protocol.management import Management
from service.serving.registry import Model, Registry
from service.serving.statistics import Records

log = logging.getLogger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name

_MOST_BYTES = 65_536
"""Of a message that asks for no inference; it needs a name and a version."""


@dataclass(frozen=True)
class Call:
    """One call of a method.

    Attributes:
        content: Its message, as it came.
        exchange: What is known of it.
        deadline_s: When its caller gives up, in seconds since it began; None if never.
    """

    content: bytes
    exchange: Exchange
    deadline_s: float | None


Method = Callable[[Call], Awaitable[bytes]]


@dataclass(frozen=True)
class Servicer:
    """The protocol's service.

    Attributes:
        registry: What is served.
        answering: The way of a prediction.
        statistics: What was asked.
        management: The model repository.
        journal: Where calls are written down.
        version: Of the server.
        engine_threads: Of one inference.
    """

    registry: Registry
    answering: Answering
    statistics: Records
    management: Management
    journal: Journal
    version: str
    engine_threads: int

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what a server of gRPC needs to answer.

        Methods take bytes, one by one, instead of a message, so that the gate can say when a message is read,
        and so that what is no message is told as every error is. On the wire there is no difference.
        """
        methods: dict[str, Method] = {
            "ServerLive": self.server_live,
            "ServerReady": self.server_ready,
            "ServerMetadata": self.server_metadata,
            "ModelReady": self.model_ready,
            "ModelMetadata": self.model_metadata,
            "ModelConfig": self.model_config,
            "ModelStatistics": self.model_statistics,
            "ModelInfer": self.model_infer,
            "RepositoryIndex": self.repository_index,
            "RepositoryModelLoad": self.repository_model_load,
            "RepositoryModelUnload": self.repository_model_unload,
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

    async def server_live(self, call: Call) -> bytes:
        """Tell that the process answers."""
        _question(pb.ServerLiveRequest, call)
        return _written(pb.ServerLiveResponse(live=True))

    async def server_ready(self, call: Call) -> bytes:
        """Tell whether every model that should be served can answer."""
        _question(pb.ServerReadyRequest, call)
        return _written(pb.ServerReadyResponse(ready=_is_ready(self.registry.check_ready)))

    async def server_metadata(self, call: Call) -> bytes:
        """Name the server and what it can do."""
        _question(pb.ServerMetadataRequest, call)
        document = description.server(self.version, self.management.is_on)
        return _written(json_format.ParseDict(document, pb.ServerMetadataResponse()))

    async def model_ready(self, call: Call) -> bytes:
        """Tell whether a model can answer; raises UnknownModel, UnknownVersion."""
        asked = _question(pb.ModelReadyRequest, call)
        is_ready = _is_ready(lambda: self._find(call, asked.name, asked.version))
        return _written(pb.ModelReadyResponse(ready=is_ready))

    async def model_metadata(self, call: Call) -> bytes:
        """Describe a model's tensors."""
        asked = _question(pb.ModelMetadataRequest, call)
        model = self._find(call, asked.name, asked.version)
        document = description.model(model, self._versions(model))
        return _written(json_format.ParseDict(document, pb.ModelMetadataResponse()))

    async def model_config(self, call: Call) -> bytes:
        """Describe how a model is served."""
        asked = _question(pb.ModelConfigRequest, call)
        model = self._find(call, asked.name, asked.version)
        max_images = self.answering.limits.of(model.shape).images
        document = description.configuration(model, self._versions(model), max_images, self.engine_threads)
        return _written(json_format.ParseDict({"config": document}, pb.ModelConfigResponse()))

    async def model_statistics(self, call: Call) -> bytes:
        """Say what every model was asked, or one, or one version of it."""
        asked = _question(pb.ModelStatisticsRequest, call)
        if asked.name:
            model = self._find(call, asked.name, asked.version)
            versions = [model.version] if asked.version else self._versions(model)
            keys = [(model.name, version) for version in versions]
        else:
            keys = [(model.name, model.version) for model in self.registry.models()]
        document = description.statistics({key: self.statistics.of(*key) for key in keys})
        return _written(json_format.ParseDict(document, pb.ModelStatisticsResponse()))

    async def model_infer(self, call: Call) -> bytes:
        """Run a model on tensors."""
        envelope = Envelope.of(call.content, self.answering.limits.images)
        exchange = call.exchange
        model = self.answering.find_by_name(exchange, envelope.model, envelope.version)
        exchange.is_prediction = True
        limits = self.answering.limits

        def understand() -> Question[bytes]:
            with self.answering.budget.acquired(costs.elements_cost(envelope.elements)):
                asked, is_raw = messages.read(envelope)

                def write(inferred: Inferred) -> bytes:
                    return messages.write(inferred, is_raw)

                question = inference.question(asked, model, limits, exchange, write)
            times = [time for time in (question.timeout_s, call.deadline_s) if time is not None]
            return question._replace(timeout_s=min(times, default=None))

        def read() -> Question[bytes]:
            try:
                return understand()
            except ServiceError as error:
                raise error.with_traceback(None)  # noqa: B904 - which would hold the message until it is told

        return await self.answering.respond(exchange, model, read, len(call.content), len(envelope.rest))

    async def repository_index(self, call: Call) -> bytes:
        """List what is published, and what of it is served."""
        self.management.check()
        asked = _question(pb.RepositoryIndexRequest, call)
        document = {"models": description.index(self.management.index(asked.ready))}
        return _written(json_format.ParseDict(document, pb.RepositoryIndexResponse()))

    async def repository_model_load(self, call: Call) -> bytes:
        """Serve what is published of a model now."""
        self.management.check()
        asked = _question(pb.RepositoryModelLoadRequest, call)
        name = asked.model_name or asked.repository_name  # where KServe's edition has the model's name
        await self.management.load(name, asked.parameters)
        return _written(pb.RepositoryModelLoadResponse(model_name=name, isLoaded=True))

    async def repository_model_unload(self, call: Call) -> bytes:
        """Serve a model no longer."""
        self.management.check()
        asked = _question(pb.RepositoryModelUnloadRequest, call)
        name = asked.model_name or asked.repository_name  # as above
        await self.management.unload(name)
        return _written(pb.RepositoryModelUnloadResponse(model_name=name, isUnloaded=True))

    async def _answer(
        self, path: str, method: Method, requests: object, context: grpc.aio.ServicerContext
    ) -> bytes:
        """Answer one call, whatever comes; write it down.

        Failures are told by setting the code: `abort` raises an error whose traceback would hold the message,
        in a circle that is not looked for often enough.
        """
        del requests
        given = dict(context.invocation_metadata() or ()).get(statuses.REQUEST_ID, "")
        exchange = Exchange(request_id_from(str(given)), route=path)
        deadline_s = context.time_remaining()
        address = _address(context.peer())
        trailing = statuses.metadata(exchange.request_id)
        self.journal.begin()
        try:
            async with self.answering.gate.message(lambda: _read(context), exchange) as content:
                exchange.mark("read")
                answer = await method(Call(content, exchange, deadline_s))
            exchange.status = 200
        except ServiceError as error:
            answer = b""
            exchange.status = problems.lookup(error).status
            if isinstance(error, ModelError):
                fields = {"request_id": exchange.request_id}
                log.error("model failed", exc_info=error, extra={"fields": fields})
            context.set_code(statuses.code(error))
            context.set_details(problems.sentence(error))
            trailing = statuses.metadata(exchange.request_id, error)
        except asyncio.CancelledError:
            is_late = deadline_s is not None and exchange.age_s() >= deadline_s
            exchange.status = problems.TABLE[DeadlineExceeded].status if is_late else CLIENT_CLOSED
            raise
        except Exception:
            answer = b""
            exchange.status = problems.INTERNAL.status
            log.exception("unforeseen", extra={"fields": {"request_id": exchange.request_id}})
            context.set_code(grpc.StatusCode.INTERNAL)
            context.set_details(f"{problems.INTERNAL.title}.")
        finally:
            self.journal.end(exchange, "POST", path, address)
        context.set_trailing_metadata(trailing)
        return answer

    def _find(self, call: Call, name: str, version: str) -> Model:
        return self.answering.find_by_name(call.exchange, name, version or None)

    def _versions(self, model: Model) -> list[str]:
        return [other.version for other in self.registry.models() if other.name == model.name]


async def _read(context: grpc.aio.ServicerContext) -> bytes | None:
    """Return a call's message, or None if there is none; an iterator of messages would hold the last one."""
    content = await context.read()
    return None if content is grpc.aio.EOF else bytes(content)


def _question(kind: type[messages.AnyMessage], call: Call) -> messages.AnyMessage:
    """Read a message that asks for no inference."""
    if len(call.content) > _MOST_BYTES:
        raise PayloadTooLarge("Message", _MOST_BYTES, "bytes", f"{len(call.content):,}")
    return messages.parse(kind, call.content)


def _written(message: Message) -> bytes:
    return bytes(message.SerializeToString())


def _is_ready(check: Callable[[], object]) -> bool:
    try:
        check()
    except ModelNotReady:
        return False
    return True


def _address(peer: str) -> str:
    """Return the host of `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`."""
    kind, _, rest = urllib.parse.unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else "-"
