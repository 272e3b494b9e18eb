"""The container image as an operator runs it: build, start, probes, requests, stop.

INKLING_BUILD_ARGS and INKLING_RUN_ARGS hold further words for `build` and `run`, for networks and
engines that need them.
"""

import json
import math
import os
import shlex
import shutil
import socket
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

pytestmark = [pytest.mark.container, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "localhost/inkling-test"
BASE = "localhost/inkling-test-base"
MAX_ADDED_BYTES = 230_000_000
LAME_DUCK_S = 2.0
MAX_STOP_S = LAME_DUCK_S + 2.0
READY_TIMEOUT_S = 30.0
"""Generous, because a container engine may take its time; the service's own start is tested elsewhere."""


@dataclass(frozen=True)
class Engine:
    """Command line of docker or podman."""

    name: str

    def __call__(self, *words: str) -> str:
        """Run one command and return what it printed; its errors are shown when it fails."""
        done = subprocess.run([self.name, *words], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{self.name} {' '.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def build(self, tag: str, *words: str) -> None:
        form = ["--format", "docker"] if self.name == "podman" else []
        self("build", *form, *words, *extra("INKLING_BUILD_ARGS"), "-t", tag, ".")

    def size(self, image: str) -> int:
        return int(self("image", "inspect", "--format", "{{.Size}}", image))


@dataclass(frozen=True)
class Container:
    engine: Engine
    name: str
    port: int

    def get(self, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body)
        if kind:
            request.add_header("Content-Type", kind)
        with urllib.request.urlopen(request, timeout=5) as answer:
            content: bytes = answer.read()
        return content

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            try:
                self.get("/readyz")
            except (OSError, HTTPException) as error:
                if time.monotonic() > deadline:
                    logs = self.engine("logs", self.name)
                    pytest.fail(f"not ready after {READY_TIMEOUT_S} s: {error}\n{logs}")
                time.sleep(0.05)
            else:
                return

    def python(self, code: str) -> str:
        return self.engine("exec", self.name, "python", "-c", code)


def extra(variable: str) -> list[str]:
    return shlex.split(os.environ.get(variable, ""))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def engine() -> Engine:
    for name in ("docker", "podman"):
        works = (
            shutil.which(name)
            and not subprocess.run([name, "info"], capture_output=True, check=False).returncode
        )
        if works:
            return Engine(name)
    pytest.skip("neither docker nor podman runs here")


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    engine.build(IMAGE)
    return IMAGE


@pytest.fixture
def container(engine: Engine, image: str) -> Iterator[Container]:
    name = f"inkling-test-{uuid.uuid4().hex[:8]}"
    port = free_port()
    rights = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    engine(
        *("run", "--detach", "--name", name, *rights, "--tmpfs", "/tmp"),
        # The same port inside, so that it also works with --network host in INKLING_RUN_ARGS.
        *("--env", f"INKLING_PORT={port}", "--publish", f"127.0.0.1:{port}:{port}"),
        *("--env", f"INKLING_ADMIN_PORT={free_port()}"),
        *extra("INKLING_RUN_ARGS"),
        image,
    )
    try:
        started = Container(engine, name, port)
        started.wait_until_ready()
        yield started
    finally:
        engine("rm", "--force", name)


def test_the_image_holds_its_bill_of_materials(container: Container) -> None:
    """
    Every installed Python package, Debian's Python, every published network; and no build tools.
    """
    bom = json.loads(container.python("print(open('/app/sbom.cdx.json').read())"))
    installed = container.python(
        "import importlib.metadata as found; print(*{it.name for it in found.distributions()})"
    ).split()

    assert bom["bomFormat"] == "CycloneDX"
    assert bom["metadata"]["component"]["name"] == "inkling-server"
    parts: dict[str, set[str]] = {kind: set() for kind in ("pypi", "deb", "model")}
    for it in bom["components"]:
        kind = it["purl"].split("/")[0].removeprefix("pkg:") if "purl" in it else "model"
        parts[kind].add(it["name"])
    assert {canonicalize_name(name) for name in parts["pypi"]} == {
        canonicalize_name(name) for name in installed
    } - {"inkling-server"}
    assert {"python3", "libc6"} <= parts["deb"]
    assert parts["model"] == {path.name for path in (ROOT / "models").iterdir() if path.is_dir()}


def test_image_adds_little_to_its_base(engine: Engine, image: str) -> None:
    """
    The image is at most 230 MB larger than the Debian that it starts from.
    """
    engine.build(BASE, "--target", "base")

    added = engine.size(image) - engine.size(BASE)

    assert added < MAX_ADDED_BYTES


def test_every_model_answers(container: Container) -> None:
    """
    Every model that the image carries answers with probabilities that add up to one.
    """
    models = json.loads(container.get("/v1/models"))["models"]

    for model in models:
        path = f"/v1/models/{model['name']}/probabilities"
        image = bytes(place % 256 for place in range(math.prod(model["input"])))
        answer = json.loads(container.get(path, image, "application/octet-stream"))

        assert sum(answer["predictions"][0]["probabilities"]) == pytest.approx(1, abs=1e-5)

    assert models


def test_container_has_few_rights(container: Container) -> None:
    """
    Its user is not root, it has no capabilities, and only /tmp is writable.
    """
    status = container.python(
        "import os, pathlib; print(os.getuid(), pathlib.Path('/proc/1/status').read_text())"
    )
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    writable = container.python(
        "import os; print([p for p in ('/', '/app', '/app/models', '/venv', '/tmp')"
        " if os.access(p, os.W_OK)])"
    )

    assert status.split()[0] == "65532"
    assert int(fields["CapEff"], 16) == 0
    assert fields["NoNewPrivs"].strip() == "1"
    assert writable == "['/tmp']"


def test_image_holds_nothing_of_training(container: Container) -> None:
    """
    Neither torch, nor the trainer, nor package installers.
    """
    found = container.python(
        "from importlib.util import find_spec as f;"
        " print([n for n in ('torch', 'onnx', 'training', 'pip', 'pytest') if f(n)])"
    )

    assert found == "[]"


def test_health_check_passes(engine: Engine, container: Container) -> None:
    """
    The image's own health check reports healthy once the service is ready.
    """
    check = json.loads(engine("image", "inspect", "--format", "{{json .Config.Healthcheck}}", IMAGE))

    engine("exec", container.name, *check["Test"][1:])


def test_operators_port_is_not_exposed(engine: Engine, image: str) -> None:
    """
    Publishing all exposed ports publishes only the clients' port.
    """
    config = json.loads(engine("image", "inspect", "--format", "{{json .Config}}", image))

    assert list(config["ExposedPorts"]) == ["8000/tcp"]
    assert {"INKLING_ADMIN_PORT=8001", f"INKLING_LAME_DUCK_S={LAME_DUCK_S:g}"} <= set(config["Env"])


def test_container_stops_after_sigterm(engine: Engine, container: Container) -> None:
    """
    SIGTERM ends the process within two seconds after the lame duck period, and with exit status 0.
    """
    started = time.monotonic()
    engine("stop", "-t", "10", container.name)
    duration_s = time.monotonic() - started
    code = engine("inspect", "--format", "{{.State.ExitCode}}", container.name)

    assert code == "0"
    assert duration_s < MAX_STOP_S
