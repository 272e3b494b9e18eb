"""A service with all published models stays below 512 MB with any concurrent requests."""

import resource
import sys

import pytest

from tests.security import bodies, costly
from tests.security.bodies import Costly

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="reads /proc, and sets another process's limits"
)

ROUNDS = 3

WORST = (
    "JSON list of {'':0}",
    "JSON many members",
    "JSON text of another plane",
    "JSON images with seen",
    "JSON v2 outputs",
    "JSON v2 INT32 of 7.0",
    "form boundaries without end, file",
    "form almost-boundaries, text",
    "form base64",
    "octets, explain",
    "npy <f2",
    "png a clear colour, flowers17",
    "jpeg CMYK progressive, ink",
    "webp lossless, ink",
)
"""The dearest of each content type: the short form."""


def check(chosen: list[Costly], rounds: int) -> None:
    with costly.serving() as service:
        limit = (costly.CONTAINER_BYTES, costly.CONTAINER_BYTES)
        resource.prlimit(service.handle.pid, resource.RLIMIT_DATA, limit)
        for one in chosen:
            costly.forget_peak(service)
            for _ in range(rounds):
                costly.check(costly.post_together(service, one), one)
            assert costly.is_alive(service), one.name
            _, peak = costly.memory(service)
            assert peak < costly.CONTAINER_BYTES, f"{one.name}: {peak:,} bytes"


def test_costliest_bodies_fit_into_the_memory_limit() -> None:
    """
    Four concurrent requests of each; the process has a memory limit of 512 MB, and survives.
    """
    by_name = {one.name: one for one in bodies.everything()}

    check([by_name[name] for name in WORST], rounds=1)


@pytest.mark.torture
def test_all_costly_bodies_fit_into_the_memory_limit() -> None:
    """
    Three rounds of four concurrent requests with every costly body.
    """
    check(bodies.everything(), ROUNDS)
