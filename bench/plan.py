"""What is asked of each server: cases, images in a request, models, connections; and how long that takes."""

from collections.abc import Mapping, Sequence

from bench.cases import Engine, Request
from bench.servers import Server

MODELS = ("softmax", "mlp-128", "mlp-512x4", "flowers17", "ink")
CONNECTIONS = (1, 32)

_BATCHES = dict.fromkeys(("json", "raw", "npy", "v2_binary", "grpc"), (1, 64, 1000))
"""Of `mlp-128`. Other cases are asked with one image: what many cost more, these show."""

_OTHER_BATCHES = (1, 64)
"""Of the other models, asked with raw bytes alone: how an image is written does not depend on them."""

_PEER_BATCHES = (1, 1000)

_BESIDE_S = 0.7
"""Of a run, beside the load: all answers are checked, and the server comes to rest; on average."""

_START_S = 3.0

Planned = tuple[tuple[str, int, str, int], Request]
"""Case, images, model and connections; and what is sent."""


def make(
    server: Server, cases: Sequence[str], engines: Mapping[str, Engine], *, is_beside_peers: bool
) -> list[Planned]:
    """Return what a server is asked, in order; nothing if it takes none of it.

    Args:
        server: Whom.
        cases: Which may be asked.
        engines: The networks, by model.
        is_beside_peers: Whether peers are measured too, which take less.
    """
    requested_output = [
        (case, count, "mlp-128")
        for case in cases
        for count in (_PEER_BATCHES if is_beside_peers else _BATCHES.get(case, (1,)))
    ]
    if server.name == "inkling" and "raw" in cases:
        requested_output += [
            ("raw", count, model) for model in engines if model != "mlp-128" for count in _OTHER_BATCHES
        ]
    plan: list[Planned] = []
    for case, count, model in requested_output:
        asked = server.request(case, count, model, engines[model])
        if asked is not None:
            plan += [((case, count, model, connections), asked) for connections in CONNECTIONS]
    return plan


def describe(plans: Mapping[Server, Sequence[Planned]], rounds: int, seconds: int) -> str:
    """Return a line for every server, and how many minutes all takes."""
    lines = [f"{server.name}: {_told(plan)}" for server, plan in plans.items()]
    runs = sum(len(plan) for plan in plans.values())
    minutes = rounds * (runs * (seconds + _BESIDE_S) + len(plans) * _START_S) / 60
    lines.append(f"{runs} runs a round, {rounds} rounds of {seconds} s a run: about {minutes:.0f} minutes.")
    return "\n".join(lines)


def _told(plan: Sequence[Planned]) -> str:
    batches: dict[str, list[int]] = {}
    for (case, count, model, _), _ in plan:
        of = batches.setdefault(case if model == "mlp-128" else f"{model} {case}", [])
        of += [count] if count not in of else []
    return ", ".join(f"{name} {'/'.join(map(str, counts))}" for name, counts in batches.items()) or "nothing"
