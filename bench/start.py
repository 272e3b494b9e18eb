"""`python -m bench.start`: how long the service takes until it is ready, and what it imports meanwhile."""

import argparse
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench import document, machine, servers

_LINE = re.compile(r"^import time:\s+(\d+) \|\s+(\d+) \| ( *)(\S+)$", re.MULTILINE)
_SHOWN = 15
_PATIENCE_S = 60
_LOG = Path("runs/bench/start.log")


@dataclass(frozen=True)
class Import:
    """What a package takes to import.

    Attributes:
        package: Its name.
        own_ms: Its own modules, in milliseconds.
        whole_ms: With all that they are the first to bring.
    """

    package: str
    own_ms: float
    whole_ms: float


def imports(text: str) -> list[Import]:
    """Read what `python -X importtime` says, and return the packages, the dearest first.

    A module's line stands after those of what it imports, which are indented by two spaces more.
    """
    own: dict[str, float] = {}
    whole: dict[str, float] = {}
    above: list[str] = []  # packages that are being imported, the outermost first
    for spent, cumulative, indent, module in reversed(_LINE.findall(text)):
        package = module.partition(".")[0]
        del above[len(indent) // 2 :]
        own[package] = own.get(package, 0.0) + int(spent) / 1000
        if package not in above:
            whole[package] = whole.get(package, 0.0) + int(cumulative) / 1000
        above.append(package)
    found = [Import(package, own[package], whole[package]) for package in own]
    return sorted(found, key=lambda one: -one.whole_ms)


def medians(rounds: Sequence[Sequence[Import]]) -> list[Import]:
    """Return the median of each package's times over several starts, the dearest first."""
    times: dict[str, list[Import]] = {}
    for found in rounds:
        for one in found:
            times.setdefault(one.package, []).append(one)
    kept = [
        Import(package, median(one.own_ms for one in same), median(one.whole_ms for one in same))
        for package, same in times.items()
    ]
    return sorted(kept, key=lambda one: -one.whole_ms)


def table(found: Sequence[Import], told_s: dict[str, float]) -> list[str]:
    """Write the times until the service is ready, and the dearest imports."""
    return [
        "| From the start of the process | ms |",
        "|---|---|",
        *(f"| {name} | {1000 * seconds:.0f} |" for name, seconds in told_s.items()),
        "",
        "| Package | its own modules, ms | with what it brings, ms |",
        "|---|---|---|",
        *(f"| {one.package} | {one.own_ms:.0f} | {one.whole_ms:.0f} |" for one in found[:_SHOWN]),
    ]


def main() -> int:
    """Measure, and write the tables into the document."""
    parser = argparse.ArgumentParser(prog="python -m bench.start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is started")
    rounds = parser.parse_args().rounds
    _LOG.parent.mkdir(parents=True, exist_ok=True)
    core = machine.cores()[0]
    _ready_s(core)  # writes what Python keeps of compiled modules
    told_s: dict[str, list[float]] = {}
    found: list[list[Import]] = []
    for _ in range(rounds):
        told_s.setdefault("Python alone", []).append(_ended_s(core, "pass"))
        told_s.setdefault("the service is imported", []).append(
            _ended_s(core, "import service.server.process")
        )
        told_s.setdefault("ready: every model has reproduced its golden examples", []).append(_ready_s(core))
        _ready_s(core, "-X", "importtime")
        found.append(imports(_LOG.read_text()))
    lines = [
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {', '.join(machine.describe().values())}.",
        f"Medians of {rounds} on one core; imports with `python -X importtime`, which slows them down.",
        "",
        *table(medians(found), {name: median(times) for name, times in told_s.items()}),
    ]
    document.put("\n".join(lines) + "\n", document.START)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _ended_s(core: int, code: str) -> float:
    began = time.perf_counter()
    subprocess.run([*_python(core), "-c", code], check=True)
    return time.perf_counter() - began


def _ready_s(core: int, *options: str) -> float:
    """Start the service, and return the seconds until it is ready; what it says goes to the log."""
    port = servers.free_port()
    command = [
        *_python(core),
        *options,
        "-m",
        "service",
        "--models",
        str(servers.MODELS),
        "--port",
        str(port),
    ]
    with _LOG.open("wb") as said:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            while not _is_ready(port):
                if process.poll() is not None or time.perf_counter() > began + _PATIENCE_S:
                    raise RuntimeError(f"It should be ready; it said {_LOG.read_text()[-500:]!r}.")
                time.sleep(0.002)
            return time.perf_counter() - began
        finally:
            os.kill(process.pid, signal.SIGTERM)
            process.wait(_PATIENCE_S)


def _python(core: int) -> list[str]:
    return ["taskset", "-c", str(core), sys.executable]


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
