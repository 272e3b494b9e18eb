"""Reference pages that are generated from the code: settings, HTTP API, metrics, manifest, decisions."""

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from service import settings
from service.app import create_app
from service.core.artifact import manifest
from service.observability.metrics import Metrics

DOCS = Path(__file__).resolve().parent

GENERATED_NOTE = "Generated from the code by `make docs`."

_NOTHING = (None, (), "")
"""Defaults of settings that are shown as off."""

_METHODS = ("get", "post", "put", "delete")

Schema = Mapping[str, Any]


def settings_page() -> str:
    """Return the page of all settings."""
    lines = [
        "# Settings",
        "",
        GENERATED_NOTE,
        "",
        "Precedence: command line flag, environment variable, line in a file `.env`, default.",
        "An invalid value stops the start with one line that names the setting.",
        "",
        "| flag | variable | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in settings.Settings.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        variable = f"{settings.ENVIRONMENT_PREFIX}{name.upper()}"
        default = "off" if field.default in _NOTHING else f"`{field.default}`"
        lines.append(f"| `{flag}` | `{variable}` | {default} | {field.description} |")
    lines += ["", "With several workers, see [Several workers](../how-to/workers.md)."]
    return _text(lines)


def api_page() -> str:
    """Return the page of the HTTP API, from its OpenAPI description."""
    document = _openapi()
    lines = [
        "# HTTP API",
        "",
        GENERATED_NOTE,
        "",
        "A running service has the same description as an OpenAPI document at `/openapi.json`,",
        "and as a page with requests to try at `/docs`.",
        "The bodies are described in [Request bodies](request-bodies.md).",
        "",
        "Every error is a problem document (RFC 9457), [`ProblemDocument`](#problemdocument).",
        "With a key file every path but the probes, `/metrics`, the page and the documentation needs a key:",
        "[Keys and rates](../how-to/keys.md).",
    ]
    tag = None
    for paths, method, operation in _operations(document["paths"]):
        if operation["tags"][0] != tag:
            tag = operation["tags"][0]
            lines += ["", f"## Endpoints: {tag}"]  # the tag alone is also the name of a schema
        lines += ["", f"### `{method.upper()} {paths[0]}`", "", f"{_cell(operation['summary'])}."]
        lines += ["", _cell(operation["description"])]
        if len(paths) > 1:
            lines += ["", f"With a version: `{paths[1]}`."]
        lines += _parameters(operation.get("parameters", ()))
        lines += _bodies(operation.get("requestBody", {}).get("content", {}))
        lines += _responses(operation["responses"])
    lines += ["", "## Schemas"]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += _described(name, schema)
    return _text(lines)


def metrics_page() -> str:
    """Return the page of the metrics."""
    lines = [
        "# Metrics",
        "",
        GENERATED_NOTE,
        "",
        "`GET /metrics` returns them in the text format of Prometheus, on the data port and on the",
        "[operators' port](../how-to/operators-port.md).",
        "With several workers the figures are those of all workers.",
        "",
        "| metric | type | labels | meaning |",
        "|---|---|---|---|",
    ]
    for family in Metrics().collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in vars(family)["_labelnames"])
        lines.append(f"| `{name}` | {family.type} | {labels} | {_cell(family.documentation)} |")
    lines += [
        "| `inkling_processes` | gauge |  | Worker processes that serve; with several workers only |",
        "",
        "A histogram has the series `_bucket`, `_sum` and `_count`.",
        "",
        "On Linux the client library adds `process_cpu_seconds_total`, `process_resident_memory_bytes`,",
        "`process_virtual_memory_bytes`, `process_open_fds`, `process_max_fds` and",
        "`process_start_time_seconds`.",
        "With several workers they are sums over all processes; shared memory counts once for each process.",
    ]
    return _text(lines)


def manifest_page() -> str:
    """Return the page of the manifest, from its JSON schema."""
    schema = json.loads(manifest.schema())
    lines = [
        "# Manifest",
        "",
        GENERATED_NOTE,
        "",
        "A published model is a folder `models/<name>/<version>/` with these files:",
        "",
        f"- `{manifest.MODEL_FILE}`: the network, in ONNX;",
        f"- `{manifest.MANIFEST_FILE}`: this page's subject;",
        f"- `{manifest.GOLDEN_FILE}`: inputs and outputs that the network must reproduce to be served;",
        "- `report/`: figures and charts, optional.",
        "",
        "The trainer writes the folder, and the service refuses one that breaks a rule below.",
        "The JSON schema is [`manifest.schema.json`](../../models/manifest.schema.json).",
        "Unknown members are refused.",
    ]
    lines += ["", "## Members", *_described("Manifest", schema)]
    for name, part in schema["$defs"].items():
        lines += _described(name, part)
    return _text(lines)


