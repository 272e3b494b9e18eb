"""Error responses: the status and title of each error, and problem documents (RFC 9457) as bodies.

A problem document has one more member, `error`: the message, for clients of the Open Inference Protocol.
"""

import logging
from dataclasses import dataclass

import orjson
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.core import errors
from service.core.errors import ModelError, ServiceError
from service.http.messages.request_scope import context_of
from service.inference.admission import headers
from service.inference.request_context import CLIENT_CLOSED

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"

_MAX_INSTANCE = 200


@dataclass(frozen=True)
class Problem:
    """A kind of problem: status, last segment of `type`, and title."""

    status: int
    kind: str
    title: str


TABLE: dict[type[ServiceError], Problem] = {
    errors.MalformedRequest: Problem(400, "malformed-request", "Request is not what it should be"),
    errors.BrokenPicture: Problem(400, "broken-picture", "Picture cannot be read"),
    errors.TensorMismatch: Problem(400, "tensor-mismatch", "Array does not match the model"),
    errors.Unauthenticated: Problem(401, "unauthenticated", "API key is missing or unknown"),
    errors.Forbidden: Problem(403, "forbidden", "Not allowed"),
    errors.RateExceeded: Problem(429, "rate-exceeded", "Rate is used up"),
    errors.ManagementOff: Problem(403, "management-off", "Management is switched off"),
    errors.UnknownModel: Problem(404, "unknown-model", "Model is not known"),
    errors.UnknownVersion: Problem(404, "unknown-version", "Version is not known"),
    errors.UnknownLayer: Problem(404, "unknown-layer", "Layer is not known"),
    errors.UnknownUnit: Problem(404, "unknown-unit", "Unit is not known"),
    errors.NotExplainable: Problem(400, "not-explainable", "Model cannot be explained"),
    errors.ReportUnavailable: Problem(404, "no-report", "Model has no report that can be read"),
    errors.UnknownPicture: Problem(404, "unknown-picture", "Picture is not known"),
    errors.BodyTimeout: Problem(408, "body-timeout", "Body arrived too slowly"),
    errors.ReloadRefused: Problem(409, "artifact-refused", "Published folder is not what it should be"),
    errors.PayloadTooLarge: Problem(413, "payload-too-large", "Request is too large"),
    errors.UnsupportedMediaType: Problem(415, "unsupported-media-type", "Body is of an unknown kind"),
    errors.BlankImage: Problem(422, "blank-image", "Nothing is drawn"),
    errors.RequestError: Problem(400, "malformed-request", "Request is not what it should be"),
    errors.ModelNotReady: Problem(503, "model-not-ready", "Model is not ready"),
    errors.Overloaded: Problem(503, "overloaded", "Too many requests are waiting"),
    errors.Stopping: Problem(503, "stopping", "Service is stopping"),
    errors.TooManyBytes: Problem(503, "too-many-bytes", "Too much is being sent at once"),
    errors.DeadlineExceeded: Problem(504, "deadline-exceeded", "Answer took too long"),
    errors.CapacityError: Problem(503, "unavailable", "Service is not available"),
    errors.InferenceFailed: Problem(500, "inference-failed", "Model could not compute an answer"),
    errors.ServiceError: Problem(500, "internal", "Something is wrong on our side"),
}
"""The problem of each error class; other classes have the problem of their nearest base class."""

NOT_FOUND = Problem(404, "not-found", "Path is not known")
WRONG_METHOD = Problem(405, "wrong-method", "Method is not allowed here")
BROKEN_HTTP = Problem(400, "broken-http", "Request is not HTTP")
BAD_HOST = Problem(400, "bad-host", "Header Host is missing or repeated")
BAD_TARGET = Problem(400, "bad-target", "Request target is not a path or URL")
BAD_FRAMING = Problem(400, "bad-framing", "Length of the body is not clear")
TOO_MANY_PIECES = Problem(400, "too-many-pieces", "Body comes in too many small pieces")
UNKNOWN_CODING = Problem(501, "unknown-transfer-coding", "Transfer coding is not known")
BAD_VERSION = Problem(505, "http-version", "HTTP version is not supported")
HEAD_TOO_LARGE = Problem(431, "head-too-large", "Request line and headers are too large")
TOO_MANY_CONNECTIONS = Problem(503, "too-many-connections", "Too many connections are open")
INTERNAL = TABLE[ServiceError]


