"""The direction rules of the architecture, as data, against the imports of every file."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.processes import modules_after

PACKAGES = ("service", "training")

ROOMS: dict[str, tuple[str, ...]] = {
    "service": (),
    "service.core": ("service.core",),
    "service.serving": ("service.core", "service.serving"),
    "service.inference": ("service.core", "service.inference", "service.serving"),
    "service.multiprocess": ("service.observability", "service.multiprocess"),
    "service.http": (
        "service.core",
        "service.inference",
        "service.serving",
        "service.multiprocess",
        "service.http",
        "service.observability",
    ),
    "service.protocol": (
        "service.core",
        "service.inference",
        "service.serving",
        "service.http",
        "service.protocol",
    ),
    "service.grpc": (
        "service.core",
        "service.inference",
        "service.serving",
        "service.http",
        "service.protocol",
        "service.grpc",
    ),
    "service.settings": (),
    "service.observability": ("service.observability",),
    "service.addresses": ("service.settings",),
    "service.app": (
        "service.core",
        "service.inference",
        "service.serving",
        "service.multiprocess",
        "service.http",
        "service.protocol",
        "service.grpc",
        "service.settings",
    ),
    "service.server": (
        "service.core",
        "service.inference",
        "service.multiprocess",
        "service.http",
        "service.app",
        "service.addresses",
        "service.settings",
    ),
    "service.key_command": ("service.inference.admission",),
    "service.command": (
        "service.inference.admission",
        "service.multiprocess",
        "service.key_command",
        "service.server",
        "service.addresses",
        "service.observability",
        "service.settings",
    ),
    "service.__main__": ("service.command",),
    "training": ("service.core", "training"),
    "training.recipes": ("training.recipes",),
    "training.synthesis": ("service.core", "training.synthesis"),
    "training.data": (
        "service.core",
        "training.data",
        "training.errors",
        "training.recipes",
        "training.synthesis",
    ),
    "training.data.unipen": (
        "training.data.unipen",
        "training.data.download",
        "training.data.pen_digits",
        "training.data.pen_letters",
        "training.errors",
    ),
    "training.model": ("service.core", "training.model", "training.recipes"),
    "training.batches": ("training.batches", "training.data", "training.recipes", "training.synthesis"),
    "training.fitting": (
        "training.fitting",
        "training.batches",
        "training.data",
        "training.errors",
        "training.model",
        "training.recipes",
    ),
    "training.evaluation": (
        "service.core",
        "training.evaluation",
        "training.data",
        "training.errors",
        "training.fitting",
        "training.model",
        "training.synthesis",
    ),
    "training.evaluation.ablation": (
        "service.core",
        "training.evaluation.ablation",
        "training.data",
        "training.errors",
        "training.synthesis",
    ),
    "training.publishing": (
        "service.core",
        "training.publishing",
        "training.data.examples",
        "training.errors",
        "training.model",
        "training.recipes",
    ),
    "training.report": (
        "service.core",
        "training.report",
        "training.data.examples",
        "training.errors",
    ),
    "training.report.charts": (
        "service.core",
        "training.report.charts",
        "training.data.examples",
        "training.errors",
    ),
    "training.quantisation": (
        "service.core",
        "training.quantisation",
        "training.data",
        "training.errors",
        "training.evaluation",
        "training.fitting",
        "training.model",
        "training.publishing",
        "training.recipes",
        "training.report",
    ),
    "training.sweep": (
        "service.core",
        "training.sweep",
        "training.data.examples",
        "training.errors",
        "training.fitting",
        "training.recipes",
        "training.report.charts",
    ),
    "training.cli": ("service.core", "training"),
    "training.cli.commands": ("service.core", "training"),
}
"""What each room may import of ours: what stands below it, and itself."""

WEB = (
    "service.__main__",
    "service.server",
    "service.app",
    "service.http",
    "service.protocol.rest",
    "service.protocol.repository",
    "service.protocol.instances",
)

OWNERS: dict[str, tuple[str, ...]] = {
    "torch": ("training",),
    "onnx": ("training",),
    "onnxscript": ("training",),
    "tqdm": ("training",),
    "matplotlib": ("training.report", "training.sweep.chart"),
    "optuna": ("training.sweep",),
    "sqlalchemy": ("training.sweep.storage", "training.sweep.study"),
    "onnxruntime": ("service.core.engine",),
    "threadpoolctl": ("service.core.network",),
    "fastapi": WEB,
    "fastapi_offline": WEB,
    "starlette": WEB,
    "uvicorn": WEB,
    "pydantic": (
        "service.http",
        "service.protocol.schemas",
        "service.settings",
        "service.core.manifest",
        "service.core.golden",
        "service.core.report",
    ),
    "pydantic_settings": ("service.settings",),
    "prometheus_client": ("service.http",),
    "grpc": ("service.grpc",),
    "grpc_health": ("service.grpc",),
    "grpc_reflection": ("service.grpc",),
    "google": ("service.grpc",),
}
"""Packages of others, and the only places that may import them."""

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


def _room(module: str) -> str:
    """Return the smallest room that a module stands in."""
    return max((room for room in ROOMS if _is_in(module, room)), key=len)


def upward_imports(module: Module) -> list[str]:
    """Return what a module imports of ours and may not."""
    ours = [name for name in module.imports if name.partition(".")[0] in PACKAGES]
    allowed = ROOMS[_room(module.name)]
    return sorted(name for name in ours if not any(_is_in(name, room) for room in allowed))


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
    if "telemetry" in uses and module.name == "service.core.engine":
        uses.remove("telemetry")
        uses.remove("os.environ")
    return uses


@each_module
def test_imports_point_downwards(module: Module) -> None:
    """
    core, serving, http, app, server, __main__: each may import what stands before it; training only core,
    and its rooms what the table says.
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


