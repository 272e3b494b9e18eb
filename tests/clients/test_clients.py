"""Unmodified clients of other model servers, against a service process with the published models.

They need older packages than ours and so have an environment of their own, which `make test` makes. Each of
their files is run there by a pytest of its own, and its tests are reported here one by one.
"""

import ast
import json
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray

from service.core.artifact import artifact
from service.core.drawing import mnist
from service.core.network import attribution, dense_layers
from service.core.network.engine import Engine
from tests import digits, toys
from tests.conftest import REPOSITORY
from tests.processes import PATIENCE_S, Process, clean_environment, running

HERE = Path(__file__).parent

ENVIRONMENT = REPOSITORY / ".venv-clients"

FILES = ("triton_http", "triton_grpc", "kserve_rest", "kserve_grpc")

MOST_IMAGES = 1000
"""In one request: as many as the largest batch that is asked for."""

LABEL = 3
"""The class that is explained."""

NOT_PASSED = ("failure", "error", "skipped")
"""What a test's result holds if it did not pass."""

Cases = Mapping[str, list[ElementTree.Element]]
"""What became of each test, by the name of its function; several where it has parameters."""


def names(file: str) -> list[str]:
    """Return the names of the tests in a file, which cannot be imported in this environment."""
    module = ast.parse((HERE / f"{file}.py").read_text(encoding="utf-8"))
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    return [function.name for function in functions if function.name.startswith("test_")]


def drawn() -> NDArray[np.uint8]:
    """Return 1,000 digits of different brightness, (1000, 28, 28)."""
    ways = [mnist.from_strokes(digits.arrays(way)) for found in digits.DIGITS.values() for way in found]
    random = np.random.default_rng(1)
    chosen = np.stack(ways)[random.integers(len(ways), size=MOST_IMAGES)]
    return np.asarray(chosen * random.uniform(0.5, 1, (MOST_IMAGES, 1, 1)), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, published: Path) -> Path:
    """A folder with models, further versions, images, and the engine's outputs for them."""
    folder = tmp_path_factory.mktemp("clients")
    models = folder / "models"
    models.mkdir()
    for name in ("ink", "mlp-128"):
        shutil.copytree(published / name, models / name)
    opposite = toys.quadrant_weights()[::-1].copy()
    for name in ("quadrants", "counted"):
        toys.publish(models, name)
        toys.publish(models, name, opposite)
    for client in ("http", "http-asyncio", "grpc", "grpc-asyncio"):
        name = f"growing-{client}"
        toys.publish(models, name)
        toys.publish(models, name, opposite)
        (folder / "spare" / name).mkdir(parents=True)
        (models / name / "2").rename(folder / "spare" / name / "2")
    write_scores(folder, models)
    write_answers_of_ink(folder, models)
    return folder


def write_scores(folder: Path, models: Path) -> None:
    """Write the images, and the engine's outputs in batches of 1, 64 and 1000."""
    images = drawn()
    np.save(folder / "images.npy", images)
    for name in ("ink", "mlp-128", "quadrants"):
        for version in artifact.versions(models)[name]:
            engine = Engine.load(artifact.read(models, name, version))
            for count in (1, 64, MOST_IMAGES):
                scores = engine.run(images[:count])
                np.save(folder / f"{name}-{version}-{count}-logits.npy", scores.logits)
                np.save(folder / f"{name}-{version}-{count}-probabilities.npy", scores.probabilities)


def write_answers_of_ink(folder: Path, models: Path) -> None:
    """Write canvases and an image file with the outputs of `ink` after preprocessing, and attributions."""
    published = artifact.read(models, "ink", artifact.versions(models)["ink"][-1])
    engine, layers = Engine.load(published), dense_layers.read(published)
    pictures = [digits.canvas(digits.DIGITS[label][0]) for label in "27"]
    pictures[0].save(folder / "two.png")
    canvases = np.stack([np.asarray(picture, np.uint8) for picture in pictures])
    np.save(folder / "canvases.npy", canvases)
    prepared = np.stack([mnist.from_picture(canvas) for canvas in canvases])
    np.save(folder / "canvases-probabilities.npy", engine.run(prepared).probabilities)
    np.save(folder / "two-probabilities.npy", engine.run(prepared[:1]).probabilities)
    images = drawn()[:1]
    explained = attribution.explain(layers, images, np.array([LABEL], np.intp))
    np.save(folder / "explained-logits.npy", engine.run(images).logits)
    np.save(folder / "explained-shares.npy", explained.shares)
    np.save(folder / "explained-bias.npy", explained.bias)


def grpc_address(process: Process) -> str:
    """Return the gRPC address from the service's log."""
    assert process.handle.stderr
    for line in chain(process.lines, process.handle.stderr):
        found = re.search(r"grpc://([0-9.:]+)", line)
        if found:
            return found[1]
    pytest.fail("ended before it listened for gRPC")


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> Iterator[Callable[[str], tuple[Cases, str]]]:
    """Return a function that runs a file in the clients' environment, once, and returns the results and the
    output."""
    if not (ENVIRONMENT / ".installed").exists():
        pytest.skip("the clients are not installed; `make test` does so where it can")

    @cache
    def run(file: str) -> tuple[Cases, str]:
        results = folder / f"{file}.xml"
        done = subprocess.run(
            [
                ENVIRONMENT / "bin/python",
                *("-m", "pytest", "-c", HERE / "clients.ini", "--confcutdir", HERE),
                *("-p", "no:cacheprovider", "--tb=short", "--junitxml", results, HERE / f"{file}.py"),
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            env=clean_environment(
                PYTHONPATH=str(REPOSITORY),
                CLIENTS_FOLDER=str(folder),
                NO_PROXY="127.0.0.1",  # whatever proxy the machine has
                no_proxy="127.0.0.1",
            ),
            timeout=10 * PATIENCE_S,
            check=False,
        )
        cases: dict[str, list[ElementTree.Element]] = defaultdict(list)
        if results.exists():
            for case in ElementTree.parse(results).iter("testcase"):
                cases[case.attrib["name"].partition("[")[0]].append(case)
        return cases, done.stdout + done.stderr

    arguments = ("--grpc-port", "0", "--no-access-log", "--management", "--max-images", str(MOST_IMAGES))
    with running(folder / "models", *arguments) as process:
        said = {
            "http": f"127.0.0.1:{process.port}",
            "grpc": grpc_address(process),
            "models": str(folder / "models"),
            "spare": str(folder / "spare"),
        }
        (folder / "service.json").write_text(json.dumps(said))
        yield run


@pytest.mark.parametrize(("file", "name"), [(file, name) for file in FILES for name in names(file)])
def test_clients_understand_the_service(
    outcomes: Callable[[str], tuple[Cases, str]], file: str, name: str
) -> None:
    """
    All parameters of one test of a client.
    """
    cases, printed = outcomes(file)

    assert cases[name], printed
    wrong = [str(part.text) for case in cases[name] for part in case if part.tag in NOT_PASSED]
    assert not wrong, "\n".join(wrong)
