"""Everything that can go wrong, cut by who can do something about it.

* ServiceError
  + RequestError             the caller can change the request
    - MalformedRequest       not JSON, or a field of the wrong shape, type or range
      . BrokenPicture        bytes that should be a picture and cannot be read as one
      . TensorMismatch       an array that is not what the model declares
    - BlankImage             nothing is drawn
    - PayloadTooLarge        more bytes, images or pixels than are taken
    - UnsupportedMediaType
    - UnknownModel, UnknownVersion, UnknownLayer, UnknownUnit
    - ReportUnavailable      the model has no report
      . ReportBroken         it has one that cannot be read
    - UnknownPicture         its report has no such picture
    - BodyTimeout            the body did not arrive in time
    - ManagementOff          nobody may load and unload models
    - Unauthenticated        an API key is missing or unknown
    - Forbidden              the API key, or the origin, lacks the right
    - RateExceeded           the client's own rate is used up
    - ReloadRefused          what is published of a model is not all what it should be
  + CapacityError            the caller can come back later
    - ModelNotReady
    - Overloaded
    - TooManyBytes
    - Stopping               the service ends before the request does
    - DeadlineExceeded
  + ModelError               we must act
    - ArtifactError
      . ManifestInvalid
      . DigestMismatch
      . GraphRefused         the ONNX file does what our networks never need
      . GoldenMismatch       the model does not reproduce its own examples
    - InferenceFailed

Each class builds its message from facts and keeps the facts as attributes. HTTP statuses are in
`service.http.messages.problems`, gRPC codes in `service.grpc.statuses`.
"""

from collections.abc import Sequence

INTERNAL_MESSAGE = "Something is wrong on our side."
"""Message for the client of an error of the server."""


class ServiceError(Exception):
    """The root: every error that Inkling raises on purpose."""


class RequestError(ServiceError):
    """The caller can change the request."""


class MalformedRequest(RequestError):
    """A part of the request is not what it should be."""

    def __init__(self, field: str, expected: str, got: str) -> None:
        super().__init__(f"{field} should be {expected}; got {got}.")
        self.field = field
        self.expected = expected
        self.got = got


class BrokenPicture(MalformedRequest):
    """Bytes that should be a picture cannot be read as one."""


class TensorMismatch(MalformedRequest):
    """An array differs from what the model declares in name, dtype or shape."""


class BlankImage(RequestError):
    """There is no ink on the paper."""

    def __init__(self, field: str, found: str = "an even surface") -> None:
        super().__init__(f"{field} should show something drawn; got {found}.")
        self.field = field


class PayloadTooLarge(RequestError):
    """More than the service takes at once."""

    def __init__(self, what: str, limit: int, unit: str, got: str) -> None:
        super().__init__(f"{what} should be at most {limit:,} {unit}; got {got}.")
        self.what = what
        self.limit = limit
        self.unit = unit


class UnsupportedMediaType(RequestError):
    """The body is of a kind, or packed in a way, that nobody here can read."""

    def __init__(self, header: str, expected: Sequence[str], got: str) -> None:
        super().__init__(f"{header} should be one of {', '.join(expected)}; got {got}.")
        self.header = header
        self.expected = tuple(expected)
        self.got = got


class UnknownModel(RequestError):
    """Nothing of that name is published."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"Model should be one of {', '.join(known) or '(none)'}; got {_cut(name)}.")
        self.name = name


class UnknownVersion(RequestError):
    """The model exists, this version of it does not."""

    def __init__(self, name: str, version: str, known: Sequence[str]) -> None:
        super().__init__(
            f"Version of {name!r} should be one of {', '.join(known) or '(none)'}; got {_cut(version)}."
        )
        self.name = name
        self.version = version


class UnknownLayer(RequestError):
    """The model has no layer of that name."""

    def __init__(self, model: str, layer: str, known: Sequence[str]) -> None:
        super().__init__(f"Layer of {model!r} should be one of {', '.join(known)}; got {_cut(layer)}.")
        self.layer = layer


class UnknownUnit(RequestError):
    """The layer has no such unit, or its units cannot be shown as images."""

    def __init__(self, layer: str, expected: str, got: str) -> None:
        super().__init__(f"Unit of layer {layer!r} should be {expected}; got {_cut(got)}.")
        self.layer = layer


class ReportUnavailable(RequestError):
    """The model has no report; it answers all the same."""

    def __init__(self, model: str, version: str, expected: str, got: str) -> None:
        super().__init__(f"Report of {model!r} version {version} should {expected}; got {got}.")
        self.model = model
        self.version = version


class ReportBroken(ReportUnavailable):
    """The model has a report that cannot be read, or is another network's."""


class UnknownPicture(RequestError):
    """The model's report has no picture of that name."""

    def __init__(self, model: str, picture: str, known: Sequence[str]) -> None:
        super().__init__(
            f"Picture of the report of {model!r} should be one of {', '.join(known) or '(none)'}; "
            f"got {_cut(picture)}."
        )
        self.picture = picture