def decisions_page() -> str:
    """Return the table of decisions with their status and date."""
    lines = [
        "# Decisions",
        "",
        GENERATED_NOTE,
        "",
        "One page per decision: context, decision, consequences, alternatives.",
        "A later decision may supersede or change one; its page keeps what was decided and measured then.",
        "",
        "| | decision | status | date |",
        "|---|---|---|---|",
    ]
    for path in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        text = path.read_text("utf-8")
        number, _, title = text.splitlines()[0].removeprefix("# ").partition(". ")
        status, date = _field(text, "Status"), _field(text, "Date")
        lines.append(f"| {number} | [{title}]({path.name}) | {status} | {date} |")
    return _text(lines)


def _field(text: str, name: str) -> str:
    """Return the value of a line `name: value` of a decision."""
    found = re.search(rf"^{name}: (.+)$", text, re.MULTILINE)
    assert found, f"a decision needs a line `{name}: …`"
    return found[1]


def _openapi() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(settings.Settings(models=Path(folder), access_log=False, _env_file=None))
        with TestClient(app) as client:
            document: dict[str, Any] = client.get("/openapi.json").json()
    return document


def _operations(paths: Mapping[str, Schema]) -> Iterator[tuple[list[str], str, Schema]]:
    """Yield each operation with its path and, if there is one, its path with the version."""
    for path, methods in paths.items():
        if "/versions/{version}" in path:
            continue
        twins = [twin for twin in paths if twin != path and twin.replace("/versions/{version}", "") == path]
        for method in _METHODS:
            if method in methods:
                yield [path, *twins], method, methods[method]


def _parameters(parameters: Iterable[Schema]) -> list[str]:
    rows = [
        f"| `{each['name']}` | {each['in']} | {_type(each['schema'])} | {_default(each['schema'])} "
        f"| {_cell(each.get('description', ''))} |"
        for each in parameters
    ]
    if not rows:
        return []
    return ["", "| parameter | in | type | default | meaning |", "|---|---|---|---|---|", *rows]


def _bodies(content: Mapping[str, Schema]) -> list[str]:
    kinds = [
        f"`{kind}`" + (f" ({_type(media['schema'])})" if "$ref" in media.get("schema", {}) else "")
        for kind, media in content.items()
    ]
    return ["", f"Body: {', '.join(kinds)}."] if kinds else []


def _responses(responses: Mapping[str, Schema]) -> list[str]:
    good, bad = [], []
    for status, response in responses.items():
        content = response.get("content", {})
        if "application/problem+json" in content:
            bad.append(f"`{status}`")
            continue
        kinds = [
            f"`{kind}`" + (f" ({_type(media['schema'])})" if "$ref" in media.get("schema", {}) else "")
            for kind, media in content.items()
        ]
        good.append(f"`{status}`" + (f" as {', '.join(kinds)}" if kinds else ""))
    lines = ["", f"Response: {'; '.join(good)}."]
    return [*lines, "", f"Errors: {', '.join(bad)}."] if bad else lines


def _described(name: str, schema: Schema) -> list[str]:
    lines = ["", f"### {name}"]
    if "description" in schema:
        lines += ["", _sentence(schema["description"].partition("\n\n")[0])]
    required = schema.get("required", ())
    rows = [
        f"| `{member}` | {_type(kind)} | {'yes' if member in required else 'no'} "
        f"| {_cell(kind.get('description', ''))} |"
        for member, kind in schema.get("properties", {}).items()
    ]
    if rows:
        lines += ["", "| member | type | required | meaning |", "|---|---|---|---|", *rows]
    elif "properties" not in schema:
        lines += ["", f"Type: {_type(schema)}."]
    return lines


def _type(schema: Schema) -> str:
    """Return the type of a JSON schema in words, with links to headings of the page."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(map(_type, schema[key])))
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "any")
    if kind == "array":
        parts = [schema["items"]] if "items" in schema else schema.get("prefixItems", [])
        inner = ", ".join(dict.fromkeys(map(_type, parts)))
        return f"list of {inner}" if inner else "list"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object with values {_type(schema['additionalProperties'])}"
    limits = [
        f"{sign} {schema[key]:,}"
        for key, sign in (("exclusiveMinimum", ">"), ("minimum", ">="), ("maximum", "<="))
        if key in schema
    ]
    return " ".join([str(kind), *limits])


def _default(schema: Schema) -> str:
    default = schema.get("default")
    return "" if default in (None, []) else f"`{json.dumps(default)}`"


def _sentence(text: str) -> str:
    text = _cell(text)
    return text if text.endswith(".") else f"{text}."


def _cell(text: str) -> str:
    """Return a text as one line for a table cell."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