def lookup(error: ServiceError) -> Problem:
    """Return the problem of an error."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def error_response(error: ServiceError, instance: str, request_id: str) -> Response:
    """Return the response to an error; log an internal one.

    Args:
        error: The error.
        instance: Path of the request.
        request_id: Id of the request, as in the log.
    """
    if isinstance(error, ModelError):
        log.error("model failed", exc_info=error, extra={"fields": {"request_id": request_id}})
    response = problem_response(lookup(error), errors.client_message(error), instance, request_id)
    for name, value in headers.error_fields(error):
        response.headers[name] = value
    if isinstance(error, errors.BodyTimeout):
        response.headers["Connection"] = "close"  # the rest of the body may still arrive
    return response


def problem_response(problem: Problem, detail: str, instance: str, request_id: str) -> Response:
    """Return a response with a problem document."""
    return Response(
        problem_body(problem, detail, instance, request_id), problem.status, media_type=CONTENT_TYPE
    )


def problem_body(problem: Problem, detail: str, instance: str, request_id: str) -> bytes:
    """Encode a problem document.

    Args:
        problem: The kind of problem.
        detail: The message: what was expected, and what came.
        instance: Path of the request; cut after 200 characters.
        request_id: Id of the request, as in the log.
    """
    document = {
        "type": f"/problems/{problem.kind}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "instance": instance[:_MAX_INSTANCE],
        "request_id": request_id,
        "error": detail,
    }
    return orjson.dumps(document, default=str)


def internal_error_response(instance: str, request_id: str) -> Response:
    """Return the response to an unexpected exception: 500 with a generic message."""
    return problem_response(INTERNAL, errors.INTERNAL_MESSAGE, instance, request_id)


def response_to(request: Request, error: Exception) -> Response:
    """Return the response to an expected error; log an internal one.

    Args:
        request: A request that passed `RequestMiddleware`.
        error: A `ServiceError`, or `ClientDisconnect`.
    """
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_CLOSED)  # for log and metrics; it is not sent
    assert isinstance(error, ServiceError)
    return error_response(error, request.scope["path"], context_of(request).request_id)


def install(app: FastAPI, where: str = "that /docs lists") -> None:
    """Register exception handlers that respond with problem documents.

    Args:
        app: The application.
        where: Description of its paths, for the message of an unknown path.
    """
    # Coroutines, although they do not await: the framework calls plain functions in threads.

    async def on_service_error(request: Request, error: Exception) -> Response:
        return response_to(request, error)

    async def on_http_exception(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = repr(request.url.path[:200])
        if error.status_code == 405:
            methods = set((error.headers or {}).get("Allow", "GET").split(", "))
            allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
            detail = f"Method for {path} should be {allowed}; got {request.method}."
            response = _respond(request, WRONG_METHOD, detail)
            response.headers["Allow"] = allowed
            return response
        return _respond(request, NOT_FOUND, f"Path should be one {where}; got {path}.")

    async def on_exception(request: Request, error: Exception) -> Response:
        del error  # `RequestMiddleware` logs it
        return internal_error_response(request.url.path, context_of(request).request_id)

    app.add_exception_handler(ServiceError, on_service_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(ClientDisconnect, on_service_error)
    app.add_exception_handler(Exception, on_exception)


def _respond(request: Request, problem: Problem, detail: str) -> Response:
    return problem_response(problem, detail, request.url.path, context_of(request).request_id)


class ProblemDocument(BaseModel):
    """The body of every error response (RFC 9457)."""

    model_config = ConfigDict(extra="forbid")

    type: str
    title: str
    status: int
    detail: str = Field(description="What was expected, and what came")
    instance: str
    request_id: str
    error: str = Field(description="As detail, for clients of the Open Inference Protocol")
