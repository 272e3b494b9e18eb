"""`service/http/routing/operations.py`, `options.py` and `openapi.py`: routes, options, descriptions."""

import re
from typing import Any, Literal

import pytest
from fastapi import FastAPI
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.testclient import TestClient

from service.app import create_app
from service.core.errors import ServiceError
from service.http.api import schemas
from service.http.messages import problems
from service.http.routing import openapi
from service.http.routing.middleware import RequestMiddleware
from service.http.routing.operations import Operation
from service.http.routing.options import Options
from service.observability.metrics import Metrics
from service.observability.model_statistics import Statistics
from service.observability.request_log import RequestLog
from service.settings import Settings


class EchoOptions(Options):
    """Options of the echo operation."""

    count: int = Field(3, ge=1, le=5, description="How many")
    colour: Literal["red", "blue"] | None = Field(None, description="Which")


async def echo(request: Request, options: EchoOptions) -> Response:
    return JSONResponse({"path": request.path_params, "options": options.model_dump()})


ECHO = Operation(
    name="echo it",
    method="GET",
    path="/v1/models/{model}/echo/{layer}",
    summary="Repeat the request",
    description="Returns path parameters and options.",
    handle=echo,
    responses={"application/json": schemas.Status, "text/plain": "Words"},
    errors=(415,),
    options=EchoOptions,
)


@pytest.fixture
def echoing() -> TestClient:
    """A service with one operation that returns its parameters."""
    app = FastAPI()
    openapi.mount(app, "echoes", [ECHO])

    def answer(request: Request, error: Exception) -> Response:
        assert isinstance(error, ServiceError)
        return problems.error_response(error, request.url.path, "id")

    app.add_exception_handler(ServiceError, answer)
    return TestClient(RequestMiddleware(app, RequestLog(Metrics(), Statistics(), access_log=False)))


@pytest.mark.parametrize(("versions", "path"), [("", {}), ("/versions/7", {"version": "7"})])
def test_an_operation_on_a_model_has_a_path_with_a_version(
    echoing: TestClient, versions: str, path: dict[str, str]
) -> None:
    answer = echoing.get(f"/v1/models/m{versions}/echo/output")

    assert answer.json()["path"] == {"model": "m", "layer": "output", **path}


def test_an_operation_without_a_model_has_one_path() -> None:
    operation = Operation("a", "GET", "/v1/models", "", "", echo, {})

    assert operation.paths() == ["/v1/models"]
    assert ECHO.paths() == [
        "/v1/models/{model}/echo/{layer}",
        "/v1/models/{model}/versions/{version}/echo/{layer}",
    ]


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {"count": 3, "colour": None}),
        ("?count=5&colour=blue", {"count": 5, "colour": "blue"}),
        ("?colour=red", {"count": 3, "colour": "red"}),
        ("?", {"count": 3, "colour": None}),
    ],
)
def test_options_are_parsed_from_the_query(echoing: TestClient, query: str, options: dict[str, Any]) -> None:
    answer = echoing.get(f"/v1/models/m/echo/output{query}")

    assert answer.json()["options"] == options


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("count=6", "Query 'count' should be less than or equal to 5; got '6'."),
        ("colour=green", "Query 'colour' should be 'red' or 'blue'; got 'green'."),
        ("colour=red&colour=red", "Query 'colour' should be given once; got more."),
        ("size=1", "Query should be among count, colour; got 'size'."),
        ("COUNT=1", "Query should be among count, colour; got 'COUNT'."),
        ("colour=" + "r" * 500, "Query 'colour' should be 'red' or 'blue'; got '" + "r" * 40 + "'."),
    ],
)
def test_an_invalid_option_is_refused_with_the_reason(echoing: TestClient, query: str, detail: str) -> None:
    answer = echoing.get(f"/v1/models/m/echo/output?{query}")

    assert answer.status_code == 400
    assert answer.json()["detail"] == detail


def test_openapi_describes_parameters_statuses_and_content_types(echoing: TestClient) -> None:
    paths = echoing.get("/openapi.json").json()["paths"]

    plain, versioned = (paths[path]["get"] for path in ECHO.paths())
    assert (plain["operationId"], versioned["operationId"]) == ("echo_it", "echo_it_of_version")
    assert plain["summary"] == ECHO.summary
    assert plain["tags"] == ["echoes"]
    parameters = {(p["in"], p["name"], p["required"]) for p in plain["parameters"]}
    assert parameters == {
        ("path", "model", True),
        ("path", "layer", True),
        ("query", "count", False),
        ("query", "colour", False),
    }
    assert {p["name"] for p in versioned["parameters"]} == {"model", "version", "layer", "count", "colour"}
    count = next(p for p in plain["parameters"] if p["name"] == "count")
    assert count["description"] == "How many"
    assert (count["schema"]["minimum"], count["schema"]["maximum"], count["schema"]["default"]) == (1, 5, 3)
    assert {"200", "400", "404", "415", "503"} <= set(plain["responses"])
    assert set(plain["responses"]["200"]["content"]) == {"application/json", "text/plain"}
    assert "requestBody" not in plain


def test_operation_ids_are_unique(toy_settings: Settings) -> None:
    document = TestClient(create_app(toy_settings)).get("/openapi.json").json()

    names = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z_]+", name) for name in names)


def test_every_error_status_is_documented_as_a_problem(toy_settings: Settings) -> None:
    document = TestClient(create_app(toy_settings)).get("/openapi.json").json()

    found = 0
    for item in document["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                if status == "200":
                    continue
                found += 1
                (schema,) = [entry["schema"] for entry in response["content"].values()]
                assert list(response["content"]) == ["application/problem+json"]
                assert schema == {"$ref": "#/components/schemas/ProblemDocument"}
                titles = {
                    problem.title for problem in problems.TABLE.values() if str(problem.status) == status
                }
                assert set(response["description"].split("; ")) <= titles
    assert found > 20
