"""Start each server in turn, check its answers, measure it, and write docs/performance.md."""

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench import cases, document, load, machine, peers, servers
from bench.cases import Engine, Request
from bench.results import Run
from bench.servers import Server

_DOCUMENT = Path("docs/performance.md")
_RUNS = Path("runs/bench")
_MODELS = ("softmax", "mlp-128", "mlp-512x4", "ink")
"""Those of 28 x 28; flowers17 takes photographs, which the cases do not hold."""

_CONNECTIONS = (1, 32)
_BATCHES = (1, 64, 1000)
_PAUSE_S = 0.1
_PATIENCE = 300
"""Pauses in which a server may come to rest."""

_PEER_BATCHES = (1, 1000)
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
    models = _MODELS if arguments.peers is None else ("mlp-128",)
    engines = {model: Engine(str(servers.newest(model))) for model in models}
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
        "missing": {},
    }
    wanted = [servers.own(name) for name in arguments.servers]
    if arguments.peers is not None:
        wanted += _install(arguments.peers, Path(arguments.home).expanduser(), record)
    planned = {server: _plan(server, arguments, engines) for server in wanted}
    for server, plan in planned.items():
        if not plan:
            _miss(record, server.name, ValueError("It takes none of these cases."), is_peer=server.is_peer)
    started: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {}
    for number in range(1, arguments.rounds + 1):
        for server, plan in planned.items():
            if server.name in record["missing"]:
                continue
            try:
                with servers.running(server, core, plan[0][1], _RUNS / f"{server.name}.log") as running:
                    started.setdefault(server.name, []).append(running.started_s)
                    for run in _measured(server, plan, running, arguments.seconds, load_core, record):
                        record["runs"].append(dataclasses.asdict(run))
                        _say(f"{number} {' '.join(map(str, run.key))}: {run.rate:,.0f}/s")
                    peaks.setdefault(server.name, []).append(machine.usage(running.pid).peak_mb)
            except (RuntimeError, ValueError) as reason:
                _miss(record, server.name, reason, is_peer=server.is_peer)
            record["started_s"] = {name: median(values) for name, values in started.items()}
            record["peak_mb"] = {name: max(values) for name, values in peaks.items()}
            saved.write_text(json.dumps(record))
    _write(record)
    _say(f"The figures are in {saved}, the tables in {_DOCUMENT}.")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=5, help="how often every server is started and measured"
    )
    parser.add_argument("--seconds", type=int, default=3, help="of one run of the load, a whole number")
    parser.add_argument(
        "--servers",
        nargs="+",
        choices=servers.NAMES,
        help="of our own; all, or bare and inkling beside peers",
    )
    parser.add_argument("--cases", nargs="+", choices=cases.CASES, help="all that the servers take")
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=peers.find(),
        metavar="NAME",
        help="measure other model servers: these, or all",
    )
    parser.add_argument(
        "--home",
        default=os.environ.get("INKLING_BENCH_HOME", "~/.cache/inkling-bench"),
        help="where the peers' environments are made",
    )
    parser.add_argument("--only-write", metavar="FILE", help="write the document from figures of before")
    arguments = parser.parse_args()
    beside = arguments.peers is not None
    arguments.servers = arguments.servers or (("bare", "inkling") if beside else servers.NAMES)
    arguments.cases = arguments.cases or (peers.CASES if beside else cases.CASES)
    return arguments


def _install(names: Sequence[str], home: Path, record: dict[str, Any]) -> list[Server]:
    """Return the named peers, or all, in each setting; put down their versions, and who is missing."""
    found: list[Server] = []
    record["versions"] = {}
    for peer in peers.find().values():
        if names and peer.name not in names:
            continue
        try:
            record["versions"][peer.title] = peers.install(peer, home)
            _say(f"{peer.title}: {record['versions'][peer.title]}")
            found += peer.servers(home)
        except RuntimeError as reason:
            _miss(record, peer.name, reason, is_peer=True)
    return found


Planned = tuple[tuple[str, int, str, int], Request]


def _plan(server: Server, arguments: argparse.Namespace, engines: dict[str, Engine]) -> list[Planned]:
    """Return what a server is asked, in order: by case, images, model and connections."""
    if arguments.peers is None:
        wanted = [
            (case, count, "mlp-128")
            for case in arguments.cases
            for count in (_BATCHES if case in _BATCHED else (1,))
        ]
    else:
        wanted = [(case, count, "mlp-128") for case in arguments.cases for count in _PEER_BATCHES]
    if server.name == "inkling":
        wanted += [("raw", count, model) for model in engines if model != "mlp-128" for count in (1, 64)]
    plan: list[Planned] = []
    for case, count, model in wanted:
        asked = server.request(case, count, model, engines[model])
        if asked is not None:
            plan += [((case, count, model, connections), asked) for connections in _CONNECTIONS]
    return plan


def _measured(
    server: Server,
    plan: list[Planned],
    running: servers.Running,
    seconds: int,
    core: int,
    record: dict[str, Any],
) -> Iterator[Run]:
    """Measure what is planned; what a peer fails at is put down as missing."""
    for (case, count, model, connections), asked in plan:
        name = f"{server.name}: {case}, {count:,} images, {connections} connections"
        if name in record["missing"]:
            continue
        try:
            run = _measure(running, asked, connections, seconds, core)
        except (RuntimeError, ValueError) as reason:
            _miss(record, name, reason, is_peer=server.is_peer)
            continue
        yield Run(server.name, case, count, model, connections, *run)


def _miss(record: dict[str, Any], name: str, reason: Exception, *, is_peer: bool) -> None:
    """Put down what could not be measured; end the benchmark if it is not a peer's."""
    if not is_peer:
        raise reason
    record["missing"][name] = str(reason)
    _say(f"{name} could not be measured: {reason}")


def _measure(
    running: servers.Running, asked: Request, connections: int, seconds: int, core: int
) -> tuple[float, float, float, float]:
    """Return the rate, p50, p99 and processor time of a run whose answers were right before it.

    Raises:
        RuntimeError: It does not answer.
        ValueError: An answer is wrong, or a request failed.
    """
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
    if counted.errors:
        raise ValueError(f"{asked.path}: no request should fail; got {counted}.")
    if not counted.requests:
        raise ValueError(f"{asked.path}: it answered nothing in {counted.seconds:.1f} s.")
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
    raise RuntimeError("A server should come to rest between two runs; it did not.")


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
    marks, tables = document.PEERS if "versions" in record else document.MEASURED, document.write(record)
    _DOCUMENT.write_text(document.replaced(_DOCUMENT.read_text(), tables, marks))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
