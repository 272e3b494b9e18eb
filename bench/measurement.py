"""One run: a server that rests and answers rightly, a load, and what the server spent on it."""

import time
from dataclasses import dataclass

from bench import load, machine, servers
from bench.cases import Request
from bench.servers import Running

_PAUSE_S = 0.1
_PATIENCE = 300
"""Pauses in which a server may come to rest."""


@dataclass(frozen=True)
class Measured:
    """What one run came to, named as in `results.Run`."""

    rate: float
    p50_us: float
    p99_us: float
    cpu_us: float


def measure(running: Running, asked: Request, connections: int, seconds: int, core: int) -> Measured:
    """Send a load to a server whose answers were right before it.

    Raises:
        RuntimeError: It does not answer, or does not come to rest.
        ValueError: An answer is wrong, or a request failed.
    """
    _settle(running.pid)
    servers.check(running.port, asked)
    before = machine.usage(running.pid).seconds
    counted = load.run(running.port, asked, connections=connections, seconds=seconds, core=core)
    if counted.errors:
        raise ValueError(f"{asked.path}: no request should fail; got {counted}.")
    if not counted.requests:
        raise ValueError(f"{asked.path}: it answered nothing in {counted.seconds:.1f} s.")
    spent = machine.usage(running.pid).seconds - before
    rate = counted.requests / counted.seconds
    return Measured(rate, counted.p50_us, counted.p99_us, 1e6 * spent / counted.requests)


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
