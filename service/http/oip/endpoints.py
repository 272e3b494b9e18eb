"""Endpoints of the Open Inference Protocol over HTTP: health, metadata, statistics, inference."""

from __future__ import annotations  # else each request evaluates the annotations of nested functions

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from service.codecs import content_types
from service.http.messages import content_coding
from service.http.messages.body_reader import JSON_LENGTH, json_length
from service.http.messages.responses import AS_JSON, Headers, RawResponse, json_response
from service.http.oip import schemas
from service.http.routing.operations import Handler, Operation
from service.http.routing.options import Options
from service.http.routing.predict_endpoint import HttpPipeline, RawRequest
from service.inference.admission.keys import Right
from service.inference.models.model import Model
from service.inference.models.registry import Registry
from service.inference.pipeline import PredictionRequest
from service.observability.model_statistics import StatisticsReader
from service.oip import inference, model_metadata
from service.oip.json_codec.body import Body
from service.oip.json_codec.request import read_request
from service.oip.json_codec.response import write_response
from service.oip.messages import InferenceResponse

_BINARY_RESPONSE = "JSON followed by binary contents, if an output is requested as binary"

_AS_OCTETS: Headers = ((b"content-type", content_types.OCTETS.encode()),)


@dataclass(frozen=True)
class Endpoints:
    """The endpoints under `/v2`, except the model repository.

    Attributes:
        registry: The models that are served.
        http: The prediction pipeline.
        statistics: Statistics of each model version.
        version: Version of the server.
        engine_threads: Threads of one inference.
        is_managed: Whether clients may load and unload models.
    """

    registry: Registry
    http: HttpPipeline
    statistics: StatisticsReader
    version: str
    engine_threads: int
    is_managed: bool

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return [
            _get(
                "server metadata",
                "/v2",
                "Describe the server",
                "Returns name, version and protocol extensions.",
                self.server,
                schemas.ServerMetadata,
            ),
            _get(
                "server live",
                "/v2/health/live",
                "Check that the server is alive",
                "Returns 200 while the process handles requests.",
                self.live,
                schemas.ServerLive,
                right=None,
            ),
            _get(
                "server ready",
                "/v2/health/ready",
                "Check that the server is ready",
                "Returns 200 if every published model is loaded, else 503.",
                self.ready,
                schemas.ServerReady,
                errors=(503,),
                right=None,
            ),
            _get(
                "all statistics",
                "/v2/models/stats",
                "Return the statistics of all models",
                "Returns counts of requests, images and batches, and the time spent in each phase, since the "
                "process started.",
                self.all_statistics,
                schemas.ModelStatistics,
            ),
            _get(
                "model metadata",
                "/v2/models/{model}",
                "Describe the tensors of a model",
                "Returns names, datatypes and shapes of inputs and outputs, and the served versions.",
                self.model,
                schemas.ModelMetadata,
            ),
            _get(
                "model ready",
                "/v2/models/{model}/ready",
                "Check that a model is ready",
                "Returns 200 if the model can be used for inference.",
                self.model_ready,
                schemas.ModelReady,
            ),
            _get(
                "model configuration",
                "/v2/models/{model}/config",
                "Return the configuration of a model",
                "Returns limits and batching settings in the format of Triton's model configuration.",
                self.configuration,
                schemas.ModelConfiguration,
            ),
            _get(
                "model statistics",
                "/v2/models/{model}/stats",
                "Return the statistics of a model",
                "Returns counts of requests, images and batches, and the time spent in each phase, since the "
                "process started. Without a version, of every version that is served.",
                self.model_statistics,
                schemas.ModelStatistics,
            ),
            Operation(
                name="infer",
                method="POST",
                path="/v2/models/{model}/infer",
                summary="Run a model on tensors",
                description="Takes one input tensor of images or image files, in JSON or as binary contents "
                "after the JSON. Returns logits and probabilities, and with the parameter `explain` the "
                "attribution of each pixel.",
                limits=self.http.describe_limits(),
                handle=self.http.endpoint(self.infer, _json_bytes),
                right=Right.PREDICT,
                responses={
                    content_types.JSON: schemas.InferenceResponse,
                    content_types.OCTETS: _BINARY_RESPONSE,
                },
                errors=(408, 413, 415, 422, 504),
                body=schemas.infer_bodies(),
                allows_trailing_slash=True,
            ),
        ]

    async def server(self, request: Request, options: Options) -> Response:
        """Handle `GET /v2`."""
        del request, options
        return json_response(model_metadata.server(self.version, self.is_managed))

    async def live(self, request: Request, options: Options) -> Response:
        """Handle `GET /v2/health/live`."""
        del request, options
        return json_response({"live": True})

    async def ready(self, request: Request, options: Options) -> Response:
        """Handle `GET /v2/health/ready`; raises ModelNotReady if a published model is not loaded."""
        del request, options
        self.registry.check_ready()
        return json_response({"ready": True})

    async def model(self, request: Request, options: Options) -> Response:
        """Handle `GET /v2/models/{model}`."""
        del options
        model = self.http.find_model(request)
        return json_response(model_metadata.model(model, self._versions(model)))

    async def model_ready(self, request: Request, options: Options) -> Response:
        """Handle `GET …/ready`; raises ModelNotReady if the model is not loaded."""
        del options
        return json_response({"name": self.http.find_model(request).name, "ready": True})

    async def configuration(self, request: Request, options: Options) -> Response:
        """Handle `GET …/config`."""
        del options
        model = self.http.find_model(request)
        max_images = self.http.limits.of(model.shape).images
        return json_response(
            model_metadata.configuration(model, self._versions(model), max_images, self.engine_threads)
        )

    async def all_statistics(self, request: Request, options: Options) -> Response:
        """Handle `GET /v2/models/stats`."""
        del request, options
        return self._statistics([(model.name, model.version) for model in self.registry.models()])

    async def model_statistics(self, request: Request, options: Options) -> Response:
        """Handle `GET …/stats`, for the named version or for all that are served."""
        del options
        model = self.http.find_model(request)
        versions = [model.version] if "version" in request.path_params else self._versions(model)
        return self._statistics([(model.name, version) for version in versions])

    def infer(self, raw: RawRequest, model: Model, options: Options) -> PredictionRequest[RawResponse]:
        """Parse `POST …/infer`."""
        del options
        body = Body.of(raw.body, raw.header(JSON_LENGTH))
        request, is_binary = read_request(body, model.shape, self.http.limits)

        def write(response: InferenceResponse) -> RawResponse:
            content, json_bytes = write_response(response, is_binary)
            return _raw_response(content, json_bytes, raw.header(b"accept-encoding") or "")

        return inference.prediction_request(request, model, self.http.limits, raw.context, write)

    def _versions(self, model: Model) -> list[str]:
        return [other.version for other in self.registry.models() if other.name == model.name]

    def _statistics(self, versions: list[tuple[str, str]]) -> Response:
        records = {version: self.statistics.of(*version) for version in versions}
        return json_response(model_metadata.statistics(records))


def _get(
    name: str,
    path: str,
    summary: str,
    description: str,
    handle: Handler,
    schema: type[BaseModel],
    errors: Sequence[int] = (),
    right: Right | None = Right.READ,
) -> Operation:
    return Operation(
        name=name,
        method="GET",
        path=path,
        summary=summary,
        description=description,
        handle=handle,
        responses={content_types.JSON: schema},
        errors=errors,
        allows_trailing_slash=True,
        right=right,
    )


def _json_bytes(raw: RawRequest) -> int:
    """Return the length of the JSON; of the whole body if the header is absent or invalid."""
    length = json_length(raw.headers.get(JSON_LENGTH))
    return len(raw.body) if length is None else length


def _raw_response(content: bytes, json_bytes: int | None, accept_encoding: str) -> RawResponse:
    compressed, headers = content_coding.compress(content, accept_encoding)
    if json_bytes is None:
        return RawResponse(compressed, AS_JSON + headers)
    return RawResponse(compressed, (*_AS_OCTETS, *headers, (JSON_LENGTH, b"%d" % json_bytes)))
