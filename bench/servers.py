"""What is measured: Inkling, the bare transport, and what most people write."""

import dataclasses
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import cases
from bench.cases import Engine, Request

_PATIENCE_S = 60
MODELS = Path("models")
NAMES = ("bare", "naive", "inkling")


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        port: Where, on 127.0.0.1.
        pid: Its process.
        started_s: From its start to its first right answer, in seconds.
    """

    port: int
    pid: int
    started_s: float


def newest(model: str) -> Path:
    """Return the newest published file of a model."""
    versions = sorted((MODELS / model).iterdir(), key=lambda folder: int(folder.name))
    return versions[-1] / "model.onnx"


def request(server: str, case: str, count: int, model: str, engine: Engine) -> Request | None:
    """Return a case as a server is asked it; None if it does not take it."""
    asked = cases.inkling(case, count, model, engine)
    match server, case:
        case "inkling", _:
            return asked
        case "bare", _:
            return Request("/", asked.headers, asked.bodies)
        case "naive", "json" | "raw":
            path = "/predict" if case == "json" else "/raw"
            return dataclasses.replace(asked, path=path, read=cases.naive)
    return None


@contextmanager
def running(server: str, core: int, first: Request, log: Path) -> Iterator[Running]:
    """Start a server on one core, and stop it.

    Args:
        server: One of `NAMES`.
        core: Where all of it runs.
        first: What it is asked until it answers rightly.
        log: Where what it says goes, Inkling's access log too.

    Yields:
        It, once it has answered.

    Raises:
        RuntimeError: It ended, or did not answer in time.
        ValueError: It answered wrongly.
    """
    port = _free_port()
    if server == "inkling":
        command = [sys.executable, "-m", "service", "--port", str(port), "--models", str(MODELS)]
    else:
        model = str(newest("mlp-128"))
        command = [sys.executable, "-m", f"bench.rivals.{server}", "--model", model, "--port", str(port)]
    with log.open("wb") as said:
        began = time.perf_counter()
        process = subprocess.Popen(["taskset", "-c", str(core), *command], stdout=said, stderr=said)
        try:
            while not _answers(port, first):
                if process.poll() is not None or time.perf_counter() - began > _PATIENCE_S:
                    raise RuntimeError(f"{server} should answer; it said {log.read_text()[-500:]!r}.")
                time.sleep(0.01)
            yield Running(port, process.pid, time.perf_counter() - began)
        finally:
            process.terminate()
            process.wait(_PATIENCE_S)


def check(port: int, asked: Request) -> None:
    """Ask a server every body once, and compare its answers with the engine's.

    Raises:
        ValueError: One is wrong.
        OSError: The server does not answer.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    try:
        for number, body in enumerate(asked.bodies):
            connection.request("POST", asked.path, body, asked.headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise ValueError(f"Status should be 200; got {response.status}, {answer[:200]!r}.")
            headers = {name.lower(): value for name, value in response.getheaders()}
            asked.check(number, headers, answer)
    finally:
        connection.close()


def _answers(port: int, asked: Request) -> bool:
    try:
        check(port, asked)
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def environment() -> dict[str, str]:
    """Return what says where this ran."""
    return {"python": sys.version.split()[0], "system": f"{os.uname().sysname} {os.uname().release}"}
