"""Status, message and trailing metadata of each error."""

from collections.abc import Iterator

import pytest
from grpc import StatusCode

from service.core import errors
from service.core.errors import ServiceError
from service.grpc import statuses
from service.http.messages import problems


def subclasses(error_class: type[ServiceError]) -> Iterator[type[ServiceError]]:
    """Yield a class and all classes derived from it."""
    yield error_class
    for derived in error_class.__subclasses__():
        yield from subclasses(derived)


ALL = [found for found in subclasses(ServiceError) if found.__module__ == errors.__name__]


def test_all_error_classes_are_found() -> None:
    assert {errors.RateExceeded, errors.GoldenMismatch, errors.BrokenPicture} <= set(ALL)


@pytest.mark.parametrize("error_class", ALL, ids=lambda error_class: error_class.__name__)
def test_each_error_has_the_status_of_http(error_class: type[ServiceError]) -> None:
    """
    gRPC's own table and HTTP's must not drift apart. Clients retry `UNAVAILABLE` automatically.
    """
    error = error_class.__new__(error_class)

    status = statuses.lookup(error)

    assert status.http == problems.lookup(error).status
    assert (status.code is StatusCode.INTERNAL) == (status.http == 500)
    if issubclass(error_class, errors.RequestError):
        assert status.code is not StatusCode.UNAVAILABLE
    assert status.code not in (StatusCode.OK, StatusCode.UNKNOWN)


def test_an_unlisted_class_has_the_status_of_its_base_class() -> None:
    class UnknownAlias(errors.UnknownModel):
        pass

    assert statuses.lookup(UnknownAlias("a", [])).code is StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("error", "name", "possible"),
    [
        (errors.Overloaded(1), "retry-after", ["1", "2", "3"]),
        (errors.ModelNotReady("a", "b"), "retry-after", [str(wait_s) for wait_s in range(5, 12)]),
        (errors.RateExceeded(1, "requests", 1, 2.1), "retry-after", ["3"]),
        (errors.Unauthenticated("none"), "www-authenticate", ['Bearer realm="inkling"']),
    ],
)
def test_trailing_metadata_of_an_error(error: ServiceError, name: str, possible: list[str]) -> None:
    metadata = dict(statuses.trailing_metadata("id", error))

    assert metadata["x-request-id"] == "id"
    assert metadata[name] in possible


def test_trailing_metadata_without_error_is_the_request_id() -> None:
    assert statuses.trailing_metadata("id") == (("x-request-id", "id"),)
    assert statuses.trailing_metadata("id", errors.UnknownModel("a", [])) == (("x-request-id", "id"),)
