"""The direction rules of the architecture, as data, against the imports of every file."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.processes import modules_after

PACKAGES = ("inkling", "service", "training")

WEB = ("service.server", "service.app", "service.http")

OWNERS: dict[str, tuple[str, ...]] = {
    "httpx2": ("inkling.client",),
    "pyarrow": ("inkling.bulk", "training.data.own"),
    "torch": ("training",),
    "onnx": ("training",),
    "onnxscript": ("training",),
    "tqdm": ("training", "inkling.cli.score"),
    "matplotlib": ("training.report", "training.sweep.chart"),
    "optuna": ("training.sweep",),
    "sqlalchemy": ("training.sweep.storage", "training.sweep.study"),
    "onnxruntime": ("service.core.network.engine",),
    "threadpoolctl": ("service.core.network.dense_layers",),
    "fastapi": WEB,
    "fastapi_offline": WEB,
    "starlette": WEB,
    "uvicorn": ("service.server", "service.http.server"),
    "pydantic": ("service.http", "service.settings", "service.core.artifact"),
    "pydantic_settings": ("service.settings",),
    "prometheus_client": (
        "service.http.api.health",
        "service.observability",
        "service.multiprocess.aggregation",
    ),
    "grpc": ("service.grpc",),
    "grpc_health": ("service.grpc",),
    "grpc_reflection": ("service.grpc",),
    "google": ("service.grpc",),
}
"""Packages of others, and the only places that may import them."""

RESERVED: dict[str, tuple[str, ...]] = {
    "service.settings": ("service.app", "service.server", "service.cli", "service.addresses", "inkling.cli"),
    "service.http": ("service.http", "service.app", "service.server"),
    "training.fitting": (
        "training.fitting",
        "training.run",
        "training.evaluation",
        "training.quantisation",
        "training.sweep",
        "training.cli",
    ),
    "training.publishing": (
        "training.publishing",
        "training.run",
        "training.importing",
        "training.quantisation",
        "training.cli",
    ),
}
"""Packages that not every higher layer may import, and those that may."""

USES: dict[str, tuple[str, ...]] = {
    "training": ("service.core",),
    "inkling": ("service.core", "service.codecs", "service.inference"),
    "inkling.cli": (
        "service.core",
        "service.inference",
        "service.cli",
        "service.key_cli",
        "service.settings",
    ),
    "inkling.__main__": ("service.__main__",),
}
"""What a program may import of the service, which imports neither. The longest name that fits counts."""

FACE = "inkling"
"""The module that names what is public; it imports each name from its module."""

ENVIRONMENT = ("service.settings", "training.__main__")
"""Who may read the environment."""

TELEMETRY = 'os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")'
"""The one thing that is written to it elsewhere: ONNX Runtime reads it when it is imported."""


@dataclass(frozen=True)
class Module:
    """A file of ours.

    Attributes:
        name: As it is imported.
        tree: What stands in it.
        imports: Every module that it imports, at the top or within a function.
    """

    name: str
    tree: ast.Module
    imports: frozenset[str]


def _name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_name(path): path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")}


def _imported(tree: ast.Module, known: frozenset[str]) -> Iterator[str]:
    """Yield what is imported; of `from a import b`, `a.b` where that is a module of ours, else `a`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports say the whole name"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if module in known else str(node.module)


def _module(name: str, source: str) -> Module:
    tree = ast.parse(source)
    return Module(name, tree, frozenset(_imported(tree, frozenset(FILES))))


MODULES = [_module(name, path.read_text(encoding="utf-8")) for name, path in sorted(FILES.items())]

each_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)


def _is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def _floors(package: str) -> list[set[str]]:
    """Return the packages in a box of ARCHITECTURE.md, top layer first."""
    text = (REPOSITORY / "ARCHITECTURE.md").read_text("utf-8")
    box = text.partition(f"  {package}/ --")[2].partition("\n  ---")[0]
    lines = [line.split("|")[1] for line in box.splitlines()[1:]]
    layers = [layer for line in lines for layer in line.split("->")]
    return [{f"{package}.{name.rstrip('/').replace('/', '.')}" for name in layer.split()} for layer in layers]


