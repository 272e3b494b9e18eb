"""Errors of the service, by who can resolve them.

* ServiceError
  + RequestError             the client can change the request
    - MalformedRequest       not JSON, or a field of the wrong shape, type or range
      . BrokenPicture        an image file that cannot be decoded
      . TensorMismatch       an array that differs from the model's declaration
    - BlankImage             nothing is drawn
    - PayloadTooLarge        more bytes, images or pixels than allowed
    - UnsupportedMediaType   an unknown content type or compression
    - UnknownModel, UnknownVersion, UnknownLayer, UnknownUnit
    - NotExplainable         the network has other than dense layers with ReLU
    - ReportUnavailable      the model has no report
      . ReportBroken         the model's report cannot be read
    - UnknownPicture         the model's report has no such picture
    - BodyTimeout            the body did not arrive in time
    - ManagementOff          loading and unloading of models is switched off
    - Unauthenticated        an API key is missing or unknown
    - Forbidden              the API key, or the origin, lacks the right
    - RateExceeded           the client exceeds its rate limit
    - ReloadRefused          a published version is invalid, so nothing was reloaded
  + CapacityError            the client can retry later
    - ModelNotReady
    - Overloaded             the queue is full
    - TooManyBytes           the memory budget is used up
    - Stopping               the service stops before the request ends
    - DeadlineExceeded
  + ModelError               the operator has to act
    - ArtifactError
      . ManifestInvalid
      . DigestMismatch
      . GraphRefused         the ONNX file is invalid or uses a feature that is not allowed
      . GoldenMismatch       the model does not reproduce its golden examples
    - InferenceFailed

A message states what was expected, then what was received. Facts that callers need are attributes.
HTTP statuses are in `service.http.messages.problems`, gRPC codes in `service.grpc.statuses`.
"""

from collections.abc import Sequence

INTERNAL_MESSAGE = "Something is wrong on our side."
"""Message for the client of an error of the server."""


class ServiceError(Exception):
    """Base class of all errors that Inkling raises deliberately."""


class RequestError(ServiceError):
    """The client can change the request."""


class MalformedRequest(RequestError):
    """A part of the request has the wrong shape, type or range."""

    def __init__(self, field: str, expected: str, got: str) -> None:
        super().__init__(f"{field} should be {expected}; got {got}.")
        self.field = field
        self.expected = expected
        self.got = got


class BrokenPicture(MalformedRequest):
    """An image file cannot be decoded."""


class TensorMismatch(MalformedRequest):
    """An array differs from the model's declaration in name, dtype or shape."""


class BlankImage(RequestError):
    """Nothing is drawn on an image."""

    def __init__(self, field: str, found: str = "an even surface") -> None:
        super().__init__(f"{field} should show something drawn; got {found}.")


class PayloadTooLarge(RequestError):
    """The request exceeds a limit of size."""

    def __init__(self, what: str, limit: int, unit: str, got: str) -> None:
        super().__init__(f"{what} should be at most {limit:,} {unit}; got {got}.")


class UnsupportedMediaType(RequestError):
    """The content type or the compression of the body is not supported."""

    def __init__(self, header: str, expected: Sequence[str], got: str) -> None:
        super().__init__(f"{header} should be one of {', '.join(expected)}; got {got}.")


class UnknownModel(RequestError):
    """No model of this name is published."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"Model should be one of {', '.join(known) or '(none)'}; got {_cut(name)}.")


class UnknownVersion(RequestError):
    """The model has no such version."""

    def __init__(self, name: str, version: str, known: Sequence[str]) -> None:
        super().__init__(
            f"Version of {name!r} should be one of {', '.join(known) or '(none)'}; got {_cut(version)}."
        )


class UnknownLayer(RequestError):
    """The model has no layer of this name."""

    def __init__(self, model: str, layer: str, known: Sequence[str]) -> None:
        super().__init__(f"Layer of {model!r} should be one of {', '.join(known)}; got {_cut(layer)}.")


class UnknownUnit(RequestError):
    """The layer has no such unit, or its weights cannot be drawn as images."""

    def __init__(self, layer: str, expected: str, got: str) -> None:
        super().__init__(f"Unit of layer {layer!r} should be {expected}; got {_cut(got)}.")


class NotExplainable(RequestError):
    """The network has other than dense layers with ReLU, so it cannot be explained exactly."""

    def __init__(self, model: str, version: str) -> None:
        super().__init__(
            "Model should have dense layers with ReLU only, which can be explained exactly; "
            f"got {model!r} version {version}, which is served with predictions alone."
        )


class ReportUnavailable(RequestError):
    """The model has no report; predictions are not affected."""

    def __init__(self, model: str, version: str, expected: str, got: str) -> None:
        super().__init__(f"Report of {model!r} version {version} should {expected}; got {got}.")


class ReportBroken(ReportUnavailable):
    """The model's report cannot be read, or belongs to another network."""


