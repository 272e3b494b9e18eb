"""`service/http/routing/router.py`: requests of operations, and all others."""

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from service.core.errors import UnknownModel
from service.http.routing.middleware import RequestMiddleware
from service.http.routing.operations import Operation
from service.http.routing.options import Options
from service.http.routing.router import Router, Routes
from service.http.security.access_control import AccessControl
from service.http.security.cors import CorsPolicy
from service.http.security.hosts import KnownHosts
from service.inference.admission.access import Access
from service.inference.admission.rates import RateLimits
from service.observability.metrics import Metrics
from service.observability.model_statistics import Statistics
from service.observability.request_log import RequestLog
from tests.service.http.bodies import problem


async def echo(request: Request, options: Options) -> Response:
    del options
    if request.path_params["model"] == "nobody":
        raise UnknownModel("nobody", [])
    if request.path_params["model"] == "gone":
        raise ClientDisconnect
    if request.path_params["model"] == "broken":
        raise ZeroDivisionError
    return JSONResponse({"echo": request.path_params})


ECHO = Operation("echo", "GET", "/v2/models/{model}/echo", "Repeat", "", echo, {}, allows_trailing_slash=True)
PLAIN = Operation("plain", "POST", "/v1/models/{model}:plain", "Repeat", "", echo, {})


async def framework(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond to any request with its path."""
    if scope["type"] == "http":
        await JSONResponse({"framework": scope["path"]})(scope, receive, send)


@pytest.fixture
def routed() -> TestClient:
    """A router with two operations before a stub of the framework."""
    request_log = RequestLog(Metrics(), Statistics(), access_log=False)
    control = AccessControl(Access(None, RateLimits(None, None)), KnownHosts("127.0.0.1", ()), CorsPolicy(()))
    app = RequestMiddleware(Router(framework, Routes([ECHO, PLAIN]), control), request_log)
    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/v2/models/a/echo", {"model": "a"}),
        ("/v2/models/a/echo/", {"model": "a"}),
        ("/v2/models/a/versions/7/echo", {"model": "a", "version": "7"}),
        ("/v2/models/a/versions/7/echo/", {"model": "a", "version": "7"}),
        ("/v2/models/a%20b%C3%A9/echo", {"model": "a bé"}),
        ("/v2/models/" + "x" * 3000 + "/echo", {"model": "x" * 3000}),
    ],
)
def test_an_operation_is_found_by_each_path(routed: TestClient, path: str, found: dict[str, str]) -> None:
    """Also from the cache."""
    for _ in range(2):
        assert routed.get(path).json() == {"echo": found}
        assert routed.head(path).status_code == 200


@pytest.mark.parametrize("version", ["", "/versions/7"])
def test_a_verb_after_a_colon_is_part_of_the_path(routed: TestClient, version: str) -> None:
    assert routed.post(f"/v1/models/a{version}:plain").json()["echo"]["model"] == "a"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v2/models/a"),
        ("GET", "/v2/models//echo"),
        ("GET", "/v2/models/a/b/echo"),
        ("GET", "/v2/models/a/echo//"),
        ("GET", "/x/v2/models/a/echo"),
        ("GET", "/v2/models/a/echo/more"),
        ("POST", "/v2/models/a/echo"),
        ("GET", "/v1/models/a:plain"),
        ("OPTIONS", "/v2/models/a/echo"),
    ],
)
def test_other_requests_go_to_the_web_framework(routed: TestClient, method: str, path: str) -> None:
    assert "framework" in routed.request(method, path).json()


def test_errors_get_problem_documents(routed: TestClient) -> None:
    problem(routed.get("/v2/models/nobody/echo"), 404, "unknown-model")
    problem(routed.get("/v2/models/broken/echo"), 500, "internal")
    assert routed.get("/v2/models/gone/echo").status_code == 499
