"""`bench/plan.py`: which cases are measured with which server."""

import pytest

from bench import cases, peers, plan, servers
from bench.cases import Engine
from bench.plan import Planned
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def engines() -> dict[str, Engine]:
    models = REPOSITORY / "models"
    return {model: Engine(str(models / model / "1" / "model.onnx")) for model in ("softmax", "mlp-128")}


def asked(name: str, engines: dict[str, Engine], *, beside: bool = False) -> list[Planned]:
    """Return the cases of one of our own servers."""
    requested_output = peers.CASES if beside else cases.CASES
    return plan.make(servers.own(name), requested_output, engines, is_beside_peers=beside)


def test_plan_has_every_case_of_inkling(
    engines: dict[str, Engine],
) -> None:
    places = {place for name in ("inkling", "inkling-grpc") for place, _ in asked(name, engines)}

    assert {(case, 1, "mlp-128", count) for case in cases.CASES for count in (1, 32)} <= places
    assert ("raw", 1000, "mlp-128", 32) in places
    assert ("strokes", 64, "mlp-128", 1) not in places


def test_other_models_are_measured_only_for_inkling(engines: dict[str, Engine]) -> None:
    of = {
        name: {(case, count) for (case, count, model, _), _ in asked(name, engines) if model == "softmax"}
        for name in servers.NAMES
    }

    assert of == {"bare": set(), "naive": set(), "inkling": {("raw", 1), ("raw", 64)}, "inkling-grpc": set()}


def test_with_peers_only_their_cases_are_measured(engines: dict[str, Engine]) -> None:
    only = {"mlp-128": engines["mlp-128"]}

    places = [(case, count) for (case, count, _, connections), _ in asked("bare", only, beside=True)]

    assert set(places) == {(case, count) for case in peers.CASES for count in (1, 1000)}
    assert asked("inkling-grpc", only, beside=True) == []


def test_plan_reports_its_duration(engines: dict[str, Engine]) -> None:
    """
    12 runs of 6 + 0.7 s and a start of 3 s, ten times.
    """
    plans = {servers.own("naive"): asked("naive", engines), servers.own("inkling-grpc"): []}

    first, second, last = plan.describe(plans, 10, 6).splitlines()

    assert first == "naive: json 1/64/1000, raw 1/64/1000"
    assert second == "inkling-grpc: nothing"
    assert last == "12 runs a round, 10 rounds of 6 s a run: about 14 minutes."
