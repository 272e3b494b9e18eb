"""What an error means over gRPC: a code, a sentence, and trailing metadata."""

from grpc import StatusCode

from service.core import errors
from service.core.errors import CapacityError, ServiceError
from service.http.messages import problems
from service.inference.admission import headers

REQUEST_ID = "x-request-id"

INTERNAL_SENTENCE = "Something is wrong on our side."

TABLE: dict[type[ServiceError], StatusCode] = {
    errors.MalformedRequest: StatusCode.INVALID_ARGUMENT,
    errors.BrokenPicture: StatusCode.INVALID_ARGUMENT,
    errors.TensorMismatch: StatusCode.INVALID_ARGUMENT,
    errors.BlankImage: StatusCode.INVALID_ARGUMENT,
    errors.UnsupportedMediaType: StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: StatusCode.UNAUTHENTICATED,
    errors.Forbidden: StatusCode.PERMISSION_DENIED,
    errors.ManagementOff: StatusCode.PERMISSION_DENIED,
    errors.UnknownModel: StatusCode.NOT_FOUND,
    errors.UnknownVersion: StatusCode.NOT_FOUND,
    errors.UnknownLayer: StatusCode.NOT_FOUND,
    errors.UnknownUnit: StatusCode.NOT_FOUND,
    errors.ReportUnavailable: StatusCode.NOT_FOUND,
    errors.ReportBroken: StatusCode.NOT_FOUND,
    errors.UnknownPicture: StatusCode.NOT_FOUND,
    errors.ReloadRefused: StatusCode.FAILED_PRECONDITION,
    errors.PayloadTooLarge: StatusCode.RESOURCE_EXHAUSTED,
    errors.RateExceeded: StatusCode.RESOURCE_EXHAUSTED,
    errors.BodyTimeout: StatusCode.DEADLINE_EXCEEDED,
    errors.DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
    errors.ModelNotReady: StatusCode.UNAVAILABLE,
    errors.Overloaded: StatusCode.UNAVAILABLE,
    errors.TooManyBytes: StatusCode.UNAVAILABLE,
    errors.Stopping: StatusCode.UNAVAILABLE,
    errors.InferenceFailed: StatusCode.INTERNAL,
    errors.ArtifactError: StatusCode.INTERNAL,
    errors.ManifestInvalid: StatusCode.INTERNAL,
    errors.DigestMismatch: StatusCode.INTERNAL,
    errors.GraphRefused: StatusCode.INTERNAL,
    errors.GoldenMismatch: StatusCode.INTERNAL,
    errors.RequestError: StatusCode.INVALID_ARGUMENT,
    errors.CapacityError: StatusCode.UNAVAILABLE,
    errors.ModelError: StatusCode.INTERNAL,
    errors.ServiceError: StatusCode.INTERNAL,
}
"""An error that is not listed has the code of its nearest listed base class."""

Metadata = tuple[tuple[str, str], ...]


def code(error: ServiceError) -> StatusCode:
    """Return the code of an error: that of its class, or of the nearest base class in the table."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def sentence(error: ServiceError) -> str:
    """Return the message for the client; internal errors get a generic one."""
    if code(error) is not StatusCode.INTERNAL:
        return str(error)
    if isinstance(error, errors.InferenceFailed):
        return "Model could not compute an answer."
    return INTERNAL_SENTENCE


def metadata(request_id: str, error: ServiceError | None = None) -> Metadata:
    """Return the trailing metadata: the request's id; when to retry, and how to authenticate."""
    found: Metadata = ((REQUEST_ID, request_id),)
    if isinstance(error, CapacityError):
        found += (("retry-after", str(problems.retry_after_s(error.retry_after_s))),)
    found += tuple(headers.error_fields(error)) if error is not None else ()
    return found