class UnknownPicture(RequestError):
    """The model's report has no picture of this name."""

    def __init__(self, model: str, picture: str, known: Sequence[str]) -> None:
        super().__init__(
            f"Picture of the report of {model!r} should be one of {', '.join(known) or '(none)'}; "
            f"got {_cut(picture)}."
        )


class BodyTimeout(RequestError):
    """The body did not arrive in time."""

    def __init__(self, limit_s: float, received: int) -> None:
        super().__init__(f"Body should arrive within {limit_s:g} seconds; got {received:,} bytes of it.")


class ManagementOff(RequestError):
    """Loading and unloading of models is switched off for clients."""

    def __init__(self) -> None:
        super().__init__(
            "Management should be asked over the operators' port (--admin-port), or switched on "
            "(--management, INKLING_MANAGEMENT=true); it is off."
        )


class Unauthenticated(RequestError):
    """The API key is missing or unknown.

    Attributes:
        is_invalid: Whether a key was sent.
    """

    def __init__(self, got: str, is_invalid: bool = False) -> None:
        super().__init__(f"An API key should come as 'Authorization: Bearer' or 'X-API-Key'; got {got}.")
        self.is_invalid = is_invalid


class Forbidden(RequestError):
    """The client lacks the right for the request."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"{expected}; got {got}.")


class RateExceeded(RequestError):
    """The client exceeds its rate limit.

    Attributes:
        limit: Size of the token bucket.
        unit: Unit of its tokens: `requests` or `images`.
        window_s: Seconds in which an empty bucket is filled.
        retry_after_s: Seconds until there are enough tokens again.
    """

    def __init__(self, limit: int, unit: str, window_s: float, retry_after_s: float) -> None:
        super().__init__(f"A client should send at most {limit:,} {unit} in {window_s:g} s; got more.")
        self.limit = limit
        self.unit = unit
        self.window_s = window_s
        self.retry_after_s = retry_after_s


class ReloadRefused(RequestError):
    """A published version is invalid, so the models that are served stay as they are.

    Attributes:
        refused: Error message of each invalid version.
    """

    def __init__(self, model: str, refused: Sequence[str]) -> None:
        what = f"Every published version of {model!r}" if model else "Everything that is reloaded"
        super().__init__(f"{what} should be sound; got {' '.join(refused)}")
        self.refused = tuple(refused)


class CapacityError(ServiceError):
    """The client can retry later.

    Attributes:
        retry_after_s: Shortest delay in seconds; clients get a random number from here on.
    """

    retry_after_s = 1


class ModelNotReady(CapacityError):
    """The model is published but not loaded."""

    retry_after_s = 5

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"Model {name!r} should be ready; it is not: {reason}.")
        self.reason = reason


class Overloaded(CapacityError):
    """The queue is full; the request was refused at once."""

    def __init__(self, pending: int) -> None:
        super().__init__(
            f"The queue should have a free place; {pending:,} requests are in it or being worked on."
        )
        self.pending = pending


class Stopping(CapacityError):
    """The service stops before the request ends."""

    def __init__(self) -> None:
        super().__init__("The service should be running; it is stopping.")


class TooManyBytes(CapacityError):
    """The bodies of all requests exceed the memory budget."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"Bodies being answered should be at most {limit:,} bytes together; they are more.")


class DeadlineExceeded(CapacityError):
    """The response was not ready within the time limit."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"An answer should take at most {limit_s:g} seconds; it was not ready.")
        self.limit_s = limit_s


class ModelError(ServiceError):
    """A model or its files are at fault; the operator has to act."""


class ArtifactError(ModelError):
    """A published folder is invalid.

    Attributes:
        artifact: `name/version`; never a path.
    """

    def __init__(self, artifact: str, message: str) -> None:
        super().__init__(f"{artifact}: {message}")
        self.artifact = artifact


class ManifestInvalid(ArtifactError):
    """A file is missing, cannot be parsed, or contradicts another one."""


class DigestMismatch(ArtifactError):
    """A file differs from the published one."""

    def __init__(self, artifact: str, file: str, expected: str, got: str) -> None:
        super().__init__(artifact, f"SHA-256 of {file} should be {expected}; got {got}.")
        self.file = file


class GraphRefused(ArtifactError):
    """The ONNX file is invalid or uses a feature that is not allowed."""


class GoldenMismatch(ArtifactError):
    """The model does not reproduce its golden examples."""


class InferenceFailed(ModelError):
    """The runtime failed to run the model."""

    def __init__(self, name: str, version: str) -> None:
        super().__init__(f"Model {name!r} version {version} could not compute an answer.")


def client_message(error: ServiceError) -> str:
    """Return the message for the client; an error of the server gets a generic one, without details."""
    if isinstance(error, RequestError | CapacityError):
        return str(error)
    if isinstance(error, InferenceFailed):
        return "Model could not compute an answer."
    return INTERNAL_MESSAGE


def _cut(name: str) -> str:
    """Return the representation of a name from a request, shortened."""
    return repr(name if len(name) <= 40 else name[:36] + " ...")
