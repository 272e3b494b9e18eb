"""`python -m bench.phases`: where a request's processor time goes, from what the service says itself."""

import argparse
import http.client
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench import document, machine, measurement, servers, split
from bench.cases import Engine
from bench.servers import Server
from bench.split import Counted, Split

_MODEL = "mlp-128"
_PLACES = {
    "json": (1, 32),
    "raw": (1, 32),
    "v2_json": (1, 32),
    "v2_binary": (1, 32),
    "strokes": (1, 32),
    "base64": (1,),
    "png280": (1,),
}
"""Connections by case. Pictures are read in worker threads: with many connections, the clock of one of them
would count what the others do meanwhile."""

_METERED = """
import sys, time
time.perf_counter = time.process_time
sys.argv[0] = "service"
from service.__main__ import main
main()
"""
"""Starts the service with another clock for its phases: the processor time of its process. It costs a
microsecond, and counts nothing that other processes do meanwhile."""

_RUNS = Path("runs/bench")

Place = tuple[str, int]
"""Case and connections."""


def main() -> int:
    """Measure, and write the table into the document."""
    parser = argparse.ArgumentParser(prog="python -m bench.phases", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=3, help="how often every server is started and measured"
    )
    parser.add_argument("--seconds", type=int, default=2, help="of one run of the load, a whole number")
    parser.add_argument("--cases", nargs="+", choices=_PLACES, default=list(_PLACES))
    arguments = parser.parse_args()
    _RUNS.mkdir(parents=True, exist_ok=True)
    engine = Engine(str(servers.newest(_MODEL)))
    rounds: dict[Place, list[Split]] = {}
    for _ in range(arguments.rounds):
        found = {
            server.name: _measure(server, arguments.cases, engine, arguments.seconds) for server in _servers()
        }
        for place, (cpu_us, counted) in found["inkling"].items():
            bare_us, quiet_us = found["bare"][place][0], found["inkling-quiet"][place][0]
            metered = found["inkling-metered"][place][1]
            one = split.split(*place, counted, metered, cpu_us=cpu_us, bare_us=bare_us, quiet_us=quiet_us)
            rounds.setdefault(place, []).append(one)
    lines = [
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {', '.join(machine.describe().values())}.",
        f"{arguments.rounds} rounds, {arguments.seconds} s a run; medians; {_MODEL}, one image; "
        "microseconds of a request.",
        "",
        *split.table([split.medians(splits) for splits in rounds.values()]),
    ]
    document.put("\n".join(lines) + "\n", document.PHASES)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _servers() -> list[Server]:
    inkling = servers.own("inkling")
    python, _, _, *arguments = inkling.command
    return [
        servers.own("bare"),
        inkling,
        replace(inkling, name="inkling-quiet", command=(*inkling.command, "--no-access-log")),
        replace(inkling, name="inkling-metered", command=(python, "-c", _METERED, *arguments)),
    ]


def _measure(
    server: Server, cases: Sequence[str], engine: Engine, seconds: int
) -> dict[Place, tuple[float, Counted]]:
    """Return the processor time of a request, in microseconds, and what the server counted meanwhile."""
    core, load_core = machine.cores()
    asked = {case: server.request(case, 1, _MODEL, engine) for case in cases}
    found: dict[Place, tuple[float, Counted]] = {}
    count = _count if server.name != "bare" else _nothing
    first = asked[cases[0]]
    assert first is not None
    with servers.running(server, core, first, _RUNS / f"{server.name}.log") as running:
        for case, request in asked.items():
            assert request is not None
            for connections in _PLACES[case]:
                before = count(running.port)
                measured = measurement.measure(running, request, connections, seconds, load_core)
                found[case, connections] = measured.cpu_us, count(running.port).since(before)
    return found


def _nothing(port: int) -> Counted:
    del port
    return Counted(0, 0, 0.0, {})


def _count(port: int) -> Counted:
    return Counted.of(_get(port, "/metrics"), _get(port, f"/v2/models/{_MODEL}/stats"))


def _get(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
