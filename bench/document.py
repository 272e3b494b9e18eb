"""The figures as docs/reference/performance.md shows them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import results
from bench.results import Run

PATH = Path("docs/reference/performance.md")
MEASURED = ("<!-- measured: begin -->", "<!-- measured: end -->")
PEERS = ("<!-- peers: begin -->", "<!-- peers: end -->")
PHASES = ("<!-- phases: begin -->", "<!-- phases: end -->")
START = ("<!-- start: begin -->", "<!-- start: end -->")

_RUNS_HEAD = (
    "| Server | Model | Case | Images | Connections "
    "| Requests/s | of bare | p50, µs | p99, µs | Processor, µs |"
)


def put(tables: str, marks: tuple[str, str]) -> None:
    """Write tables into the document."""
    PATH.write_text(replaced(PATH.read_text(), tables, marks))


def replaced(document: str, tables: str, marks: tuple[str, str]) -> str:
    """Return a document with other tables between two marks.

    Raises:
        ValueError: It has no such marks.
    """
    before, begin, rest = document.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not (begin and end):
        raise ValueError(f"Document should hold {marks[0]} and {marks[1]}; got one without.")
    return f"{before}{begin}\n\n{tables}\n{end}{after}"


def write(record: Mapping[str, Any]) -> str:
    """Write the tables.

    Args:
        record: As `python -m bench` saves it: `machine`, `rounds`, `seconds`, `minutes`, `runs`, `engine_us`
            by model and batch, `started_s`, `resident_mb` and `peak_mb` by server; with peers `versions` by
            their titles and packages, and `missing`, the reasons by what could not be measured.
    """
    runs = [Run(**run) for run in record["runs"]]
    engine_us = {
        model: {int(batch): us for batch, us in batches.items()}
        for model, batches in record["engine_us"].items()
    }
    lines = [
        f"Measured on {record['date']}: {', '.join(record['machine'].values())}.",
        f"{record['rounds']} interleaved rounds, {record['seconds']} s a run, "
        f"{record['minutes']:.0f} minutes in all; medians.",
        "",
        *(
            _targets(results.targets(runs, engine_us))
            if "versions" not in record
            else _beside_peers(record, runs)
        ),
        "",
        *_servers(record),
        "",
        *_runs(runs),
        "",
        *_engine(engine_us),
    ]
    return "\n".join(lines) + "\n"


def _beside_peers(record: Mapping[str, Any], runs: Sequence[Run]) -> list[str]:
    versions = [
        f"- {title}: {', '.join(f'{package} {version}' for package, version in packages.items())}"
        for title, packages in record["versions"].items()
    ]
    missing = [f"- {name}: {' '.join(reason.split())}" for name, reason in record["missing"].items()]
    rows = [
        f"| {one.case} | {one.images:,} | {one.connections} | {one.rate:,.0f} "
        f"| {one.peer} | {one.peer_case} | {one.peer_rate:,.0f} | {one.times:.2f} |"
        for one in results.comparisons(runs)
    ]
    return [
        *versions,
        "",
        *(["What could not be measured:", "", *missing] if missing else ["Nothing failed."]),
        "",
        *_targets(results.beside_peers(runs)),
        "",
        "| Case | Images | Connections | Inkling, requests/s "
        "| Quickest peer | Its case | Its requests/s | Inkling over it |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]


def _targets(targets: Sequence[results.Target]) -> list[str]:
    rows = [
        f"| {target.name} | {target.requested_output} | {target.got} | {'yes' if target.is_met else 'no'} |"
        for target in targets
    ]
    return ["| What should be reached | Wanted | Got | Reached |", "|---|---|---|---|", *rows]


def _servers(record: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {server} | {started:.2f} | {record['resident_mb'][server]:.0f} "
        f"| {record['peak_mb'][server]:.0f} |"
        for server, started in record["started_s"].items()
    ]
    head = (
        "| Server | Start to the first right answer, s | Resident memory then, MB | At most, under load, MB |"
    )
    return [head, "|---|---|---|---|", *rows]


def _runs(runs: Sequence[Run]) -> list[str]:
    rows = []
    for run in results.medians(runs).values():
        of_bare = None
        if (run.server, run.model) == ("inkling", "mlp-128"):
            of_bare = results.ratio(runs, run.case, run.images, run.connections)
        shown = "" if of_bare is None else f"{of_bare:.2f}"
        rows.append(
            f"| {run.server} | {run.model} | {run.case} | {run.images:,} | {run.connections} "
            f"| {run.rate:,.0f} | {shown} | {run.p50_us:,.0f} | {run.p99_us:,.0f} | {run.cpu_us:,.0f} |"
        )
    return [
        _RUNS_HEAD,
        "|---|---|---|---|---|---|---|---|---|---|",
        *rows,
    ]


def rates(document: str, marks: tuple[str, str]) -> dict[results.Key, float]:
    """Read the requests per second from the table of runs that `write` put between two marks."""
    _, _, table = document.partition(marks[0])[2].partition(marks[1])[0].partition(_RUNS_HEAD)
    found: dict[results.Key, float] = {}
    for line in table.splitlines()[2:]:
        if not line.startswith("|"):
            break
        server, model, case, images, connections, rate = (cell.strip() for cell in line.split("|")[1:7])
        key = server, case, int(images.replace(",", "")), model, int(connections)
        found[key] = float(rate.replace(",", ""))
    return found


def _engine(engine_us: dict[str, dict[int, float]]) -> list[str]:
    batches = sorted({batch for found in engine_us.values() for batch in found})
    head = (
        "| Engine alone, one thread, µs a batch of | " + " | ".join(f"{batch:,}" for batch in batches) + " |"
    )
    rows = [
        f"| {model} | " + " | ".join(f"{found[batch]:,.0f}" for batch in batches) + " |"
        for model, found in engine_us.items()
    ]
    return [head, "|---|" + "---|" * len(batches), *rows]