def test_every_room_is_in_the_table() -> None:
    """
    A new folder or file beside them is a decision: it gets its row.
    """
    service = {name for name in FILES if name.count(".") == 1 and _is_in(name, "service")}
    training = {
        name for name, path in FILES.items() if path.name == "__init__.py" and _is_in(name, "training")
    }

    assert service | training == ROOMS.keys() - {"service"}


def _trainer_floors() -> list[set[str]]:
    """Return the modules and folders in the trainer's picture in ARCHITECTURE.md, top floor first."""
    text = (REPOSITORY / "ARCHITECTURE.md").read_text("utf-8")
    box = text.partition("  training/ --")[2].partition("\n  ------")[0]
    lines = [line.split("|")[1] for line in box.splitlines()[1:]]
    floors = [floor for line in lines for floor in line.split("->")]
    return [{name.removesuffix("/") for name in floor.split()} for floor in floors]


def test_the_trainers_picture_shows_its_imports() -> None:
    """
    It has every folder and module of the trainer; each imports lower floors and itself only.
    """
    floors = _trainer_floors()
    level = {name: number for number, names in enumerate(floors) for name in names}
    trainer = [module for module in MODULES if module.name.startswith("training.")]

    assert set(level) == {module.name.split(".")[1] for module in trainer}
    for module in trainer:
        own = module.name.split(".")[1]
        for name in module.imports:
            if name.startswith("training."):
                other = name.split(".")[1]
                assert other == own or level[other] > level[own], f"{module.name} imports {name}"


def test_folders_of_the_trainer_have_three_to_nine_modules() -> None:
    """
    A folder can be read in one sitting.
    """
    paths = [path for name, path in FILES.items() if _is_in(name, "training")]
    for folder in {path.parent for path in paths}:
        count = sum(path.parent == folder and path.name != "__init__.py" for path in paths)
        assert 3 <= count <= 9, folder


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (upward_imports, "service.core.engine", "from service.serving import registry"),
        (upward_imports, "service.core.engine", "import service.app"),
        (upward_imports, "service.serving.registry", "def f():\n    from service.http.wire import decode"),
        (upward_imports, "service.http.v1", "from service.settings import Settings"),
        (upward_imports, "service.http.v1", "import training.model"),
        (upward_imports, "service.app", "from training.model import mlp"),
        (upward_imports, "training.publishing.publish", "from service.serving.registry import Registry"),
        (upward_imports, "training.publishing.publish", "from service import settings"),
        (upward_imports, "training.report.build", "from training.fitting.loop import fit"),
        (upward_imports, "training.sweep.search", "from training.publishing import catalogue"),
        (foreign_imports, "training.fitting.loop", "import matplotlib"),
        (foreign_imports, "service.app", "import torch.nn"),
        (foreign_imports, "service.core.graph", "import onnx"),
        (foreign_imports, "service.serving.registry", "import onnxruntime as ort"),
        (foreign_imports, "training.publishing.onnx_float", "from onnxruntime import InferenceSession"),
        (foreign_imports, "service.serving.predictor", "from starlette.requests import Request"),
        (foreign_imports, "service.protocol.inference", "from google.protobuf import json_format"),
        (upward_imports, "service.protocol.rest", "from service.grpc import messages"),
        (foreign_imports, "service.core.insight", "from pydantic import BaseModel"),
        (environment_uses, "service.app", "import os\nos.environ['A']"),
        (environment_uses, "service.app", "import os\nos.getenv('A')"),
        (environment_uses, "training.data", "from os import environ"),
        (environment_uses, "service.core.engine", "import os\nos.environ.setdefault('OMP', '1')"),
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
        "import threading, service.command, service.multiprocess.supervisor as _\n"
        "assert threading.active_count() == 1"
    )

    loaded = modules_after(program)

    assert "service.multiprocess.supervisor" in loaded
    assert {"numpy", "onnxruntime", "uvicorn", "starlette", "grpc", "service.server"}.isdisjoint(loaded)


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
