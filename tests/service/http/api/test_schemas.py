"""The OpenAPI document: it is valid, and the service behaves as it says."""

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

from service.codecs import content_types
from service.codecs.json import schema
from service.http.messages import problems
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
    OPERATIONS += [("post", f"{_model}/{word}") for word in ("predict", "probabilities", "explain", "read")]
    OPERATIONS += [("get", f"{_model}{rest}") for rest in ("", "/weights", "/weights/{layer}")]
    OPERATIONS += [("get", f"{_model}/weights/{{layer}}{rest}.png") for rest in ("", "/{unit}")]
    OPERATIONS += [("get", f"{_model}/report{rest}") for rest in ("", "/{picture}.png")]
"""Method and path of every operation that is available by default."""

MANAGED = [
    ("post", f"/v2/repository/{rest}") for rest in ("index", "models/{model}/load", "models/{model}/unload")
]
"""Operations that are refused while management is off."""

NAMES = {"model": "quadrants", "version": "1", "layer": "output", "unit": "3", "picture": "confusion-test"}


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict[str, Any]:
    """The OpenAPI document of the service."""
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def everything(value: object) -> Iterator[dict[str, Any]]:
    """Yield every object in a JSON document."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from everything(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from everything(inner)


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    """With title, version and every path."""
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "Inkling"
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", document["info"]["version"])
    found = [(method, path) for path, item in document["paths"].items() for method in item]
    assert sorted(found) == sorted([*OPERATIONS, *MANAGED])


def test_every_reference_is_defined_and_every_schema_used(document: dict[str, Any]) -> None:
    references = {item["$ref"] for item in everything(document) if isinstance(item.get("$ref"), str)}
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}

    assert references == known


def test_every_schema_is_a_valid_json_schema(document: dict[str, Any]) -> None:
    components = {"components": document["components"]}
    found = [item["schema"] for item in everything(document["paths"]) if isinstance(item.get("schema"), dict)]
    found += document["components"]["schemas"].values()

    for one in found:
        assert jsonschema_rs.meta.is_valid({**one, "$schema": "https://json-schema.org/draft/2020-12/schema"})
        jsonschema_rs.Draft202012Validator({**one, **components})

    assert len(found) > 50


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    """By a sentence of its own, not by the docstring of a class; with its limits and an example."""
    for path, methods in document["paths"].items():
        for operation in methods.values():
            description = operation["description"]
            assert re.fullmatch("(Returns|Takes|Loads|Stops) [^\n]+[.]", description), operation
            assert re.search("the client's rate, if there is one[.]|counts against no rate[.]$", description)
            answers = operation["responses"]["200"]["content"]
            is_predicting = re.search("/(predict|probabilities|explain|read|infer)$|:predict$", path)
            assert ("At most 200,000 bytes, " in description) == (is_predicting is not None), path
            if content_types.JSON in answers:
                assert "example" in answers[content_types.JSON], path
            else:
                assert path == "/metrics" or all("example" in one for one in operation["parameters"][:2])


def test_limits_are_those_of_the_settings(document: dict[str, Any]) -> None:
    """Not the defaults."""
    paths = document["paths"]
    limits = "250,000 pixels of image files and 500 points of strokes"

    assert f"64 images of 28 x 28, {limits}" in paths[f"{MODEL}/predict"]["post"]["description"]
    assert f"one drawing, {limits}" in paths[f"{MODEL}/read"]["post"]["description"]


def test_examples_of_responses_match_their_schemas(document: dict[str, Any]) -> None:
    found = 0
    for methods in document["paths"].values():
        for operation in methods.values():
            for media in operation["responses"]["200"]["content"].values():
                if "example" in media:
                    whole = {**media["schema"], "components": document["components"]}
                    jsonschema_rs.Draft202012Validator(whole).validate(media["example"])
                    found += 1

    assert found > 30


def test_no_schema_has_a_title(document: dict[str, Any]) -> None:
    """Generators of clients name types by titles, and drop one of two with the same: names are enough."""
    titled = [item for item in everything(document["components"]) if isinstance(item.get("title"), str)]
    inner = [item for item in everything(document["paths"]) if isinstance(item.get("title"), str)]

    assert [item for item in [*titled, *inner] if "type" in item or "anyOf" in item or "$ref" in item] == []


def test_every_array_says_what_its_items_are(document: dict[str, Any]) -> None:
    arrays = [item for item in everything(document) if item.get("type") == "array"]

    assert len(arrays) > 30
    assert all("items" in item or "prefixItems" in item for item in arrays)


def test_every_variant_of_a_body_has_a_name(document: dict[str, Any]) -> None:
    """Its own schema, so that generated types have names too."""
    schemas = document["components"]["schemas"]
    variants = [option for name in ("ImageBody", "Instance") for option in schemas[name]["anyOf"]]

    assert len(variants) == 9
    assert all(set(option) == {"$ref"} for option in variants)


def test_every_path_parameter_has_description_and_example(document: dict[str, Any]) -> None:
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


def test_every_example_is_valid_and_gets_200(client: TestClient, document: dict[str, Any]) -> None:
    found = list(bodies(document))

    for path, one, value in found:
        response = client.post(path.format(**NAMES), json=value)
        assert response.status_code == 200, (path, value, response.text)
        whole = {**one, "components": document["components"]}
        assert jsonschema_rs.Draft202012Validator(whole).is_valid(value), (path, value)

    assert len(found) == 6 * 4 + 2 * 3 + 2 * 2 + 2 * 1


def test_every_content_type_is_documented(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        if path.endswith(("/predict", "/probabilities", "/explain")):
            body = item["post"]["requestBody"]
            assert body["required"] is True
            assert set(body["content"]) == set(content_types.CONTENT_TYPES)


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
def test_the_service_accepts_what_the_body_schema_accepts(
    client: TestClient, value: object, valid: bool
) -> None:
    """And refuses what it refuses."""
    whole = {**schema.bodies("#/$defs/{model}")["ImageBody"], "$defs": schema.bodies("#/$defs/{model}")}
    validator = jsonschema_rs.Draft202012Validator(whole)

    response = client.post("/v1/models/quadrants/predict", json=value)

    assert validator.is_valid(value) == valid
    assert (response.status_code == 200) == valid


def test_a_problem_matches_its_schema(client: TestClient) -> None:
    response = client.get("/v1/models/nobody")

    problem(response, 404, "unknown-model")
    problems.ProblemDocument.model_validate(response.json())


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
    """The OpenAPI document as Schemathesis loads it, with requests in process."""

    async def requests_only(scope: Scope, receive: Receive, send: Send) -> None:
        # The client has begun the service's life; Schemathesis would begin it again, and end it.
        assert scope["type"] == "http"
        await client.app(scope, receive, send)

    schema = schemathesis.openapi.from_asgi("/openapi.json", requests_only)
    refusals = schema.config.checks.negative_data_rejection
    refusals.expected_statuses = [
        *refusals.expected_statuses,
        "413",
    ]  # invalid bodies may be too large as well
    return schema


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
        response = case.call_and_validate(checks=CHECKED, excluded_checks=spared)
        statuses.add(response.status_code)

    ask_once()
    return statuses


@pytest.mark.hypothesis
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_valid_requests_with_random_names_are_answered_as_documented(
    api: OpenApiSchema, method: str, path: str
) -> None:
    statuses = ask(api[path][method], GenerationMode.POSITIVE)

    unreadable = {400, 422} if method == "post" else set()  # bodies for the documented example, a real model
    assert statuses - unreadable == {404 if "{model}" in path else 200}


@pytest.mark.parametrize(("method", "path"), [entry for entry in OPERATIONS if "{model}" in entry[1]])
def test_valid_requests_to_a_model_are_answered_as_documented(
    api: OpenApiSchema, method: str, path: str
) -> None:
    statuses = ask(api[path][method], GenerationMode.POSITIVE, path_parameters=names_in(path))

    assert statuses <= ({200, 400, 413, 422} if method == "post" else {200})


@pytest.mark.parametrize(
    ("method", "path"),
    [entry for entry in OPERATIONS if entry[0] == "post" and re.search("^/v1/[^:]+$", entry[1])],
)
def test_documented_examples_are_answered_as_documented(
    api: OpenApiSchema, document: dict[str, Any], method: str, path: str
) -> None:
    values = [value for where, _, value in bodies(document) if where == path]
    for value in values:
        for query in ({}, {"top": "1000", "include": "seen"}, {"top": "1", "prepare": "mnist"}):
            if (query.get("prepare") and "images" not in value) or (query and path.endswith("/read")):
                continue
            case = api[path][method].Case(
                path_parameters=names_in(path), query=query, body=value, media_type="application/json"
            )
            response = case.call_and_validate(checks=[*CHECKED, *ACCEPTED])
            assert response.status_code == 200

    assert len(values) == (3 if path.endswith("/read") else 4)


@pytest.mark.parametrize(
    ("method", "path"), [entry for entry in OPERATIONS if entry[0] == "post" or entry[1].endswith(".png")]
)
def test_invalid_requests_to_a_model_are_refused_as_documented(
    api: OpenApiSchema, method: str, path: str
) -> None:
    statuses = ask(api[path][method], GenerationMode.NEGATIVE, path_parameters=names_in(path))

    assert statuses & {400, 415}


@pytest.mark.parametrize(("method", "path"), MANAGED)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_management_is_refused_as_documented_while_it_is_off(
    api: OpenApiSchema, method: str, path: str, mode: GenerationMode
) -> None:
    statuses = ask(api[path][method], mode)

    assert 403 in statuses
    assert statuses <= {400, 403}
