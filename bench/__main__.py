"""Start each server in turn, check its answers, measure it, and write docs/reference/performance.md."""

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

from bench import cases, document, load, machine, measurement, peers, picture, plan, servers
from bench.cases import Engine
from bench.plan import Planned
from bench.results import Run
from bench.servers import Server

_RUNS = Path("runs/bench")


def main() -> int:
    """Measure, or write what was measured; return the exit status."""
    arguments = _arguments()
    if arguments.only_write:
        for file in arguments.only_write:
            _write(json.loads(Path(file).read_text()))
        return 0
    if not load.is_installed():
        sys.stderr.write("The benchmark needs wrk; on Debian and Ubuntu it is the package wrk.\n")
        return 1
    _RUNS.mkdir(parents=True, exist_ok=True)
    began = datetime.now(UTC)
    saved = _RUNS / f"{began:%Y-%m-%dT%H%M%S}.json"
    core, load_core = machine.cores()
    beside_peers = arguments.peers is not None
    models = ("mlp-128",) if beside_peers else plan.MODELS
    engines = {model: Engine(str(servers.newest(model))) for model in models}
    record: dict[str, Any] = {
        "date": f"{began:%Y-%m-%d}",
        "machine": machine.describe(),
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "engine_us": {},
        "runs": [],
        "missing": {},
    }
    requested_output = [servers.own(name) for name in arguments.servers]
    if beside_peers:
        requested_output += _install(arguments.peers, Path(arguments.home).expanduser(), record)
    plans = {
        server: plan.make(server, arguments.cases, engines, is_beside_peers=beside_peers)
        for server in requested_output
    }
    for server, planned in plans.items():
        if server.is_peer and not planned:
            _miss(record, server.name, ValueError("It takes none of these cases."), is_peer=True)
    _say(plan.describe(plans, arguments.rounds, arguments.seconds))
    if arguments.plan:
        return 0
    record["engine_us"] = _engine_us(engines, core)
    started: dict[str, list[float]] = {}
    resident: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {}
    for number in range(1, arguments.rounds + 1):
        for server, planned in plans.items():
            if not planned or server.name in record["missing"]:
                continue
            try:
                with servers.running(server, core, planned[0][1], _RUNS / f"{server.name}.log") as running:
                    started.setdefault(server.name, []).append(running.started_s)
                    resident.setdefault(server.name, []).append(running.resident_mb)
                    for run in _measured(server, planned, running, arguments.seconds, load_core, record):
                        record["runs"].append(dataclasses.asdict(run))
                        _say(f"{number} {' '.join(map(str, run.key))}: {run.rate:,.0f}/s")
                    peaks.setdefault(server.name, []).append(machine.usage(running.pid).peak_mb)
            except (RuntimeError, ValueError) as reason:
                _miss(record, server.name, reason, is_peer=server.is_peer)
            record["started_s"] = {name: median(values) for name, values in started.items()}
            record["resident_mb"] = {name: median(values) for name, values in resident.items()}
            record["peak_mb"] = {name: max(values) for name, values in peaks.items()}
            record["minutes"] = (datetime.now(UTC) - began).total_seconds() / 60
            saved.write_text(json.dumps(record))
    _write(record)
    _say(f"The figures are in {saved}, the tables in {document.PATH}.")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, help="how often every server is started and measured; 5, or 3 beside peers"
    )
    parser.add_argument("--seconds", type=int, default=3, help="of one run of the load, a whole number")
    parser.add_argument(
        "--servers",
        nargs="+",
        choices=servers.NAMES,
        help="of our own; all, or those of HTTP beside peers",
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
    parser.add_argument("--plan", action="store_true", help="say what would be asked and how long it takes")
    parser.add_argument(
        "--only-write", metavar="FILE", nargs="+", help="write the document from figures of before"
    )
    arguments = parser.parse_args()
    beside = arguments.peers is not None
    arguments.rounds = arguments.rounds or (3 if beside else 5)
    arguments.servers = arguments.servers or (("bare", "naive", "inkling") if beside else servers.NAMES)
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


def _measured(
    server: Server,
    planned: Sequence[Planned],
    running: servers.Running,
    seconds: int,
    core: int,
    record: dict[str, Any],
) -> Iterator[Run]:
    """Measure what is planned; what a peer fails at is put down as missing."""
    for (case, count, model, connections), asked in planned:
        name = f"{server.name}: {case}, {count:,} images, {connections} connections"
        if name in record["missing"]:
            continue
        try:
            measured = measurement.measure(running, asked, connections, seconds, core)
        except (RuntimeError, ValueError) as reason:
            _miss(record, name, reason, is_peer=server.is_peer)
            continue
        yield Run(server.name, case, count, model, connections, **dataclasses.asdict(measured))


def _miss(record: dict[str, Any], name: str, reason: Exception, *, is_peer: bool) -> None:
    """Put down what could not be measured; end the benchmark if it is not a peer's."""
    if not is_peer:
        raise reason
    record["missing"][name] = str(reason)
    _say(f"{name} could not be measured: {reason}")


def _engine_us(engines: dict[str, Engine], core: int) -> dict[str, dict[int, float]]:
    """Return the microseconds of the engines alone on one core, by model and batch: the median of 30."""
    free = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    found: dict[str, dict[int, float]] = {}
    for model, engine in engines.items():
        for batch in (1, 32, 64, 1000):
            shown = cases.images(batch, engine.shape)[0]
            times = []
            for _ in range(30):
                began = time.perf_counter()
                engine.run(shown)
                times.append(time.perf_counter() - began)
            found.setdefault(model, {})[batch] = 1e6 * float(np.median(times))
    os.sched_setaffinity(0, free)
    return found


def _write(record: dict[str, Any]) -> None:
    """Put the tables in their place, and draw what the document then says."""
    document.put(document.write(record), document.PEERS if "versions" in record else document.MEASURED)
    picture.write(document.PATH.read_text())


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
