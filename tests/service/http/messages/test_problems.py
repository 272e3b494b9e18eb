"""`service/http/messages/problems.py`: statuses and bodies of errors."""

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
    errors.NotExplainable: 400,
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
def test_every_error_class_has_a_status(kind: type[ServiceError]) -> None:
    """A new class fails here until it is added."""
    error = made(kind)

    response = problems.error_response(error, "/path", "id")

    document = orjson.loads(bytes(response.body))
    assert response.status_code == STATUSES[kind] == document["status"]
    assert set(document) == PROBLEM_MEMBERS
    assert response.headers["content-type"] == "application/problem+json"
    assert document["error"] == document["detail"]
    assert (document["instance"], document["request_id"]) == ("/path", "id")
    assert re.fullmatch("/problems/[a-z-]+", document["type"])


@pytest.mark.parametrize("kind", sorted(set(tree()), key=str))
def test_internal_errors_have_a_generic_message(kind: type[ServiceError]) -> None:
    error = made(kind)

    detail = orjson.loads(bytes(problems.error_response(error, "/", "id").body))["detail"]

    assert (detail == str(error)) == issubclass(kind, errors.RequestError | errors.CapacityError)


@pytest.mark.parametrize("kind", sorted(set(tree()), key=str))
def test_only_capacity_and_rate_errors_have_retry_after(kind: type[ServiceError]) -> None:
    headers = problems.error_response(made(kind), "/", "id").headers

    assert ("retry-after" in headers) == issubclass(kind, errors.CapacityError | errors.RateExceeded)
    assert headers.get("retry-after", "1").isdecimal()


def test_a_missing_key_gets_www_authenticate() -> None:
    headers = problems.error_response(errors.Unauthenticated("none"), "/", "id").headers

    assert headers["www-authenticate"] == 'Bearer realm="inkling"'


def test_each_response_has_a_new_retry_after() -> None:
    error = errors.ModelNotReady("ink", "it is loaded")

    waits = {int(problems.error_response(error, "/", "id").headers["retry-after"]) for _ in range(1000)}

    assert waits == set(range(5, 12))


def test_each_problem_type_has_one_status_and_title() -> None:
    outside = [value for value in vars(problems).values() if isinstance(value, problems.Problem)]
    meanings = {(p.kind, p.status, p.title) for p in [*problems.TABLE.values(), *outside]}

    assert len({kind for kind, _, _ in meanings}) == len(meanings)


def test_other_errors_have_the_problem_of_their_nearest_base() -> None:

    class Faint(errors.BrokenPicture):
        pass

    assert problems.lookup(Faint("a", "b", "c")) == problems.TABLE[errors.BrokenPicture]
    assert problems.lookup(errors.GoldenMismatch("m/1", "x")) == problems.TABLE[ServiceError]


@examples()
@given(detail=st.text(), instance=st.text(), request_id=st.text())
def test_a_problem_can_hold_any_text(detail: str, instance: str, request_id: str) -> None:
    """Quotes, line ends and any script; a long path is cut."""
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


def test_every_operation_refuses_with_a_problem(client: TestClient) -> None:
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
def test_an_unknown_path_gets_a_problem(client: TestClient, path: str) -> None:
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
def test_a_wrong_method_gets_the_allowed_ones(
    client: TestClient, method: str, path: str, allowed: set[str]
) -> None:
    """In the header Allow and the message."""
    response = client.request(method, path)

    assert response.status_code == 405
    found = {name.strip() for name in response.headers["allow"].split(",")}
    assert found == allowed | ({"HEAD"} if "GET" in allowed else set())
    if method != "HEAD":
        assert method in problem(response, 405, "wrong-method")
