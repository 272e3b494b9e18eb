"""What an error means over gRPC: the code of its HTTP status, the same sentence, and metadata for headers."""

from grpc import StatusCode

from service.core.errors import CapacityError, ServiceError
from service.http import problems

REQUEST_ID = "x-request-id"

CODES = {
    400: StatusCode.INVALID_ARGUMENT,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.NOT_FOUND,
    408: StatusCode.DEADLINE_EXCEEDED,
    409: StatusCode.FAILED_PRECONDITION,
    413: StatusCode.RESOURCE_EXHAUSTED,
    415: StatusCode.INVALID_ARGUMENT,
    422: StatusCode.INVALID_ARGUMENT,
    429: StatusCode.RESOURCE_EXHAUSTED,
    500: StatusCode.INTERNAL,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.DEADLINE_EXCEEDED,
}
"""By the status of `problems.TABLE`."""

Metadata = tuple[tuple[str, str], ...]


def code(error: ServiceError) -> StatusCode:
    """Return the code for an error."""
    return CODES[problems.lookup(error).status]


def metadata(request_id: str, error: ServiceError | None = None) -> Metadata:
    """Return what is said after the answer: whose it was, and when to come again."""
    found: Metadata = ((REQUEST_ID, request_id),)
    if isinstance(error, CapacityError):
        found += (("retry-after", str(problems.retry_after_s(error.retry_after_s))),)
    return found
