"""Generators of Python clients, on the service's OpenAPI document: no warning, and nothing left out.

They have an environment of their own, which `make test` makes.
"""

import ast
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.conftest import REPOSITORY

ENVIRONMENT = REPOSITORY / ".venv-generators"

PATIENCE_S = 300


@pytest.fixture(scope="module")
def document(client: TestClient, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the OpenAPI document."""
    path = tmp_path_factory.mktemp("openapi") / "openapi.json"
    path.write_bytes(client.get("/openapi.json").content)
    return path


def run(folder: Path, *command: str | Path) -> str:
    """Run a program of the generators' environment, which must succeed; return what it printed."""
    if not (ENVIRONMENT / ".installed").exists():
        pytest.skip("the generators are not installed; `make test` does so where it can")
    binaries = ENVIRONMENT / "bin"
    done = subprocess.run(
        [binaries / command[0], *command[1:]],
        cwd=folder,
        env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    return printed


def operation_ids(document: Path) -> set[str]:
    found: dict[str, Any] = json.loads(document.read_text("utf-8"))
    return {operation["operationId"] for methods in found["paths"].values() for operation in methods.values()}


def test_openapi_python_client_makes_a_function_of_every_operation(document: Path, tmp_path: Path) -> None:
    """
    Without a warning, with the configuration that the repository has for it. The JSON body of predict was
    once left out, as two parts of it had the same title.
    """
    config = REPOSITORY / "clients/openapi-python-client.yaml"
    options = ("--path", document, "--config", config, "--output-path", tmp_path / "made")

    printed = run(tmp_path, "openapi-python-client", "generate", *options)

    assert printed.splitlines() == [f"Generating {tmp_path / 'made'}"]
    made = {path.stem for path in (tmp_path / "made").glob("*/api/*/*.py")} - {"__init__"}
    assert made == operation_ids(document)
    for path in (tmp_path / "made").rglob("*.py"):
        ast.parse(path.read_text("utf-8"))
    (predict,) = (tmp_path / "made").glob("*/api/*/predict.py")
    text = predict.read_text("utf-8")
    for name in ("PixelImage", "PixelImages", "UnitImage", "UnitImages", "StrokeDrawing"):
        assert f" {name}" in text


def test_datamodel_code_generator_makes_a_class_of_every_schema(document: Path, tmp_path: Path) -> None:
    options = ("--input", document, "--input-file-type", "openapi", "--output", tmp_path / "models.py")
    style = ("--output-model-type", "pydantic_v2.BaseModel", "--formatters", "builtin")

    printed = run(tmp_path, "datamodel-codegen", *options, *style)

    assert printed == ""
    module = ast.parse((tmp_path / "models.py").read_text("utf-8"))
    classes = {node.name for node in module.body if isinstance(node, ast.ClassDef)}
    schemas = json.loads(document.read_text("utf-8"))["components"]["schemas"]
    assert set(schemas) <= classes
    program = "import models; print(models.PixelImage(image=[[0] * 28] * 28).image.root is not None)"
    assert run(tmp_path, "python", "-c", program).strip() == "True"