LEVELS = {
    name: level for package in PACKAGES for level, names in enumerate(_floors(package)) for name in names
}
"""The layer of every package, counted from the top."""


def _package(module: str) -> str | None:
    """Return the smallest package of the boxes that a module is in; None for the two programs themselves."""
    return max((name for name in LEVELS if _is_in(module, name)), key=len, default=None)


def upward_imports(module: Module) -> list[str]:
    """Return the imports of a module that are not in a lower layer or in its own package."""
    if module.name == FACE:
        return []
    own = _package(module.name)
    found = []
    for name in module.imports:
        other = _package(name)
        if name.partition(".")[0] not in PACKAGES or own == other:
            continue
        if own is None or other is None:
            found.append(name)
        elif own.partition(".")[0] != other.partition(".")[0]:
            used = USES.get(max((user for user in USES if _is_in(own, user)), key=len, default=""), ())
            if not any(_is_in(other, package) for package in used):
                found.append(name)
        elif LEVELS[other] <= LEVELS[own] or not _may_use(module.name, name):
            found.append(name)
    return sorted(found)


def _may_use(module: str, imported: str) -> bool:
    return all(
        any(_is_in(module, owner) for owner in owners)
        for reserved, owners in RESERVED.items()
        if _is_in(imported, reserved)
    )


def foreign_imports(module: Module) -> list[str]:
    """Return what a module imports of others and may not."""
    return sorted(
        package
        for package in {name.partition(".")[0] for name in module.imports}
        if package in OWNERS and not any(_is_in(module.name, owner) for owner in OWNERS[package])
    )


