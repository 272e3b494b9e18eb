"""`bench/engines.py`: measurement of inference times, and its table."""

from itertools import count
from pathlib import Path

import pytest

from bench.cases import Engine
from bench.engines import BATCHES, measured, table
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def softmax() -> Path:
    return REPOSITORY / "models" / "softmax" / "1" / "model.onnx"


def test_every_engine_is_measured_at_every_batch(softmax: Path) -> None:
    """
    With a clock that advances 0.01 s per reading.
    """
    ticks = count()
    engines = {"1": Engine(str(softmax)), "2": Engine(str(softmax))}

    found = measured(engines, rounds=2, clock=lambda: next(ticks) / 100)

    assert list(found) == ["1", "2"]
    assert all(tuple(times) == BATCHES for times in found.values())
    assert all(seconds >= 0.01 for times in found.values() for seconds in times.values())


def test_version_is_compared_with_the_previous_one() -> None:
    """
    One millisecond instead of two is twice as fast; with a thousand images it is half as fast.
    """
    first = dict.fromkeys(BATCHES, 0.002)
    second = {**dict.fromkeys(BATCHES, 0.001), 1000: 0.004}

    lines = table({"1": first, "2": second})

    assert lines[2] == "| 1 | 2,000 | 2,000 | 2,000 | 2,000 |"
    assert lines[3] == "| 2 | 1,000 (2.00 x) | 1,000 (2.00 x) | 1,000 (2.00 x) | 4,000 (0.50 x) |"
