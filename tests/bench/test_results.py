"""`bench/results.py` and `bench/document.py`: medians, ratios, targets, tables."""

import pytest

from bench import document, results
from bench.results import Run

ENGINE_US = {"mlp-128": {1: 10.0, 1000: 2000.0}, "mlp-512x4": {1: 200.0, 1000: 15_000.0}}


def run(
    server: str,
    rate: float,
    case: str = "raw",
    *,
    images: int = 1,
    connections: int = 32,
    model: str = "mlp-128",
    p50_us: float | None = None,
    cpu_us: float | None = None,
) -> Run:
    """Return a run whose figures follow from its rate, unless given."""
    whole = 1e6 / rate
    p50_us = whole if p50_us is None else p50_us
    cpu_us = whole if cpu_us is None else cpu_us
    return Run(server, case, images, model, connections, rate, p50_us, 2 * whole, cpu_us)


def test_figure_is_the_median_of_its_rounds() -> None:
    found = results.medians([run("bare", 100), run("bare", 10_000), run("bare", 300)])

    (only,) = found.values()
    assert (only.rate, only.p50_us) == (300, 1e6 / 300)


def test_ratio_is_computed_per_round() -> None:
    """
    A slow minute slows both servers; the ratio of the medians would differ.
    """
    runs = [
        run("bare", 100),
        run("inkling", 50),
        run("bare", 10),
        run("inkling", 4),
        run("bare", 1),
        run("inkling", 1),
    ]

    assert results.ratio(runs, "raw", 1, 32) == 0.5
    assert results.ratio(runs, "json", 1, 32) is None


@pytest.mark.parametrize(("rate", "is_met"), [(41.9, False), (42.1, True)])
def test_target_is_met_or_not(rate: float, is_met: bool) -> None:
    (target,) = results.targets([run("bare", 100), run("inkling", rate)], ENGINE_US)

    assert target.is_met is is_met


@pytest.mark.parametrize(("p50", "is_met"), [(201, False), (199, True)])
def test_single_connection_latency_target(p50: float, is_met: bool) -> None:
    runs = [run("bare", 100, connections=1, p50_us=100), run("inkling", 100, connections=1, p50_us=p50)]

    (target,) = results.targets(runs, ENGINE_US)

    assert target.is_met is is_met


@pytest.mark.parametrize(("rate", "is_met"), [(1e6 / 3400, False), (1e6 / 3300, True)])
@pytest.mark.parametrize(("connections", "told"), [(1, "1 connection,"), (32, "32 connections,")])
def test_bulk_target(connections: int, told: str, rate: float, is_met: bool) -> None:
    """
    1,000 microseconds in the transport and 2,000 in the engine.
    """
    runs = [run(*of, images=1000, connections=connections) for of in (("bare", 1000), ("inkling", rate))]

    targets = results.targets(runs, ENGINE_US)

    (target,) = (target for target in targets if "1,000" in target.name)
    assert target.is_met is is_met
    assert told in target.name
    assert target.got.endswith(f"(3,000 µs of {1e6 / rate:,.0f})")


@pytest.mark.parametrize(("more", "is_met"), [(251, False), (249, True)])
def test_preprocessing_target(more: float, is_met: bool) -> None:
    runs = [run("inkling", 1, cpu_us=100), run("inkling", 1, "strokes", cpu_us=100 + more)]

    (target,) = results.targets(runs, ENGINE_US)

    assert target.is_met is is_met


@pytest.mark.parametrize(("spent", "is_met"), [(376, False), (374, True)])
def test_large_network_target(spent: float, is_met: bool) -> None:
    """
    110 microseconds with the small network include 100 of overhead.
    """
    small = run("inkling", 1, connections=1, cpu_us=110)
    large = run("inkling", 1, connections=1, model="mlp-512x4", cpu_us=spent)

    (target,) = results.targets([small, large], ENGINE_US)

    assert target.is_met is is_met


def test_tables_replace_the_marked_sections() -> None:
    begin, end = document.MEASURED
    text = f"before {begin} old {end} after"

    assert document.replaced(text, "new", document.MEASURED) == f"before {begin}\n\nnew\n{end} after"
    with pytest.raises(ValueError, match=r"peers: begin .* got one without"):
        document.replaced(text, "new", document.PEERS)


def test_every_figure_is_shown() -> None:
    record = {
        "date": "2026-01-02",
        "machine": {"processor": "2 cores", "python": "Python 3"},
        "rounds": 1,
        "seconds": 2,
        "minutes": 7.4,
        "runs": [vars(run("bare", 100)), vars(run("inkling", 43))],
        "engine_us": {
            model: {str(batch): us for batch, us in found.items()} for model, found in ENGINE_US.items()
        },
        "started_s": {"bare": 0.25},
        "resident_mb": {"bare": 20.0},
        "peak_mb": {"bare": 30.0},
    }

    lines = document.write(record).splitlines()

    assert "| inkling | mlp-128 | raw | 1 | 32 | 43 | 0.43 | 23,256 | 46,512 | 23,256 |" in lines
    assert "1 interleaved rounds, 2 s a run, 7 minutes in all; medians." in lines
    assert "| bare | 0.25 | 20 | 30 |" in lines
    assert "| mlp-512x4 | 200 | 15,000 |" in lines
    assert any(line.endswith("| at least 0.42 | 0.43 | yes |") for line in lines)


def test_inkling_is_compared_with_the_fastest_peer() -> None:
    """
    The second peer has only the open protocol; the bare transport is not a peer.
    """
    runs = [
        run("bare", 10_000),
        run("inkling", 700),
        run("slow-plain", 100),
        run("quick-plain", 200, "v2_binary"),
        run("quick-batching", 150, "v2_binary"),
        run("quick-plain", 900, "json"),
    ]

    (compared,) = results.comparisons(runs)
    (target,) = results.beside_peers(runs)

    assert (compared.case, compared.peer, compared.peer_case) == ("raw", "quick-plain", "v2_binary")
    assert (compared.rate, compared.peer_rate, compared.times) == (700, 200, 3.5)
    assert target.is_met


@pytest.mark.parametrize(("rate", "is_met"), [(399, False), (401, True)])
def test_target_is_four_times_the_fastest_peer(rate: float, is_met: bool) -> None:
    (target,) = results.beside_peers([run("inkling", rate, "json"), run("mlserver-plain", 100, "v2_json")])

    assert target.is_met is is_met


def test_peers_have_versions_and_failures() -> None:
    record = {
        "date": "2026-01-02",
        "machine": {"processor": "2 cores"},
        "rounds": 1,
        "seconds": 1,
        "minutes": 1.0,
        "runs": [vars(run("inkling", 300)), vars(run("mlserver-plain", 100))],
        "engine_us": {},
        "started_s": {},
        "resident_mb": {},
        "peak_mb": {},
        "versions": {"MLServer": {"mlserver": "1.2.3", "onnxruntime": "4.5"}},
        "missing": {"torchserve": "It needs java,\nwhich is not installed."},
    }

    lines = document.write(record).splitlines()

    assert "- MLServer: mlserver 1.2.3, onnxruntime 4.5" in lines
    assert "- torchserve: It needs java, which is not installed." in lines
    assert "| raw | 1 | 32 | 300 | mlserver-plain | raw | 100 | 3.00 |" in lines
    assert any(line.endswith("| at least 3.5 | 3.00 | no |") for line in lines)
