"""gRPC status of each error: code, message and trailing metadata."""

from dataclasses import dataclass

from grpc import StatusCode

from service.core import errors
from service.core.errors import ServiceError
from service.inference.admission import headers

REQUEST_ID = "x-request-id"


@dataclass(frozen=True)
class Status:
    """The status of a failed call.

    Attributes:
        code: gRPC's status code.
        http: HTTP status of the same error, for the log and the metrics.
    """

    code: StatusCode
    http: int


TABLE: dict[type[ServiceError], Status] = {
    errors.RequestError: Status(StatusCode.INVALID_ARGUMENT, 400),
    errors.BlankImage: Status(StatusCode.INVALID_ARGUMENT, 422),
    errors.UnsupportedMediaType: Status(StatusCode.INVALID_ARGUMENT, 415),
    errors.Unauthenticated: Status(StatusCode.UNAUTHENTICATED, 401),
    errors.Forbidden: Status(StatusCode.PERMISSION_DENIED, 403),
    errors.ManagementOff: Status(StatusCode.PERMISSION_DENIED, 403),
    errors.UnknownModel: Status(StatusCode.NOT_FOUND, 404),
    errors.UnknownVersion: Status(StatusCode.NOT_FOUND, 404),
    errors.UnknownLayer: Status(StatusCode.NOT_FOUND, 404),
    errors.UnknownUnit: Status(StatusCode.NOT_FOUND, 404),
    errors.ReportUnavailable: Status(StatusCode.NOT_FOUND, 404),
    errors.UnknownPicture: Status(StatusCode.NOT_FOUND, 404),
    errors.ReloadRefused: Status(StatusCode.FAILED_PRECONDITION, 409),
    errors.PayloadTooLarge: Status(StatusCode.RESOURCE_EXHAUSTED, 413),
    errors.RateExceeded: Status(StatusCode.RESOURCE_EXHAUSTED, 429),
    errors.BodyTimeout: Status(StatusCode.DEADLINE_EXCEEDED, 408),
    errors.DeadlineExceeded: Status(StatusCode.DEADLINE_EXCEEDED, 504),
    errors.CapacityError: Status(StatusCode.UNAVAILABLE, 503),
    errors.ServiceError: Status(StatusCode.INTERNAL, 500),
}
"""The status of each error class; other classes have the status of their nearest base class."""

INTERNAL = TABLE[ServiceError]

Metadata = tuple[tuple[str, str], ...]


def lookup(error: ServiceError) -> Status:
    """Return the status of an error."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def trailing_metadata(request_id: str, error: ServiceError | None = None) -> Metadata:
    """Return the trailing metadata of a call: the request id; when to retry, or how to authenticate."""
    fields = () if error is None else headers.error_fields(error)
    return ((REQUEST_ID, request_id), *fields)