class BodyTimeout(RequestError):
    """The body did not arrive in time."""

    def __init__(self, limit_s: float, received: int) -> None:
        super().__init__(f"Body should arrive within {limit_s:g} seconds; got {received:,} bytes of it.")
        self.limit_s = limit_s


class ManagementOff(RequestError):
    """Models are not loaded and unloaded for callers."""

    def __init__(self) -> None:
        super().__init__(
            "Management should be asked over the operators' port (--admin-port), or switched on "
            "(--management, INKLING_MANAGEMENT=true); it is off."
        )


class Unauthenticated(RequestError):
    """No API key was sent, or an unknown one.

    Attributes:
        got: What came: `none` or `an unknown one`.
        is_invalid: Whether a key came.
    """

    def __init__(self, got: str, is_invalid: bool = False) -> None:
        super().__init__(f"An API key should come as 'Authorization: Bearer' or 'X-API-Key'; got {got}.")
        self.got = got
        self.is_invalid = is_invalid


class Forbidden(RequestError):
    """The client is known, or needs no key, but may not do this."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"{expected}; got {got}.")


class RateExceeded(RequestError):
    """The client has used up its own rate.

    Attributes:
        retry_after_s: Seconds until enough tokens are there again.
        limit: Size of the token bucket that is empty.
        unit: What it counts: `requests` or `images`.
    """

    def __init__(self, limit: int, unit: str, window_s: float, retry_after_s: float) -> None:
        super().__init__(f"A client should send at most {limit:,} {unit} in {window_s:g} s; got more.")
        self.limit = limit
        self.unit = unit
        self.window_s = window_s
        self.retry_after_s = retry_after_s


class ReloadRefused(RequestError):
    """Not everything that is published of a model can be served; nothing that was is taken away."""

    def __init__(self, model: str, refused: Sequence[str]) -> None:
        what = f"Every published version of {model!r}" if model else "Everything that is reloaded"
        super().__init__(f"{what} should be sound; got {' '.join(refused)}")
        self.model = model
        self.refused = tuple(refused)


class CapacityError(ServiceError):
    """The caller can come back later.

    Attributes:
        retry_after_s: When it is worth trying again at the earliest, in whole seconds; clients are given a
            random number from this one up.
    """

    retry_after_s = 1


class ModelNotReady(CapacityError):
    """The model is published but cannot answer."""

    retry_after_s = 5

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"Model {name!r} should be ready; it is not: {reason}.")
        self.name = name
        self.reason = reason


class Overloaded(CapacityError):
    """Too many requests are waiting; this one was turned away at once."""

    def __init__(self, taken: int) -> None:
        super().__init__(
            f"The queue should have a free place; {taken:,} requests are in it or being worked on."
        )
        self.taken = taken


class Stopping(CapacityError):
    """The service stops, and this request takes longer than that."""

    def __init__(self) -> None:
        super().__init__("The service should be running; it is stopping.")


class TooManyBytes(CapacityError):
    """The bodies of all requests together are more than the service holds."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"Bodies being answered should be at most {limit:,} bytes together; they are more.")
        self.limit = limit


class DeadlineExceeded(CapacityError):
    """The answer was not ready in the time a request may take."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"An answer should take at most {limit_s:g} seconds; it was not ready.")
        self.limit_s = limit_s


class ModelError(ServiceError):
    """We must act: the model or its files are at fault."""


class ArtifactError(ModelError):
    """A published folder is not what it should be.

    Attributes:
        artifact: Which one, as `name/version`; never a path.
    """

    def __init__(self, artifact: str, message: str) -> None:
        super().__init__(f"{artifact}: {message}")
        self.artifact = artifact


class ManifestInvalid(ArtifactError):
    """A file is missing, cannot be parsed, or contradicts another one."""


class DigestMismatch(ArtifactError):
    """A file is not the one that was published."""

    def __init__(self, artifact: str, file: str, expected: str, got: str) -> None:
        super().__init__(artifact, f"SHA-256 of {file} should be {expected}; got {got}.")
        self.file = file


class GraphRefused(ArtifactError):
    """The ONNX file is broken or does what our networks never need."""


class GoldenMismatch(ArtifactError):
    """The model does not reproduce its own examples."""


class InferenceFailed(ModelError):
    """The runtime could not compute an answer."""

    def __init__(self, name: str, version: str) -> None:
        super().__init__(f"Model {name!r} version {version} could not compute an answer.")
        self.name = name
        self.version = version


def client_message(error: ServiceError) -> str:
    """Return the message for the client; an error of the server gets a generic one, without details."""
    if isinstance(error, RequestError | CapacityError):
        return str(error)
    if isinstance(error, InferenceFailed):
        return "Model could not compute an answer."
    return INTERNAL_MESSAGE


def _cut(name: str) -> str:
    """Repeat only the beginning of a name that a caller made up."""
    return repr(name if len(name) <= 40 else name[:36] + " ...")
