"""The figures as docs/performance.md shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench import results
from bench.results import Run

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def replaced(document: str, tables: str) -> str:
    """Return a document with other tables between its two marks.

    Raises:
        ValueError: It has no such marks.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"Document should hold {BEGIN} and {END}; got one without.")
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def write(record: Mapping[str, Any]) -> str:
    """Write the tables.

    Args:
        record: As `python -m bench` saves it: `machine`, `rounds`, `seconds`, `runs`, `engine_us` by model
            and batch, `started_s` and `peak_mb` by server.
    """
    runs = [Run(**run) for run in record["runs"]]
    engine_us = {
        model: {int(batch): us for batch, us in batches.items()}
        for model, batches in record["engine_us"].items()
    }
    lines = [
        f"Measured on {record['date']}: {', '.join(record['machine'].values())}.",
        f"{record['rounds']} interleaved rounds, {record['seconds']} s a run; medians.",
        "",
        *_targets(runs, engine_us),
        "",
        *_servers(record),
        "",
        *_runs(runs),
        "",
        *_engine(engine_us),
    ]
    return "\n".join(lines) + "\n"


def _targets(runs: Sequence[Run], engine_us: dict[str, dict[int, float]]) -> list[str]:
    rows = [
        f"| {target.name} | {target.wanted} | {target.got} | {'yes' if target.is_met else 'no'} |"
        for target in results.targets(runs, engine_us)
    ]
    return ["| What should be reached | Wanted | Got | Reached |", "|---|---|---|---|", *rows]


def _servers(record: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {server} | {started:.2f} | {record['peak_mb'][server]:.0f} |"
        for server, started in record["started_s"].items()
    ]
    head = "| Server | Start to the first right answer, s | Largest resident memory, MB |"
    return [head, "|---|---|---|", *rows]


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
        "| Server | Model | Case | Images | Connections "
        "| Requests/s | of bare | p50, µs | p99, µs | Processor, µs |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *rows,
    ]


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
