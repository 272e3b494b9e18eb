"""The Open Inference Protocol over HTTP. Each endpoint is a translation."""

from __future__ import annotations  # of functions that are made anew for every request

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.codecs import content_types
from service.http.messages import content_coding
from service.http.messages.responses import AS_JSON, Headers, RawResponse, json_response
from service.http.oip import schemas
from service.http.routing.operations import Operation, Options
from service.http.routing.predict_endpoint import HttpPipeline, RawRequest
from service.inference.admission.keys import Right
from service.inference.pipeline import PredictionRequest
from service.inference.models.model import Model
from service.inference.models.registry import Registry
from service.observability.model_statistics import Records
from service.oip import inference, json_codec, model_metadata
from service.oip.inference import Inferred
from service.oip.json_codec import Body

_ANSWER = "The JSON of the answer, and then its binary contents, if any output is asked for as binary"

_JSON_BYTES = json_codec.HEADER.lower().encode()
_AS_OCTETS: Headers = ((b"content-type", content_types.OCTETS.encode()),)


@dataclass(frozen=True)
class Endpoints:
    """Everything under `/v2` that only looks.

    Attributes:
        registry: What is served.
        http: The prediction pipeline.
        statistics: What was asked.
        version: Of the server.
        engine_threads: Of one inference.
        is_managed: Whether models can be loaded and unloaded.
    """

    registry: Registry
    http: HttpPipeline
    statistics: Records
    version: str
    engine_threads: int
    is_managed: bool

    def operations(self) -> list[Operation]:
        """Describe every endpoint."""

        def get(name: str, path: str, summary: str, handle: Any, answer: Any, *errors: int) -> Operation:  # noqa: ANN401 - as Operation
            right = None if path.startswith("/v2/health/") else Right.READ
            return Operation(
                name,
                "GET",
                path,
                summary,
                handle,
                {content_types.JSON: answer},
                errors,
                has_slash_twin=True,
                right=right,
            )

        return [
            get("server metadata", "/v2", "Name the server and what it can do", self.server, schemas.Server),
            get("server live", "/v2/health/live", "Tell that the process answers", self.live, schemas.Live),
            get(
                "server ready",
                "/v2/health/ready",
                "Tell whether every model that should be served can answer",
                self.ready,
                schemas.Ready,
                503,
            ),
            get(
                "all statistics",
                "/v2/models/stats",
                "Say what every model was asked, and how long that took",
                self.all_statistics,
                schemas.ModelStatistics,
            ),
            get(
                "model metadata",
                "/v2/models/{model}",
                "Describe a model's tensors",
                self.model,
                schemas.ModelMetadata,
            ),
            get(
                "model ready",
                "/v2/models/{model}/ready",
                "Tell whether a model can answer",
                self.model_ready,
                schemas.ModelReady,
            ),
            get(
                "model configuration",
                "/v2/models/{model}/config",
                "Describe how a model is served",
                self.configuration,
                schemas.ModelConfiguration,
            ),
            get(
                "model statistics",
                "/v2/models/{model}/stats",
                "Say what a model was asked, and how long that took",
                self.model_statistics,
                schemas.ModelStatistics,
            ),
            Operation(
                name="infer",
                method="POST",
                path="/v2/models/{model}/infer",
                summary="Run a model on tensors",
                handle=self.http.endpoint(self.infer, _count_json),
                right=Right.PREDICT,
                answers={content_types.JSON: schemas.Inferred, content_types.OCTETS: _ANSWER},
                errors=(408, 413, 415, 422, 504),
                body=schemas.infer_bodies(),
                has_slash_twin=True,
            ),
        ]

    async def server(self, request: Request, options: Options) -> Response:
        """Answer `GET /v2`."""
        del request, options
        return json_response(model_metadata.server(self.version, self.is_managed))

    async def live(self, request: Request, options: Options) -> Response:
        """Answer `GET /v2/health/live`."""
        del request, options
        return json_response({"live": True})

    async def ready(self, request: Request, options: Options) -> Response:
        """Answer `GET /v2/health/ready`; raises ModelNotReady if a model that should answer cannot."""
        del request, options
        self.registry.check_ready()
        return json_response({"ready": True})

    async def model(self, request: Request, options: Options) -> Response:
        """Answer `GET /v2/models/{model}`."""
        del options
        model = self.http.find_model(request)
        return json_response(model_metadata.model(model, self._versions(model)))

    async def model_ready(self, request: Request, options: Options) -> Response:
        """Answer `GET …/ready`; raises ModelNotReady if it cannot answer."""
        del options
        return json_response({"name": self.http.find_model(request).name, "ready": True})

    async def configuration(self, request: Request, options: Options) -> Response:
        """Answer `GET …/config`."""
        del options
        model = self.http.find_model(request)
        max_images = self.http.limits.of(model.shape).images
        return json_response(
            model_metadata.configuration(model, self._versions(model), max_images, self.engine_threads)
        )

    async def all_statistics(self, request: Request, options: Options) -> Response:
        """Answer `GET /v2/models/stats`."""
        del request, options
        return self._statistics([(model.name, model.version) for model in self.registry.models()])

    async def model_statistics(self, request: Request, options: Options) -> Response:
        """Answer `GET …/stats`: of every version that is served, or of the one that is named."""
        del options
        model = self.http.find_model(request)
        versions = [model.version] if "version" in request.path_params else self._versions(model)
        return self._statistics([(model.name, version) for version in versions])

    def infer(self, raw: RawRequest, model: Model, options: Options) -> PredictionRequest[RawResponse]:
        """Ask what `POST …/infer` answers."""
        del options
        asked, is_binary = json_codec.read(_divided(raw), model.shape, self.http.limits)

        def write(inferred: Inferred) -> RawResponse:
            return _reply(*json_codec.write(inferred, is_binary), raw.header(b"accept-encoding") or "")

        return inference.question(asked, model, self.http.limits, raw.context, write)

    def _versions(self, model: Model) -> list[str]:
        return [other.version for other in self.registry.models() if other.name == model.name]

    def _statistics(self, versions: list[tuple[str, str]]) -> Response:
        records = {version: self.statistics.of(*version) for version in versions}
        return json_response(model_metadata.statistics(records))


def _divided(raw: RawRequest) -> Body:
    return Body.of(raw.body, raw.header(_JSON_BYTES))


def _count_json(raw: RawRequest) -> int:
    return _divided(raw).json_bytes


def _reply(content: bytes, json_bytes: int | None, accepted: str) -> RawResponse:
    packed, headers = content_coding.pack(content, accepted)
    if json_bytes is None:
        return RawResponse(packed, AS_JSON + headers)
    return RawResponse(packed, (*_AS_OCTETS, *headers, (_JSON_BYTES, b"%d" % json_bytes)))
