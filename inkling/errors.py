"""Errors of the Python interface.

* InklingError
  + RequestError            an input is wrong; also MalformedRequest, BlankImage, PayloadTooLarge and others
  + ModelError              a published folder, or its network, is invalid
  + ModelNotFound           there is no published model in a folder
  + PackageMissing          a function needs an extra that is not installed
  + ClientError             a call of the service failed
    - ApiError              the service answered with an error
      . RateLimited         429
      . ServiceUnavailable  503 and 504
    - NoResponse            the service could not be reached, or did not answer in time
    - InvalidResponse       the answer is not one that the API describes

A message states what was expected, then what was received.
"""

from service.core.errors import (
    BlankImage,
    BrokenPicture,
    MalformedRequest,
    ModelError,
    PayloadTooLarge,
    RequestError,
    TensorMismatch,
)
from service.core.errors import ServiceError as InklingError

__all__ = [
    "ApiError",
    "BlankImage",
    "BrokenPicture",
    "ClientError",
    "InklingError",
    "InvalidResponse",
    "MalformedRequest",
    "ModelError",
    "ModelNotFound",
    "NoResponse",
    "PackageMissing",
    "PayloadTooLarge",
    "RateLimited",
    "RequestError",
    "ServiceUnavailable",
    "TensorMismatch",
]


class ModelNotFound(InklingError):
    """There is no published model in a folder."""

    def __init__(self, what: str, expected: str, got: str) -> None:
        super().__init__(f"{what} should be {expected}; got {got}.")


class PackageMissing(InklingError):
    """A function needs a package that is not installed.

    Attributes:
        extra: Name of the extra that installs it.
    """

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(
            f"{what} should have the package {package!r} of the extra {extra!r}; it is not installed. "
            f"Install it where inkling-server was installed from: pip install '.[{extra}]'."
        )
        self.extra = extra


class ClientError(InklingError):
    """A call of the service failed."""


class ApiError(ClientError):
    """The service answered with an error.

    Attributes:
        status: HTTP status.
        kind: Kind of problem, such as `blank-image`: the last segment of `type`; empty without a problem
            document.
        title: Title of this kind of problem.
        detail: What was expected, and what was received.
        request_id: Id of the request in the service's log; empty if it was not sent.
        retry_after_s: Seconds after which to retry; None if the service does not say.
    """

    def __init__(
        self,
        status: int,
        kind: str = "",
        title: str = "",
        detail: str = "",
        request_id: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{status} {title or 'Error'}{': ' if detail else ''}{detail}")
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.request_id = request_id
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type["ApiError"], tuple[object, ...]]:
        """Pickle with every attribute: pools of processes return errors in this way."""
        return type(self), (
            self.status,
            self.kind,
            self.title,
            self.detail,
            self.request_id,
            self.retry_after_s,
        )


class RateLimited(ApiError):
    """The client exceeds its rate limit (429)."""


class ServiceUnavailable(ApiError):
    """The service has no capacity now (503), or did not finish in time (504)."""


class NoResponse(ClientError):
    """The service could not be reached, or did not answer in time."""


class InvalidResponse(ClientError):
    """The answer is not one that the API describes."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"Response should be {expected}; got {got}.")
