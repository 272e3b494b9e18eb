"""Every error has a code, a sentence and what a client needs to come again."""

from collections.abc import Iterator

import pytest
from grpc import StatusCode

from service.core import errors
from service.core.errors import ServiceError
from service.grpc import statuses
from service.http.messages import problems


def subclasses(kind: type[ServiceError]) -> Iterator[type[ServiceError]]:
    """Yield a class and all that inherit from it."""
    yield kind
    for other in kind.__subclasses__():
        yield from subclasses(other)


EVERY = [kind for kind in subclasses(ServiceError) if kind.__module__ == errors.__name__]


def test_the_errors_are_found() -> None:
    assert {errors.RateExceeded, errors.GoldenMismatch, errors.BrokenPicture} <= set(EVERY)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_error_is_in_the_table(kind: type[ServiceError]) -> None:
    """
    A new class is a decision, as is what a client may do about it.
    """
    code = statuses.TABLE[kind]

    status = problems.lookup(kind.__new__(kind)).status
    is_ours = status == 500
    assert (code is StatusCode.INTERNAL) == is_ours
    if issubclass(kind, errors.RequestError):
        assert code is not StatusCode.UNAVAILABLE  # which clients retry by themselves
    assert code not in (StatusCode.OK, StatusCode.UNKNOWN)


def test_a_class_that_is_not_listed_has_its_base_classes_code() -> None:
    class Odd(errors.UnknownModel):
        pass

    assert statuses.code(Odd("a", [])) is StatusCode.NOT_FOUND


def test_internal_errors_say_nothing_of_the_inside() -> None:
    assert statuses.sentence(errors.ManifestInvalid("a/1", "a secret")) == statuses.INTERNAL_SENTENCE
    assert "mlp" not in statuses.sentence(errors.InferenceFailed("mlp", "1"))
    assert "nobody" in statuses.sentence(errors.UnknownModel("nobody", []))


@pytest.mark.parametrize(
    ("error", "name", "possible"),
    [
        (errors.Overloaded(1), "retry-after", ["1", "2", "3"]),
        (errors.ModelNotReady("a", "b"), "retry-after", [str(wait_s) for wait_s in range(5, 12)]),
        (errors.RateExceeded(1, "requests", 1, 2.1), "retry-after", ["3"]),
        (errors.Unauthenticated("none"), "www-authenticate", ['Bearer realm="inkling"']),
    ],
)
def test_metadata_says_what_to_do_next(error: ServiceError, name: str, possible: list[str]) -> None:
    found = dict(statuses.metadata("id", error))

    assert found["x-request-id"] == "id"
    assert found[name] in possible


def test_metadata_of_an_answer_is_its_id_alone() -> None:
    assert statuses.metadata("id") == (("x-request-id", "id"),)
    assert statuses.metadata("id", errors.UnknownModel("a", [])) == (("x-request-id", "id"),)
