"""Start each server in turn, check its answers, measure it, and write docs/performance.md."""

import argparse
import dataclasses
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench import cases, document, load, machine, servers
from bench.cases import Engine, Request
from bench.results import Run

_DOCUMENT = Path("docs/performance.md")
_RUNS = Path("runs/bench")
_MODELS = ("softmax", "mlp-128", "mlp-512x4", "ink")
"""Those of 28 x 28; flowers17 takes photographs, which the cases do not hold."""

_CONNECTIONS = (1, 32)
_BATCHES = (1, 64, 1000)
_PAUSE_S = 0.1
_PATIENCE = 300
"""Pauses in which a server may come to rest."""

_BATCHED = ("json", "raw", "v2_binary")


def main() -> int:
    """Measure, or write what was measured; return the exit status."""
    arguments = _arguments()
    if arguments.only_write:
        _write(json.loads(Path(arguments.only_write).read_text()))
        return 0
    if not load.is_installed():
        sys.stderr.write("The benchmark needs wrk; on Debian and Ubuntu it is the package wrk.\n")
        return 1
    _RUNS.mkdir(parents=True, exist_ok=True)
    began = datetime.now(UTC)
    saved = _RUNS / f"{began:%Y-%m-%dT%H%M%S}.json"
    core, load_core = machine.cores()
    engines = {model: Engine(str(servers.newest(model))) for model in _MODELS}
    planned = {server: _plan(server, arguments.cases, engines) for server in arguments.servers}
    record: dict[str, Any] = {
        "date": f"{began:%Y-%m-%d}",
        "machine": {
            "processor": f"{os.cpu_count()} cores of {machine.processor()}",
            "python": f"Python {servers.environment()['python']}",
            "system": servers.environment()["system"],
        },
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "engine_us": _engine_us(engines, core),
        "runs": [],
    }
    started: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {}
    for number in range(1, arguments.rounds + 1):
        for server, plan in planned.items():
            with servers.running(server, core, plan[0][1], _RUNS / f"{server}.log") as running:
                started.setdefault(server, []).append(running.started_s)
                for (case, count, model, connections), asked in plan:
                    run = _measure(running, asked, connections, arguments.seconds, load_core)
                    named = Run(server, case, count, model, connections, *run)
                    record["runs"].append(dataclasses.asdict(named))
                    sys.stdout.write(f"{number} {' '.join(map(str, named.key))}: {named.rate:,.0f}/s\n")
                    sys.stdout.flush()
                peaks.setdefault(server, []).append(machine.usage(running.pid).peak_mb)
            record["started_s"] = {name: median(values) for name, values in started.items()}
            record["peak_mb"] = {name: max(values) for name, values in peaks.items()}
            saved.write_text(json.dumps(record))
    _write(record)
    sys.stdout.write(f"The figures are in {saved}, the tables in {_DOCUMENT}.\n")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=5, help="how often every server is started and measured"
    )
    parser.add_argument("--seconds", type=int, default=3, help="of one run of the load, a whole number")
    parser.add_argument("--servers", nargs="+", choices=servers.NAMES, default=servers.NAMES)
    parser.add_argument("--cases", nargs="+", choices=cases.CASES, default=cases.CASES)
    parser.add_argument("--only-write", metavar="FILE", help="write the document from figures of before")
    return parser.parse_args()


Planned = tuple[tuple[str, int, str, int], Request]


def _plan(server: str, chosen: tuple[str, ...], engines: dict[str, Engine]) -> list[Planned]:
    """Return what a server is asked, in order: by case, images, model and connections."""
    wanted = [
        (case, count, "mlp-128") for case in chosen for count in (_BATCHES if case in _BATCHED else (1,))
    ]
    if server == "inkling":
        wanted += [("raw", count, model) for model in _MODELS if model != "mlp-128" for count in (1, 64)]
    plan: list[Planned] = []
    for case, count, model in wanted:
        asked = servers.request(server, case, count, model, engines[model])
        if asked is not None:
            plan += [((case, count, model, connections), asked) for connections in _CONNECTIONS]
    if not plan:
        raise SystemExit(f"{server} takes none of these cases.")
    return plan


def _measure(
    running: servers.Running, asked: Request, connections: int, seconds: int, core: int
) -> tuple[float, float, float, float]:
    """Return the rate, p50, p99 and processor time of a run whose answers were right before it."""
    _settle(running.pid)
    servers.check(running.port, asked)
    before = machine.usage(running.pid).seconds
    counted = load.run(
        f"http://127.0.0.1:{running.port}",
        asked.path,
        asked.headers,
        asked.bodies,
        connections=connections,
        seconds=seconds,
        core=core,
    )
    if counted.errors or not counted.requests:
        raise SystemExit(f"{asked.path}: no request should fail; got {counted}.")
    spent = machine.usage(running.pid).seconds - before
    rate = counted.requests / counted.seconds
    return rate, counted.p50_us, counted.p99_us, 1e6 * spent / counted.requests


def _settle(pid: int) -> None:
    """Wait until a server has done what the last run left behind when it ended."""
    spent = machine.usage(pid).seconds
    for _ in range(_PATIENCE):
        time.sleep(_PAUSE_S)
        now = machine.usage(pid).seconds
        if now - spent <= _PAUSE_S / 10:
            return
        spent = now
    raise SystemExit("A server should come to rest between two runs; it did not.")


def _engine_us(engines: dict[str, Engine], core: int) -> dict[str, dict[int, float]]:
    """Return the microseconds of the engines alone on one core, by model and batch: the median of 30."""
    free = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    found: dict[str, dict[int, float]] = {}
    for model, engine in engines.items():
        for batch in (1, 32, 64, 1000):
            shown = cases.images(batch)[0]
            times = []
            for _ in range(30):
                began = time.perf_counter()
                engine.run(shown)
                times.append(time.perf_counter() - began)
            found.setdefault(model, {})[batch] = 1e6 * float(np.median(times))
    os.sched_setaffinity(0, free)
    return found


def _write(record: dict[str, Any]) -> None:
    _DOCUMENT.write_text(document.replaced(_DOCUMENT.read_text(), document.write(record)))


if __name__ == "__main__":
    sys.exit(main())
