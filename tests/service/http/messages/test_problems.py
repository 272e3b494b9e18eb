"""`service/http/messages/problems.py`: each error has one meaning in HTTP, and all of them one body."""

import inspect
import re
from collections.abc import Iterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from service.core import errors
from service.core.errors import ServiceError
from service.http.messages import problems
from tests.examples import examples
from tests.service.http.bodies import PREDICT, PROBLEM_MEMBERS, QUADRANTS, problem

STATUSES = {
    errors.ServiceError: 500,
    errors.RequestError: 400,
    errors.MalformedRequest: 400,
    errors.BrokenPicture: 400,
    errors.TensorMismatch: 400,
    errors.BlankImage: 422,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.UnknownModel: 404,
    errors.UnknownVersion: 404,
    errors.UnknownLayer: 404,
    errors.UnknownUnit: 404,
    errors.ReportUnavailable: 404,
    errors.ReportBroken: 404,
    errors.UnknownPicture: 404,
    errors.BodyTimeout: 408,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.RateExceeded: 429,
    errors.ManagementOff: 403,
    errors.ReloadRefused: 409,
    errors.CapacityError: 503,
    errors.ModelNotReady: 503,
    errors.Overloaded: 503,
    errors.Stopping: 503,
    errors.TooManyBytes: 503,
    errors.DeadlineExceeded: 504,
    errors.ModelError: 500,
    errors.ArtifactError: 500,
    errors.ManifestInvalid: 500,
    errors.DigestMismatch: 500,
    errors.GraphRefused: 500,
    errors.GoldenMismatch: 500,
    errors.InferenceFailed: 500,
}
"""The design's table, written down again."""


def tree(kind: type[ServiceError] = ServiceError) -> Iterator[type[ServiceError]]:
    """Every kind of error there is."""
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


def made(kind: type[ServiceError]) -> ServiceError:
    """An error of a kind, made without knowing what its facts mean."""
    if kind.__init__ is Exception.__init__:
        return kind("the message")
    parameters = list(inspect.signature(kind).parameters.values())
    values: dict[object, object] = {str: "word", int: 7, float: 1.5}
    return kind(*[values.get(parameter.annotation, ["one", "two"]) for parameter in parameters])


@pytest.mark.parametrize("kind", sorted(set(tree()), key=str))
def test_every_error_has_the_status_of_the_designs_table(kind: type[ServiceError]) -> None:
    """
    A new class of errors fails here until somebody decides what it means.
    """
    error = made(kind)

    answer = problems.error_response(error, "/path", "id")

    document = orjson.loads(bytes(answer.body))
    assert answer.status_code == STATUSES[kind] == document["status"]
    assert set(document) == PROBLEM_MEMBERS
    assert answer.headers["content-type"] == "application/problem+json"
    assert document["error"] == document["detail"]
    assert (document["instance"], document["request_id"]) == ("/path", "id")
    assert re.fullmatch("/problems/[a-z-]+", document["type"])


@pytest.mark.parametrize("kind", sorted(set(tree()), key=str))
def test_only_errors_of_the_callers_or_of_capacity_are_explained(kind: type[ServiceError]) -> None:
    """
    What is wrong on our side stands in the log.
    """
    error = made(kind)

    detail = orjson.loads(bytes(problems.error_response(error, "/", "id").body))["detail"]

    assert (detail == str(error)) == issubclass(kind, errors.RequestError | errors.CapacityError)


@pytest.mark.parametrize("kind", sorted(set(tree()), key=str))
def test_only_errors_of_capacity_and_of_rates_say_when_to_come_back(kind: type[ServiceError]) -> None:
    """
    In whole seconds.
    """
    headers = problems.error_response(made(kind), "/", "id").headers

    assert ("retry-after" in headers) == issubclass(kind, errors.CapacityError | errors.RateExceeded)
    assert headers.get("retry-after", "1").isdecimal()


def test_a_missing_key_is_asked_for() -> None:
    """
    A 401 says how to authenticate.
    """
    headers = problems.error_response(errors.Unauthenticated("none"), "/", "id").headers

    assert headers["www-authenticate"] == 'Bearer realm="inkling"'


@pytest.mark.parametrize(
    ("shortest_s", "possible"), [(0, range(1, 4)), (0.2, range(1, 4)), (1, range(1, 4)), (4.1, range(5, 12))]
)
def test_clients_that_were_refused_together_do_not_come_back_together(
    shortest_s: float, possible: range
) -> None:
    """
    Each answer has a time of its own, from the shortest that is worth it to twice that and a second. That one
    of at most seven is missing among a thousand has a chance of 1e-66.
    """
    drawn = {problems.retry_after_s(shortest_s) for _ in range(1000)}

    assert drawn == set(possible)


