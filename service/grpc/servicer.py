"""Methods of GRPCInferenceService: parse the request, call the service, serialize the response."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message

from service.core.errors import ModelNotReady, ServiceError, Stopping
from service.grpc.call_handler import CallHandler, Method, Request
from service.grpc.messages import codec
from service.grpc.messages import inference_pb2 as pb
from service.grpc.messages.scan import ScannedRequest
from service.inference.admission.audit import Actor
from service.inference.admission.keys import Right
from service.inference.models.model import Model
from service.inference.models.registry import Registry
from service.inference.pipeline import Pipeline, PredictionRequest
from service.observability.model_statistics import StatisticsReader
from service.oip import inference, model_metadata
from service.oip.messages import InferenceResponse
from service.oip.model_repository import Management

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name

_BYTES_PER_NUMBER = 16
"""Memory per number of typed contents while they are parsed: 8 bytes in the parsed message, 8 in an array."""


@dataclass(frozen=True)
class Servicer:
    """The methods of the protocol's service.

    Attributes:
        registry: The loaded models.
        pipeline: The prediction pipeline.
        statistics: Request counts and times per model.
        management: The model repository.
        version: Version of the server.
        engine_threads: Threads per inference.
        call_handler: Handles the calls of every method.
    """

    registry: Registry
    pipeline: Pipeline
    statistics: StatisticsReader
    management: Management
    version: str
    engine_threads: int
    call_handler: CallHandler

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handler of all methods, for a gRPC server.

        Methods are declared with a stream of messages as bytes, which is the same on the wire. So
        `MessageReader` decides when a message is read, and a message that cannot be parsed gets an error like
        any other.
        """
        methods = {
            "ServerLive": Method(self.server_live, None, "none"),
            "ServerReady": Method(self.server_ready, None, "none"),
            "ServerMetadata": Method(self.server_metadata, Right.READ, "none"),
            "ModelReady": Method(self.model_ready, Right.READ),
            "ModelMetadata": Method(self.model_metadata, Right.READ),
            "ModelConfig": Method(self.model_config, Right.READ),
            "ModelStatistics": Method(self.model_statistics, Right.READ),
            "ModelInfer": Method(self.model_infer, Right.PREDICT, "inference"),
            "RepositoryIndex": Method(self.repository_index, Right.MANAGE),
            "RepositoryModelLoad": Method(self.repository_model_load, Right.MANAGE),
            "RepositoryModelUnload": Method(self.repository_model_unload, Right.MANAGE),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.stream_unary_rpc_method_handler(
                    functools.partial(self.call_handler.handle, f"/{SERVICE}/{name}", method)
                )
                for name, method in methods.items()
            },
        )

    async def server_live(self, request: Request) -> bytes:
        """Return that the process is alive."""
        del request
        return _serialize(pb.ServerLiveResponse(live=True))

    async def server_ready(self, request: Request) -> bytes:
        """Return whether all models are ready."""
        del request
        return _serialize(pb.ServerReadyResponse(ready=_is_ready(self.registry.check_ready)))

    async def server_metadata(self, request: Request) -> bytes:
        """Return the server's name, version and extensions."""
        del request
        document = model_metadata.server(self.version, self.management.is_on)
        return _serialize(json_format.ParseDict(document, pb.ServerMetadataResponse()))

    async def model_ready(self, request: Request) -> bytes:
        """Return whether a model is ready; raises UnknownModel, UnknownVersion."""
        message = codec.parse(pb.ModelReadyRequest, request.message)
        is_ready = _is_ready(lambda: self._find_model(request, message.name, message.version))
        return _serialize(pb.ModelReadyResponse(ready=is_ready))

    async def model_metadata(self, request: Request) -> bytes:
        """Return a model's inputs and outputs."""
        message = codec.parse(pb.ModelMetadataRequest, request.message)
        model = self._find_model(request, message.name, message.version)
        document = model_metadata.model(model, self._versions(model))
        return _serialize(json_format.ParseDict(document, pb.ModelMetadataResponse()))

    async def model_config(self, request: Request) -> bytes:
        """Return a model's configuration."""
        message = codec.parse(pb.ModelConfigRequest, request.message)
        model = self._find_model(request, message.name, message.version)
        max_images = self.pipeline.limits.of(model.shape).images
        document = model_metadata.configuration(model, self._versions(model), max_images, self.engine_threads)
        return _serialize(json_format.ParseDict({"config": document}, pb.ModelConfigResponse()))

    async def model_statistics(self, request: Request) -> bytes:
        """Return the statistics of all models, of one, or of one version."""
        message = codec.parse(pb.ModelStatisticsRequest, request.message)
        if message.name:
            model = self._find_model(request, message.name, message.version)
            versions = [model.version] if message.version else self._versions(model)
            keys = [(model.name, version) for version in versions]
        else:
            keys = [(model.name, model.version) for model in self.registry.models()]
        document = model_metadata.statistics({key: self.statistics.of(*key) for key in keys})
        return _serialize(json_format.ParseDict(document, pb.ModelStatisticsResponse()))

    async def model_infer(self, request: Request) -> bytes:
        """Run a model."""
        scanned = ScannedRequest.of(request.message, self.pipeline.limits.images)
        context = request.context
        model = self._find_model(request, scanned.model, scanned.version or "")
        context.is_prediction = True
        limits = self.pipeline.limits

        def parse() -> PredictionRequest[bytes]:
            inference_request, is_raw = codec.read(scanned)

            def write(response: InferenceResponse) -> bytes:
                return codec.write(response, is_raw)

            prediction = inference.prediction_request(inference_request, model, limits, context, write)
            timeouts_s = [s for s in (prediction.timeout_s, request.deadline_s) if s is not None]
            return prediction._replace(timeout_s=min(timeouts_s, default=None))

        def parse_or_raise() -> PredictionRequest[bytes]:
            try:
                return parse()
            except ServiceError as error:
                raise error.with_traceback(None)  # noqa: B904 - the traceback would hold the message

        cost = _BYTES_PER_NUMBER * scanned.numbers
        with self.pipeline.budget.acquired(cost):
            return await self.pipeline.respond(
                context, model, parse_or_raise, len(request.message), len(scanned.rest)
            )

    async def repository_index(self, request: Request) -> bytes:
        """Return the published models and their status."""
        self.management.check()
        message = codec.parse(pb.RepositoryIndexRequest, request.message)
        document = {"models": model_metadata.index(self.management.index(message.ready))}
        return _serialize(json_format.ParseDict(document, pb.RepositoryIndexResponse()))

    async def repository_model_load(self, request: Request) -> bytes:
        """Load a model."""
        self.management.check()
        message = codec.parse(pb.RepositoryModelLoadRequest, request.message)
        name = message.model_name or message.repository_name  # KServe sends the model's name in either
        request.check_model(name)
        await self.management.load(name, message.parameters, _actor(request))
        return _serialize(pb.RepositoryModelLoadResponse(model_name=name, isLoaded=True))

    async def repository_model_unload(self, request: Request) -> bytes:
        """Unload a model."""
        self.management.check()
        message = codec.parse(pb.RepositoryModelUnloadRequest, request.message)
        name = message.model_name or message.repository_name  # as above
        request.check_model(name)
        await self.management.unload(name, _actor(request))
        return _serialize(pb.RepositoryModelUnloadResponse(model_name=name, isUnloaded=True))

    def _find_model(self, request: Request, name: str, version: str) -> Model:
        request.check_model(name)
        return self.pipeline.find_model(request.context, name, version or None)

    def _versions(self, model: Model) -> list[str]:
        return [other.version for other in self.registry.models() if other.name == model.name]


def _actor(request: Request) -> Actor:
    """Return the client, for the audit record."""
    return Actor(request.client, request.address, request.context.request_id)


def _serialize(message: Message) -> bytes:
    return bytes(message.SerializeToString())


def _is_ready(check: Callable[[], object]) -> bool:
    try:
        check()
    except (ModelNotReady, Stopping):
        return False
    return True
