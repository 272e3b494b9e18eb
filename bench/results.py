"""What was measured, as medians, ratios, and the targets that they reach or miss."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

OURS = ("bare", "naive", "inkling", "inkling-grpc")
"""Servers that are no peers."""

CLOSEST = {
    "json": ("json", "v2_json"),
    "raw": ("raw", "v2_binary"),
    "v2_json": ("v2_json",),
    "v2_binary": ("v2_binary",),
}
"""How peers are asked to be held against a case of Inkling's: some know the open protocol alone."""

Key = tuple[str, str, int, str, int]
"""Server, case, images in a request, model, connections."""


@dataclass(frozen=True)
class Run:
    """One run of the load.

    Attributes:
        server: Who answered.
        case: In which form it was asked.
        images: In a request.
        model: Which network answered.
        connections: Open at once.
        rate: Requests answered in a second.
        p50_us: Median of the times to an answer, in microseconds.
        p99_us: 99th percentile of them.
        cpu_us: Processor time of the server for a request, in microseconds.
    """

    server: str
    case: str
    images: int
    model: str
    connections: int
    rate: float
    p50_us: float
    p99_us: float
    cpu_us: float

    @property
    def key(self) -> Key:
        """What was measured, but for the round."""
        return self.server, self.case, self.images, self.model, self.connections


@dataclass(frozen=True)
class Comparison:
    """Inkling beside the quickest peer.

    Attributes:
        case: As Inkling was asked.
        images: In a request.
        connections: Open at once.
        rate: Inkling's.
        peer: The quickest.
        peer_case: As it was asked: the same, or what comes closest of what it takes.
        peer_rate: The peer's.
        times: Median over rounds of Inkling's rate over the peer's.
    """

    case: str
    images: int
    connections: int
    rate: float
    peer: str
    peer_case: str
    peer_rate: float
    times: float


@dataclass(frozen=True)
class Target:
    """What should be reached, and what was.

    Attributes:
        name: In words.
        requested_output: In words.
        got: The figure.
        is_met: Whether it is reached.
    """

    name: str
    requested_output: str
    got: str
    is_met: bool


def medians(runs: Sequence[Run]) -> dict[Key, Run]:
    """Return the median of each figure over the rounds, by what was measured."""
    rounds: dict[Key, list[Run]] = {}
    for run in runs:
        rounds.setdefault(run.key, []).append(run)
    return {
        key: Run(
            *key,
            rate=median(run.rate for run in same),
            p50_us=median(run.p50_us for run in same),
            p99_us=median(run.p99_us for run in same),
            cpu_us=median(run.cpu_us for run in same),
        )
        for key, same in rounds.items()
    }


def ratio(
    runs: Sequence[Run],
    case: str,
    images: int,
    connections: int,
    rival: str = "bare",
    rival_case: str | None = None,
) -> float | None:
    """Return the median over rounds of Inkling's rate over a rival's in the same round; None if one lacks it.

    Rounds are compared one by one because what else the machine does changes from one to the next.
    The rival's case is the same, unless another is named.
    """
    ours, theirs = (
        [run.rate for run in runs if run.key == (server, asked, images, "mlp-128", connections)]
        for server, asked in (("inkling", case), (rival, rival_case or case))
    )
    pairs = [a / b for a, b in zip(ours, theirs, strict=False)]
    return median(pairs) if pairs else None


def targets(runs: Sequence[Run], engine_us: dict[str, dict[int, float]]) -> list[Target]:
    """Hold the figures against what Inkling should reach.

    Args:
        runs: All of them.
        engine_us: Microseconds of the engine alone, by model and batch.
    """
    found = medians(runs)
    kept: list[Target] = []
    for case, least in (("json", 0.35), ("raw", 0.42), ("v2_binary", 0.30)):
        got = ratio(runs, case, 1, 32)
        if got is not None:
            name = f"one image, {case}, 32 connections, of the bare transport's rate"
            kept.append(Target(name, f"at least {least:g}", f"{got:.2f}", got >= least))
    for case in ("json", "raw"):
        ours = found.get(("inkling", case, 1, "mlp-128", 1))
        bare = found.get(("bare", case, 1, "mlp-128", 1))
        if ours and bare:
            times = ours.p50_us / bare.p50_us
            name = f"one image, {case}, 1 connection, p50 over the bare transport's"
            kept.append(Target(name, "at most 2", f"{times:.2f}", times <= 2))
    kept += _bulk(found, engine_us) + _prepared(found) + _large(found, engine_us)
    return kept


def comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """Hold Inkling against the quickest peer, wherever both were measured with `mlp-128`."""
    found = medians(runs)
    kept: list[Comparison] = []
    for ours in found.values():
        if ours.server != "inkling" or ours.model != "mlp-128":
            continue
        peers = [
            run
            for run in found.values()
            if run.server not in OURS
            and run.case in CLOSEST.get(ours.case, ())
            and (run.images, run.connections) == (ours.images, ours.connections)
        ]
        if peers:
            best = max(peers, key=lambda run: run.rate)
            of = (ours.case, ours.images, ours.connections)
            times = ratio(runs, *of, best.server, best.case)
            assert times is not None
            kept.append(Comparison(*of, ours.rate, best.server, best.case, best.rate, times))
    return kept


def beside_peers(runs: Sequence[Run]) -> list[Target]:
    """Hold the figures against what Inkling should reach beside its peers."""
    least = {"json": 4, "raw": 3.5, "v2_binary": 4}
    return [
        Target(
            f"one image, {one.case}, 32 connections, of the quickest peer's rate",
            f"at least {least[one.case]:g}",
            f"{one.times:.2f}",
            one.times >= least[one.case],
        )
        for one in comparisons(runs)
        if one.case in least and (one.images, one.connections) == (1, 32)
    ]


def _bulk(found: dict[Key, Run], engine_us: dict[str, dict[int, float]]) -> list[Target]:
    kept = []
    for case, connections in (("raw", 1), ("raw", 32), ("npy", 1), ("npy", 32)):
        ours = found.get(("inkling", case, 1000, "mlp-128", connections))
        bare = found.get(("bare", case, 1000, "mlp-128", connections))
        if ours and bare:
            apart_us = 1e6 / bare.rate + engine_us["mlp-128"][1000]
            share = apart_us / (1e6 / ours.rate)
            asked = f"1,000 images, {case}, {_told(connections)}"
            name = f"{asked}, of bare transport and engine one after the other"
            got = f"{share:.2f} ({apart_us:,.0f} µs of {1e6 / ours.rate:,.0f})"
            kept.append(Target(name, "at least 0.9", got, share >= 0.9))
    return kept


def _told(connections: int) -> str:
    return "1 connection" if connections == 1 else f"{connections} connections"


def _prepared(found: dict[Key, Run]) -> list[Target]:
    raw = found.get(("inkling", "raw", 1, "mlp-128", 32))
    kept = []
    for case in ("png280", "strokes"):
        ours = found.get(("inkling", case, 1, "mlp-128", 32))
        if ours and raw:
            more = ours.cpu_us - raw.cpu_us
            name = f"{case}, 32 connections, processor time above raw's"
            kept.append(Target(name, "at most 250 µs", f"{more:.0f} µs", more <= 250))
    return kept


def _large(found: dict[Key, Run], engine_us: dict[str, dict[int, float]]) -> list[Target]:
    small = found.get(("inkling", "raw", 1, "mlp-128", 1))
    large = found.get(("inkling", "raw", 1, "mlp-512x4", 1))
    if small and large:
        overhead = small.cpu_us - engine_us["mlp-128"][1]
        times = large.cpu_us / (engine_us["mlp-512x4"][1] + overhead)
        name = "mlp-512x4, raw, 1 connection, over its engine and mlp-128's overhead"
        return [Target(name, "at most 1.25", f"{times:.2f}", times <= 1.25)]
    return []