def test_each_answer_of_an_error_is_drawn_anew() -> None:
    """
    Also where it is the same error.
    """
    error = errors.ModelNotReady("ink", "it is loaded")

    waits = {int(problems.error_response(error, "/", "id").headers["retry-after"]) for _ in range(1000)}

    assert waits == set(range(5, 12))


def test_one_kind_means_one_status_and_one_title() -> None:
    """
    Whoever reads `type` needs to read nothing else.
    """
    outside = [value for value in vars(problems).values() if isinstance(value, problems.Problem)]
    meanings = {(p.kind, p.status, p.title) for p in [*problems.TABLE.values(), *outside]}

    assert len({kind for kind, _, _ in meanings}) == len(meanings)


def test_an_error_without_a_row_of_its_own_means_what_its_nearest_base_means() -> None:
    """
    A grandchild counts as its parent.
    """

    class Faint(errors.BrokenPicture):
        pass

    assert problems.lookup(Faint("a", "b", "c")) == problems.TABLE[errors.BrokenPicture]
    assert problems.lookup(errors.GoldenMismatch("m/1", "x")) == problems.TABLE[ServiceError]


@examples()
@given(detail=st.text(), instance=st.text(), request_id=st.text())
def test_a_problem_can_hold_any_text(detail: str, instance: str, request_id: str) -> None:
    """
    Quotes, line ends and characters of every script; a long path is cut.
    """
    document = orjson.loads(problems.problem_body(problems.NOT_FOUND, detail, instance, request_id))

    assert document["detail"] == document["error"] == detail
    assert document["instance"] == instance[:200]
    assert document["request_id"] == request_id


def routes(client: TestClient) -> list[tuple[str, str]]:
    """Every method and path that is documented, with names that exist."""
    document = client.get("/openapi.json").json()
    names = {
        "model": "quadrants",
        "version": "1",
        "layer": "output",
        "unit": "0",
        "picture": "confusion-test",
    }
    return [
        (method.upper(), path.format(**names)) for path, item in document["paths"].items() for method in item
    ]


def test_every_route_answers_something_wrong_with_a_problem(client: TestClient) -> None:
    """
    A wrong method, an option that nobody knows, and where there is a body, a wrong one.
    """
    found = routes(client)

    assert len(found) >= 18
    for method, path in found:
        problem(client.request("PATCH", path), 405, "wrong-method")
        problem(client.request(method, f"{path}?wrong=1", content=b"{"), 400, "malformed-request")
        if "/repository/" in path:
            problem(client.post(path, json=[]), 403, "management-off")
        elif method == "POST":
            problem(client.post(path, json=[]), 400, "malformed-request")
            # Clients of the protocols need not name the type of the one kind of body that there is.
            is_ours = path.startswith("/v1/") and ":" not in path
            requested_output = (415, "unsupported-media-type") if is_ours else (400, "malformed-request")
            problem(client.post(path, content=b"x"), *requested_output)


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/v1",
        "/v1/",
        "/v1/models/",
        f"{QUADRANTS}/",
        f"{QUADRANTS}/versions",
        f"{QUADRANTS}/versions/1/",
        f"{QUADRANTS}/weights/output/0",
        f"{QUADRANTS}/weights/output/0/0.png",
        "/V1/MODELS",
        "/livez/",
        "/docs/static",
        "/docs/static/",
        "/docs/static/nothing.js",
        "/docs/static/../../secret",
        "/docs/static/%2e%2e/%2e%2e/secret",
        "/docs/static/%00",
        "/docs/static/" + "x" * 5000,
        "/%ff%fe",
        "/" + "x" * 10_000,
        "/<script>",
    ],
)
def test_an_unknown_path_is_a_problem_too(client: TestClient, path: str) -> None:
    """
    Of the router's, of the static files', of nobody's.
    """
    detail = problem(client.get(path), 404, "not-found")

    assert detail.startswith("Path should be one that /docs lists; got ")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/models", {"GET"}),
        ("POST", QUADRANTS, {"GET"}),
        ("GET", PREDICT, {"POST"}),
        ("HEAD", PREDICT, {"POST"}),
        ("OPTIONS", PREDICT, {"POST"}),
        ("PUT", f"{QUADRANTS}/weights/output", {"GET"}),
        ("POST", "/docs", {"GET"}),
        ("POST", "/docs/static/swagger-ui.css", {"GET"}),
        ("POST", "/openapi.json", {"GET"}),
        ("POST", "/", {"GET"}),
        ("BREW", "/livez", {"GET"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    client: TestClient, method: str, path: str, allowed: set[str]
) -> None:
    """
    In the Allow header and in words; where GET is allowed, HEAD is.
    """
    answer = client.request(method, path)

    assert answer.status_code == 405
    found = {name.strip() for name in answer.headers["allow"].split(",")}
    assert found == allowed | ({"HEAD"} if "GET" in allowed else set())
    if method != "HEAD":
        assert method in problem(answer, 405, "wrong-method")
