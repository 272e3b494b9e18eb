"""`service/http/schemas.py` and the description of the interface: what is written there is true."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.schemas import OpenApiSchema
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from service.http import schemas, wire
from tests import digits
from tests.examples import examples
from tests.service.http.bodies import images, problem

MODEL = "/v1/models/{model}"
OPERATIONS = [("get", path) for path in ("/v1/models", "/livez", "/readyz", "/metrics")]
OPERATIONS += [("get", f"/v2{rest}") for rest in ("", "/health/live", "/health/ready", "/models/stats")]
for _model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
    OPERATIONS += [("get", f"{_model}{rest}") for rest in ("", "/ready", "/config", "/stats")]
    OPERATIONS += [("post", f"{_model}/infer")]
for _model in (MODEL, f"{MODEL}/versions/{{version}}"):
    OPERATIONS += [("post", f"{_model}:predict")]
    OPERATIONS += [("post", f"{_model}/{word}") for word in ("predict", "probabilities", "explain")]
    OPERATIONS += [("get", f"{_model}{rest}") for rest in ("", "/weights", "/weights/{layer}")]
    OPERATIONS += [("get", f"{_model}/weights/{{layer}}{rest}.png") for rest in ("", "/{unit}")]
    OPERATIONS += [("get", f"{_model}/report{rest}") for rest in ("", "/{picture}.png")]
"""Everything that programmers and operators can ask: method and path."""

MANAGED = [
    ("post", f"/v2/repository/{rest}") for rest in ("index", "models/{model}/load", "models/{model}/unload")
]
"""And what they cannot, as management is off."""

NAMES = {"model": "quadrants", "version": "1", "layer": "output", "unit": "3", "picture": "confusion-test"}


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict[str, Any]:
    """The description, as the service gives it."""
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def everything(value: object) -> Iterator[dict[str, Any]]:
    """Every object in a document."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from everything(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from everything(inner)


def test_the_description_is_of_openapi_3_1(document: dict[str, Any]) -> None:
    """
    With a title, a version, and a path for everything that programmers and operators ask.
    """
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "Inkling"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", document["info"]["version"])
    found = [(method, path) for path, item in document["paths"].items() for method in item]
    assert sorted(found) == sorted([*OPERATIONS, *MANAGED])


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """
    And every schema that is kept is referred to.
    """
    references = {item["$ref"] for item in everything(document) if isinstance(item.get("$ref"), str)}
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}

    assert references == known


