"""What is measured, started and stopped: Inkling, the bare transport, what most people write, and peers."""

import dataclasses
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import calls, cases, machine
from bench.cases import Engine, Request

_PATIENCE_S = 60
_START_S = 120
MODELS = Path("models")
NAMES = ("bare", "naive", "inkling", "inkling-grpc")
"""The last is Inkling again, with gRPC, so that the others are measured without what gRPC needs."""


@dataclass(frozen=True)
class Server:
    """What can be started and asked.

    Attributes:
        name: In the tables.
        command: What starts it, but for the flag and the port's number at the end.
        request: Returns a case, images in a request, of a model and its engine, as it is asked it; None if
            it does not take the case.
        is_peer: Whether it is somebody else's: it may fail, and runs in an empty folder.
        flag: Before the number of the port that is asked.
    """

    name: str
    command: tuple[str, ...]
    request: Callable[[str, int, str, Engine], Request | None]
    is_peer: bool = False
    flag: str = "--port"


class NotYet(RuntimeError):
    """A server does not answer, or not with 200: it may still be starting."""


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        port: Where, on 127.0.0.1.
        pid: Its process.
        started_s: From its start to its first right answer, in seconds.
        resident_mb: Memory that it held then, in MB of 10**6 bytes.
    """

    port: int
    pid: int
    started_s: float
    resident_mb: float


def newest(model: str) -> Path:
    """Return the newest published file of a model."""
    versions = sorted((MODELS / model).iterdir(), key=lambda folder: int(folder.name))
    return versions[-1] / "model.onnx"


def own(name: str) -> Server:
    """Return one of `NAMES`."""
    flag = "--port"
    match name:
        case "inkling":
            command = ["service", "--models", str(MODELS)]
        case "inkling-grpc":
            command = ["service", "--models", str(MODELS), "--port", "0"]
            flag = "--grpc-port"
        case _:
            command = [f"bench.rivals.{name}", "--model", str(newest("mlp-128"))]
    return Server(name, (sys.executable, "-m", *command), partial(_request, name), flag=flag)


def _request(name: str, case: str, count: int, model: str, engine: Engine) -> Request | None:
    if (case == "grpc") != (name == "inkling-grpc"):
        return None
    asked = cases.inkling(case, count, model, engine)
    match name, case:
        case "inkling" | "inkling-grpc", _:
            return asked
        case "bare", _:
            return Request("/", asked.headers, asked.bodies)
        case "naive", "json" | "raw":
            path = "/predict" if case == "json" else "/raw"
            return dataclasses.replace(asked, path=path, read=cases.ANSWERS["probabilities"])
    return None


@contextmanager
def running(server: Server, core: int, first: Request, log: Path) -> Iterator[Running]:
    """Start a server on one core, and stop it with all that it started.

    Args:
        server: What to start.
        core: Where all of it runs.
        first: What it is asked until it answers rightly.
        log: Where what it says goes, Inkling's access log too.

    Yields:
        It, once it has answered.

    Raises:
        RuntimeError: It ended, or did not answer in time.
        ValueError: It answered wrongly.
    """
    port = free_port()
    command = ["taskset", "-c", str(core), *server.command, server.flag, str(port)]
    with log.open("wb") as said, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as empty:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=said, cwd=empty if server.is_peer else None)
        try:
            _await(process, port, first, server.name, log)
            started_s = time.perf_counter() - began
            yield Running(port, process.pid, started_s, machine.usage(process.pid).resident_mb)
        finally:
            _stop(process)


def _await(process: subprocess.Popen[bytes], port: int, first: Request, name: str, log: Path) -> None:
    """Ask a server until it answers."""
    until = time.perf_counter() + _START_S
    while True:
        try:
            check(port, first)
        except NotYet as reason:
            if process.poll() is not None or time.perf_counter() > until:
                said = log.read_text(errors="replace")[-500:]
                raise RuntimeError(f"{name} should answer; it said {said!r}. {reason}") from reason
            time.sleep(0.01)
        else:
            return


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a server, and what it leaves behind of the processes it started."""
    started = machine.tree(process.pid)
    process.terminate()
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in started[1:]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until = time.perf_counter() + _PATIENCE_S
    while any(map(machine.is_running, started)) and time.perf_counter() < until:
        time.sleep(0.01)


def check(port: int, asked: Request) -> None:
    """Ask a server every body once, and compare its answers with the engine's.

    Raises:
        NotYet: It does not answer with 200.
        ValueError: An answer is wrong.
    """
    if asked.is_grpc:
        for number, body in enumerate(asked.bodies):
            try:
                asked.check(number, {}, calls.ask(port, asked.path, body))
            except calls.RpcError as error:
                raise NotYet(f"Should answer; got {error!r}.") from error
        return
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    try:
        for number, body in enumerate(asked.bodies):
            connection.request("POST", asked.path, body, asked.headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200:
                raise NotYet(f"Status should be 200; got {response.status}, {answer[:200]!r}.")
            headers = {name.lower(): value for name, value in response.getheaders()}
            asked.check(number, headers, answer)
    except (OSError, http.client.HTTPException) as error:
        raise NotYet(f"Should answer; got {error!r}.") from error
    finally:
        connection.close()


def free_port() -> int:
    """Return a port of 127.0.0.1 where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