def environment_uses(module: Module) -> list[str]:
    """Return the places where a module touches the environment and may not."""
    if module.name in ENVIRONMENT:
        return []
    names = {"environ", "environb", "getenv", "putenv", "unsetenv", "load_dotenv", "dotenv_values"}
    uses = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Expr) and ast.unparse(node) == TELEMETRY.replace('"', "'"):
            uses.append("telemetry")
        elif isinstance(node, ast.Attribute) and node.attr in names and ast.unparse(node.value) == "os":
            uses.append(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and node.module in ("os", "dotenv"):
            uses += [alias.name for alias in node.names if alias.name in names]
    if "telemetry" in uses and module.name == "service.core.network.engine":
        uses.remove("telemetry")
        uses.remove("os.environ")
    return uses


@each_module
def test_imports_point_downwards(module: Module) -> None:
    """
    Each package imports itself and lower layers; the trainer, of the service, `service.core` only.
    """
    assert upward_imports(module) == []


@each_module
def test_packages_are_imported_only_where_they_belong(module: Module) -> None:
    """
    The runtime in one file, the web framework at the edge, pydantic at the borders, torch in the trainer.
    """
    assert foreign_imports(module) == []


@each_module
def test_environment_is_read_only_by_the_settings(module: Module) -> None:
    """
    What a function does depends on its arguments.
    """
    assert environment_uses(module) == []


def test_errors_of_the_core_import_nothing_of_ours() -> None:
    """
    They stand at the bottom.
    """
    (errors,) = (module for module in MODULES if module.name == "service.core.errors")

    assert not {name for name in errors.imports if name.partition(".")[0] in PACKAGES}


def test_nothing_is_imported_in_a_circle() -> None:
    """
    The modules can be put in an order in which each imports only earlier ones.
    """
    sorter = TopologicalSorter({module.name: module.imports & FILES.keys() for module in MODULES})

    assert set(sorter.static_order()) == set(FILES)  # a circle raises CycleError, which names it


def test_boxes_show_every_package() -> None:
    """
    Every module is in a package of its box, and every package of a box exists.
    """
    assert {name for name in FILES if _package(name) is None} == {*PACKAGES, "service.http"}
    assert LEVELS.keys() <= FILES.keys()


def test_folders_have_at_most_nine_modules() -> None:
    """
    A folder can be read in one sitting.
    """
    for folder in {path.parent for path in FILES.values()}:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= 9, folder


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (upward_imports, "service.core.network.engine", "from service.serving import registry"),
        (upward_imports, "service.core.network.engine", "import service.app"),
        (
            upward_imports,
            "service.inference.models.registry",
            "def f():\n    from service.http.messages.content_types import decode",
        ),
        (upward_imports, "service.http.api.predict", "from service.settings import Settings"),
        (upward_imports, "service.http.api.predict", "import training.model"),
        (upward_imports, "service.app", "from training.model import mlp"),
        (upward_imports, "service.app", "from inkling.model import Model"),
        (upward_imports, "training.run", "import inkling"),
        (upward_imports, "inkling.model", "from service.http.api import predict"),
        (upward_imports, "inkling.model", "from inkling.cli import table"),
        (upward_imports, "inkling.cli.predict", "from service.app import create_app"),
        (upward_imports, "inkling.model", "from training.model import mlp"),
        (
            upward_imports,
            "training.publishing.publish",
            "from service.inference.models.registry import Registry",
        ),
        (upward_imports, "training.publishing.publish", "from service import settings"),
        (upward_imports, "training.report.build", "from training.fitting.loop import fit"),
        (upward_imports, "training.sweep.search", "from training.publishing import catalogue"),
        (foreign_imports, "training.fitting.loop", "import matplotlib"),
        (foreign_imports, "service.app", "import torch.nn"),
        (foreign_imports, "service.core.network.onnx_graph", "import onnx"),
        (foreign_imports, "service.inference.models.registry", "import onnxruntime as ort"),
        (foreign_imports, "training.publishing.onnx_float", "from onnxruntime import InferenceSession"),
        (foreign_imports, "service.inference.predictor", "from starlette.requests import Request"),
        (foreign_imports, "service.oip.inference", "from google.protobuf import json_format"),
        (upward_imports, "service.http.oip.endpoints", "from service.grpc import messages"),
        (foreign_imports, "service.core.network.weight_images", "from pydantic import BaseModel"),
        (environment_uses, "service.app", "import os\nos.environ['A']"),
        (environment_uses, "service.app", "import os\nos.getenv('A')"),
        (environment_uses, "training.data", "from os import environ"),
        (environment_uses, "service.core.network.engine", "import os\nos.environ.setdefault('OMP', '1')"),
        (environment_uses, "service.app", f"import os\n{TELEMETRY}"),
    ],
)
def test_rules_would_notice(rule: Callable[[Module], list[str]], name: str, source: str) -> None:
    """
    Each rule finds what it forbids, or the tests above would say nothing.
    """
    assert rule(_module(name, source))


def test_who_starts_processes_loads_nothing_heavy() -> None:
    """
    What it has in memory, every process that it starts has too; and a thread would not survive the fork.
    """
    program = (
        "import threading, service.cli, service.multiprocess.supervisor as _\n"
        "assert threading.active_count() == 1"
    )

    loaded = modules_after(program)

    assert "service.multiprocess.supervisor" in loaded
    assert {"numpy", "onnxruntime", "uvicorn", "starlette", "grpc", "service.server"}.isdisjoint(loaded)


def test_model_in_process_loads_no_server() -> None:
    """
    Neither the web framework nor the trainer; and the package itself loads next to nothing.
    """
    light = modules_after("import inkling")
    loaded = modules_after("from inkling import Model")

    assert "inkling.model" in loaded
    assert loaded.isdisjoint({"fastapi", "starlette", "uvicorn", "prometheus_client", "torch", "httpx2"})
    assert light.isdisjoint({"numpy", "onnxruntime", "service"})


def test_service_starts_without_torch_trainer_and_onnx() -> None:
    """
    A fresh interpreter that imports the service has loaded nothing of the trainer's.
    """
    heavy = (
        "torch",
        "training",
        "onnx",
        "onnxscript",
        "optuna",
        "matplotlib",
        "tqdm",
        "sympy",
        "google.protobuf",
        "grpc",
        "service.grpc",
    )

    loaded = modules_after("import service.app")

    assert "service.app" in loaded
    assert loaded.isdisjoint(heavy)