def test_every_schema_is_a_json_schema_of_its_own_right(document: dict[str, Any]) -> None:
    """
    Each compiles under the dialect that OpenAPI 3.1 names.
    """
    components = {"components": document["components"]}
    found = [item["schema"] for item in everything(document["paths"]) if isinstance(item.get("schema"), dict)]
    found += document["components"]["schemas"].values()

    for schema in found:
        assert jsonschema_rs.meta.is_valid(
            {**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"}
        )
        jsonschema_rs.Draft202012Validator({**schema, **components})

    assert len(found) > 50


def test_every_parameter_of_a_path_is_described(document: dict[str, Any]) -> None:
    """
    With words and an example.
    """
    for path, item in document["paths"].items():
        for operation in item.values():
            described = {p["name"]: p for p in operation.get("parameters", []) if p["in"] == "path"}
            assert set(described) == set(re.findall(r"{(\w+)}", path))
            for parameter in described.values():
                assert parameter["required"] is True
                assert parameter["description"]
                assert parameter["example"]


def bodies(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Every example of a body: path, schema, value."""
    for path, item in document["paths"].items():
        for operation in item.values():
            json_body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for example in json_body.get("examples", {}).values():
                yield path, json_body["schema"], example["value"]


def test_every_example_works_when_it_is_sent(client: TestClient, document: dict[str, Any]) -> None:
    """
    To every path it stands at, and it is what its own schema says.
    """
    found = list(bodies(document))

    for path, schema, value in found:
        answer = client.post(path.format(**NAMES), json=value)
        assert answer.status_code == 200, (path, value, answer.text)
        whole = {**schema, "components": document["components"]}
        assert jsonschema_rs.Draft202012Validator(whole).is_valid(value), (path, value)

    assert len(found) == 6 * 4 + 2 * 2 + 2 * 1


def test_every_kind_of_body_is_documented(document: dict[str, Any]) -> None:
    """
    As many as the edge can read.
    """
    for path, item in document["paths"].items():
        if path.endswith(("/predict", "/probabilities", "/explain")):
            body = item["post"]["requestBody"]
            assert body["required"] is True
            assert set(body["content"]) == set(wire.CONTENT_TYPES)


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ({"image": images(1)[0].tolist()}, True),
        ({"image": images(1)[0].ravel().tolist()}, True),
        ({"image": [0.5] * 392 + [0] * 392, "scale": "unit"}, True),
        ({"images": [images(1)[0].tolist(), [200] * 392 + [0] * 392]}, True),
        ({"strokes": digits.DIGITS["3"][0]}, True),
        ({"image": [0.5] * 784}, False),
        ({"image": [256] * 784}, False),
        ({"image": [0] * 783}, False),
        ({"image": [[0] * 28] * 27}, False),
        ({"image": [True] * 784}, False),
        ({"image": [2] * 784, "scale": "unit"}, False),
        ({"images": []}, False),
        ({"image": [0] * 784, "more": 1}, False),
        ({"image": [0] * 784, "scale": "other"}, False),
        ({"strokes": [[[1, 2, 3]]]}, False),
        ({"strokes": []}, False),
        ({}, False),
        ([], False),
    ],
)
def test_the_schema_of_a_body_and_the_service_agree(client: TestClient, value: object, valid: bool) -> None:
    """
    What one takes the other takes.
    """
    validator = jsonschema_rs.Draft202012Validator(schemas.image_body())

    answer = client.post("/v1/models/quadrants/predict", json=value)

    assert validator.is_valid(value) == valid
    assert (answer.status_code == 200) == valid


def test_a_problem_is_what_its_schema_says(client: TestClient) -> None:
    """
    Neither more nor less.
    """
    answer = client.get("/v1/models/nobody")

    problem(answer, 404, "unknown-model")
    schemas.ProblemDocument.model_validate(answer.json())


CHECKED: list[Any] = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
        "positive_data_acceptance",
        "unsupported_method",
        "allow_header_conformance",
    ]
)
"""What Schemathesis checks of every answer."""

ACCEPTED: list[Any] = CHECKS.get_by_names(["positive_data_acceptance"])


@pytest.fixture(scope="module")
def api(client: TestClient) -> OpenApiSchema:
    """The interface as Schemathesis reads it, asked in process."""

    async def requests_only(scope: Scope, receive: Receive, send: Send) -> None:
        # The client has begun the service's life; Schemathesis would begin it again, and end it.
        assert scope["type"] == "http"
        await client.app(scope, receive, send)

    return schemathesis.openapi.from_asgi("/openapi.json", requests_only)


def names_in(path: str) -> dict[str, str]:
    """Real names for the parameters of a path."""
    return {name: value for name, value in NAMES.items() if f"{{{name}}}" in path}


def ask(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, **fixed: Any) -> set[int]:  # noqa: ANN401
    """Ask one operation whatever Schemathesis thinks of, and check every answer; return the statuses."""
    statuses = set()
    # A POST is documented to take any bytes and any text as a picture, and most of them are none.
    spared = ACCEPTED if operation.method == "post" else []

    @examples(12, *HealthCheck, phases=[Phase.explicit, Phase.generate])
    @given(case=operation.as_strategy(generation_mode=mode, **fixed))
    def ask_once(case: schemathesis.Case[Any]) -> None:
        answer = case.call_and_validate(checks=CHECKED, excluded_checks=spared)
        statuses.add(answer.status_code)

    ask_once()
    return statuses


@pytest.mark.hypothesis
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_any_names_and_good_requests_are_answered_as_documented(
    api: OpenApiSchema, method: str, path: str
) -> None:
    """
    Models, versions, layers and units of any name: no server error, every answer is in the description.
    """
    statuses = ask(api[path][method], GenerationMode.POSITIVE)

    assert statuses == {404 if "{model}" in path else 200}


@pytest.mark.parametrize(("method", "path"), [entry for entry in OPERATIONS if "{model}" in entry[1]])
def test_good_requests_to_a_real_model_are_answered_as_documented(
    api: OpenApiSchema, method: str, path: str
) -> None:
    """
    Most bytes are no picture, and most texts no base64; whatever has no body is answered.
    """
    statuses = ask(api[path][method], GenerationMode.POSITIVE, path_parameters=names_in(path))

    assert statuses <= ({200, 400, 413, 422} if method == "post" else {200})


@pytest.mark.parametrize(
    ("method", "path"),
    [entry for entry in OPERATIONS if entry[0] == "post" and re.search("^/v1/[^:]+$", entry[1])],
)
def test_documented_examples_are_answered_as_documented(
    api: OpenApiSchema, document: dict[str, Any], method: str, path: str
) -> None:
    """
    Every check, of the answers to the examples and with the options at their ends.
    """
    values = [value for where, _, value in bodies(document) if where == path]
    for value in values:
        for query in ({}, {"top": "1000", "include": "seen"}, {"top": "1", "prepare": "mnist"}):
            if query.get("prepare") and "images" not in value:
                continue
            case = api[path][method].Case(
                path_parameters=names_in(path), query=query, body=value, media_type="application/json"
            )
            answer = case.call_and_validate(checks=[*CHECKED, *ACCEPTED])
            assert answer.status_code == 200

    assert len(values) == 4


@pytest.mark.parametrize(
    ("method", "path"), [entry for entry in OPERATIONS if entry[0] == "post" or entry[1].endswith(".png")]
)
def test_bad_requests_to_a_real_model_are_refused_as_documented(
    api: OpenApiSchema, method: str, path: str
) -> None:
    """
    Wrong bodies of every kind and wrong options; only where there is something to get wrong.
    """
    statuses = ask(api[path][method], GenerationMode.NEGATIVE, path_parameters=names_in(path))

    assert statuses & {400, 415}


@pytest.mark.parametrize(("method", "path"), MANAGED)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_what_needs_management_is_refused_as_documented(
    api: OpenApiSchema, method: str, path: str, mode: GenerationMode
) -> None:
    """
    Whatever is asked; but for options, which are read before.
    """
    statuses = ask(api[path][method], mode)

    assert 403 in statuses
    assert statuses <= {400, 403}
