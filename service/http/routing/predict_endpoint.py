"""Handler of operations that predict: reads the body, runs the prediction pipeline, returns the response."""

from __future__ import annotations  # else each request evaluates the annotations of nested functions

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.codecs import content_types
from service.codecs.drawings import Limits
from service.http.messages.body_reader import BodyLimits
from service.http.messages.request_scope import context_of
from service.http.messages.responses import RawResponse
from service.inference.models.model import Model
from service.inference.pipeline import LONG_BYTES, Pipeline, PredictionRequest
from service.inference.request_context import RequestContext


class RawRequest(NamedTuple):
    """A request with its whole body, independent of the web framework.

    Attributes:
        body: The body, decompressed.
        headers: The first value of each header, by its name in lower case.
        context: The request context.
    """

    body: bytes
    headers: Mapping[bytes, bytes]
    context: RequestContext

    def header(self, name: bytes) -> str | None:
        """Return a header by its name in lower case; None if it is absent."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")


Parse = Callable[[RawRequest, Model, Any], PredictionRequest[RawResponse]]
"""Parses a request for a model, with the options of the operation."""


@dataclass(frozen=True)
class HttpPipeline:
    """The prediction pipeline for HTTP: finds the model by path and limits request bodies.

    Attributes:
        pipeline: Runs predictions.
        bodies: Limits of request bodies.
    """

    pipeline: Pipeline
    bodies: BodyLimits

    @property
    def limits(self) -> Limits:
        """Limits of the images in one request."""
        return self.pipeline.limits

    def describe_limits(self, limits: Limits | None = None, is_batch: bool = True) -> str:
        """Return the limits of a request in a sentence, for the API description.

        Args:
            limits: Limits of the images; None for the usual ones.
            is_batch: Whether a request may have several images.
        """
        limits = limits or self.limits
        count = f"{limits.images:,} images of 28 x 28" if is_batch else "one drawing"
        return (
            f"At most {self.bodies.max_bytes:,} bytes, {count}, {limits.picture_pixels:,} pixels of image "
            f"files and {limits.points:,} points of strokes; each image counts against the client's rate, if "
            "there is one."
        )

    def find_model(self, request: Request) -> Model:
        """Return the model that the path names, and note it in the request context.

        Raises:
            UnknownModel, UnknownVersion, ModelNotReady: As `Registry.get`.
        """
        parameters = request.path_params
        return self.pipeline.find_model(context_of(request), parameters["model"], parameters.get("version"))

    def endpoint(
        self, parse: Parse, count_unparsed: Callable[[RawRequest], int] | None = None
    ) -> PredictEndpoint:
        """Return the handler of an operation that predicts.

        Args:
            parse: Parses the request.
            count_unparsed: Returns how many bytes of the body `parse` has to parse one by one; None for all.
        """
        return PredictEndpoint(self, parse, count_unparsed or body_bytes)


@dataclass(frozen=True)
class PredictEndpoint:
    """Handler of an operation that predicts; called for requests through ASGI only.

    `PredictionCall` uses its `parse`, and responds itself.

    Attributes:
        http: The pipeline.
        parse: Parses the request.
        count_unparsed: Returns how many bytes of the body `parse` has to parse one by one.
    """

    http: HttpPipeline
    parse: Parse
    count_unparsed: Callable[[RawRequest], int]

    async def __call__(self, request: Request, options: Any) -> Response:  # noqa: ANN401 - as the operation has it
        """Read the body, predict, and return the response.

        Raises:
            ServiceError: Any error of the limits, the decoders, the model or the thread pool.
            ClientDisconnect: The client disconnected first.
        """
        context = context_of(request)
        model = self.http.find_model(request)
        context.is_prediction = True
        async with self.http.bodies.read(request) as body:
            context.mark("read")
            raw = RawRequest(body, dict(reversed(request.scope["headers"])), context)
            raw_response = await self.http.pipeline.respond(
                context,
                model,
                lambda: self.parse(raw, model, options),
                len(body),
                self.count_unparsed(raw),
                _disconnected(request),
            )
        response = Response(raw_response.content)
        response.raw_headers += raw_response.headers
        return response


def body_bytes(raw: RawRequest) -> int:
    """Return the length of the body; of an archive, which may be much larger inside, that of a long body."""
    return LONG_BYTES if content_types.is_compressed(raw.body) else len(raw.body)


def _disconnected(request: Request) -> Callable[[], Awaitable[None]]:
    """Return a coroutine function that raises ClientDisconnect when the client disconnects."""

    async def wait() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        raise ClientDisconnect

    return wait
