"""`bench/split.py`: durations of the phases of a request."""

import json

import pytest

from bench import split
from bench.split import Counted

METRICS = """
# HELP inkling_phase_seconds Time spent in one phase of a request
inkling_phase_seconds_bucket{le="0.0001",phase="decode"} 3.0
inkling_phase_seconds_count{phase="decode"} 4.0
inkling_phase_seconds_sum{phase="decode"} 0.002
inkling_phase_seconds_sum{phase="infer"} 5.0e-05
inkling_request_seconds_sum{route="/livez"} 7.0
"""


def statistics(requests: int, batches: dict[int, tuple[int, int]]) -> str:
    """Return the protocol's statistics: requests, and runs and nanoseconds by batch size."""
    ran = [
        {"batch_size": size, "compute_infer": {"count": count, "ns": ns}}
        for size, (count, ns) in batches.items()
    ]
    record = {
        "execution_count": sum(count for count, _ in batches.values()),
        "inference_stats": {"success": {"count": requests, "ns": 1}},
        "batch_stats": ran,
    }
    return json.dumps({"model_stats": [record]})


def test_counters_are_read_from_metrics_and_statistics() -> None:
    counted = Counted.of(METRICS, statistics(9, {1: (1, 20_000), 4: (2, 80_000)}))

    assert counted == Counted(9, 3, 0.0001, {"decode": 0.002, "infer": 5e-05})


def test_earlier_counts_are_subtracted() -> None:
    """
    A phase may be new.
    """
    before, after = Counted(2, 1, 0.5, {"decode": 1.0}), Counted(10, 4, 2.0, {"decode": 4.0, "queue": 3.0})

    assert after.since(before) == Counted(8, 3, 1.5, {"decode": 3.0, "queue": 3.0})


def test_phases_add_up_without_waiting_time() -> None:
    """
    4 requests ran together for 80 microseconds each time: 20 are each one's own, though each waited for 80.
    By the usual clock all took longer, since other processes ran meanwhile.
    """
    counted = Counted(8, 2, 9.0, {"decode": 9.0, "infer": 9.0, "queue": 9.0, "read": 5.0})
    metered = Counted(
        16,
        4,
        320e-6,
        {"decode": 160e-6, "prepare": 80e-6, "infer": 1280e-6, "encode": 112e-6, "queue": 1.0},
    )

    one = split.split("json", 32, counted, metered, cpu_us=100, bare_us=30, quiet_us=94)

    assert one.together == 4
    assert one.phases_us["infer"] == pytest.approx(20)
    assert one.phases_us["queue"] == pytest.approx(1e6 * 9 / 8)
    assert one.observe_us == 6
    assert one.framework_us == pytest.approx(100 - 30 - 10 - 5 - 20 - 7 - 6)


def test_row_has_the_medians_of_the_rounds() -> None:
    """
    A phase that did not happen takes nothing.
    """
    rounds = []
    for us in (3, 500, 2):
        counted = Counted(1, 1, 12e-6, {"decode": us * 1e-6})
        one = split.split("raw", 1, counted, counted, cpu_us=100 + us, bare_us=40, quiet_us=95 + us)
        rounds.append(one)

    head, _, row = split.table([split.medians(rounds)])

    cells = dict(
        zip(*([cell.strip() for cell in line.split("|")[1:-1]] for line in (head, row)), strict=True)
    )
    assert cells == {
        "Case": "raw",
        "Connections": "1",
        "Run together": "1.0",
        "Processor": "103",
        "transport": "40",
        "framework": "43",
        "decode": "3",
        "prepare": "0",
        "infer": "12",
        "encode": "0",
        "observe": "5",
        "read, by the clock": "0",
        "queue, by the clock": "0",
    }
