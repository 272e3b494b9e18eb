"""Options of an operation: the query parameters, validated by a pydantic model."""

import re
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from starlette.datastructures import QueryParams

from service.core.errors import MalformedRequest


class _SplitByComma:
    """Pydantic annotation: parses a comma-separated query value into a tuple."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401 - a type
        known = get_args(get_args(source)[0])

        def split(text: str) -> tuple[str, ...]:
            items = tuple(text.split(",")) if text else ()
            if not set(items) <= set(known) or len(set(items)) < len(items):
                expected = f"among {', '.join(known)}, each at most once, joined by commas"
                raise PydanticCustomError("words", "{expected}", {"expected": expected})
            return items

        return core_schema.no_info_before_validator_function(split, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "uniqueItems": True}


_Item = TypeVar("_Item", bound=str)

CommaSeparated = Annotated[tuple[_Item, ...], _SplitByComma()]
"""Type of a comma-separated list without repetition: `CommaSeparated[Literal["seen", "steps"]]`."""


class Options(BaseModel):
    """The query parameters of an operation; this base class has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse(options: type[Options], query_string: bytes) -> Options:
    """Parse a query string.

    Raises:
        MalformedRequest: A parameter is unknown, given twice, or has a wrong value.
    """
    query: dict[str, str] = {}
    for name, value in QueryParams(query_string).multi_items():
        if name in query:
            raise MalformedRequest(f"Query {name[:40]!r}", "given once", "more")
        query[name] = value
    try:
        return options.model_validate(query)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])[:40]
        if first["type"] == "extra_forbidden":
            known = ", ".join(options.model_fields) or "nothing"
            raise MalformedRequest("Query", f"among {known}", repr(name)) from error
        expected = re.sub(r"^Input should be ", "", first["msg"])
        raise MalformedRequest(f"Query {name!r}", expected, repr(query[name][:40])) from error
