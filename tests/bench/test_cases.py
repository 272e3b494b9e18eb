"""`bench/cases.py`: requests and expected responses of the benchmark."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from bench import cases, servers
from bench.cases import Engine, Request
from bench.rivals import bare, naive
from service.app import create_app
from service.settings import Settings
from tests.conftest import REPOSITORY
from tests.service.http.running import service

MODEL = servers.newest("mlp-128")


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(str(MODEL))


def ask(client: TestClient, asked: Request) -> None:
    """Send the request of every body, and check every response."""
    for number, body in enumerate(asked.bodies):
        response = client.post(asked.path, content=body, headers=asked.headers)
        assert response.status_code == 200, response.text
        asked.check(number, dict(response.headers), response.content)


@pytest.mark.parametrize(
    ("case", "count"),
    [
        *[(case, 1) for case in cases.CASES if case != "grpc"],
        *[(case, 3) for case in ("json", "npy", "raw", "v2_json", "v2_binary")],
    ],
)
def test_every_case_equals_the_engine(case: str, count: int, engine: Engine) -> None:
    app = create_app(Settings(models=REPOSITORY / "models", _env_file=None))
    asked = cases.inkling(case, count, "mlp-128", engine)

    with TestClient(app) as client:
        ask(client, asked)

    assert len(set(asked.bodies)) == len(asked.bodies) > 1


@pytest.mark.parametrize("count", [1, 3])
def test_every_grpc_case_equals_the_engine(count: int, engine: Engine) -> None:
    port = servers.free_port()
    asked = cases.inkling("grpc", count, "mlp-128", engine)
    turned = dataclasses.replace(asked, bodies=asked.bodies[1:])

    with pytest.raises(servers.NotYet):
        servers.check(port, asked)
    with service(Settings(models=REPOSITORY / "models", _env_file=None), grpc_port=port):
        servers.check(port, asked)
        with pytest.raises(ValueError, match=r"^Probabilities should be the engine's"):
            servers.check(port, turned)


def test_photographs_are_sent_completely(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Different ones, and none of one colour.
    """
    monkeypatch.setattr(servers, "MODELS", REPOSITORY / "models")
    flowers = Engine(str(servers.newest("flowers17")))
    asked = cases.inkling("raw", 2, "flowers17", flowers)

    with TestClient(create_app(Settings(models=REPOSITORY / "models", _env_file=None))) as client:
        ask(client, asked)

    assert {len(body) for body in asked.bodies} == {2 * 64 * 64 * 3}
    assert len(set(asked.bodies)) == len(asked.bodies)
    assert all(np.ptp(np.frombuffer(body, np.uint8)) > 50 for body in asked.bodies)


def test_only_inkling_is_measured_over_grpc(engine: Engine) -> None:
    takes = {
        name: [case for case in ("raw", "grpc") if servers.own(name).request(case, 1, "mlp-128", engine)]
        for name in servers.NAMES
    }

    assert takes == {"bare": ["raw"], "naive": ["raw"], "inkling": ["raw"], "inkling-grpc": ["grpc"]}


@pytest.mark.parametrize("case", ["json", "raw"])
def test_naive_app_equals_the_engine(case: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "MODELS", REPOSITORY / "models")
    asked = servers.own("naive").request(case, 2, "mlp-128", engine)
    assert asked is not None

    with TestClient(naive.create_app(str(MODEL))) as client:
        ask(client, asked)


def test_bare_transport_accepts_any_body(engine: Engine) -> None:
    asked = servers.own("bare").request("json", 1, "mlp-128", engine)
    assert asked is not None

    ask(TestClient(bare.app), asked)


def test_wrong_response_is_reported(engine: Engine) -> None:
    """
    The response to another body, and one of another length.
    """
    app = create_app(Settings(models=REPOSITORY / "models", _env_file=None))
    asked = cases.inkling("raw", 1, "mlp-128", engine)
    turned = dataclasses.replace(asked, bodies=asked.bodies[1:])
    twice = dataclasses.replace(asked, bodies=[2 * body for body in asked.bodies])

    with TestClient(app) as client:
        with pytest.raises(ValueError, match=r"^Probabilities should be the engine's within 0\.0001; got"):
            ask(client, turned)
        with pytest.raises(ValueError, match=r"Answer should be \(1, 10\) probabilities; got \(2, 10\)"):
            ask(client, twice)


def test_failed_start_is_reported_with_its_output(engine: Engine, tmp_path: Path) -> None:
    first = servers.own("bare").request("raw", 1, "mlp-128", engine)
    assert first is not None

    with (
        pytest.raises(RuntimeError, match="No module named"),
        servers.running(servers.own("nobody"), 0, first, tmp_path / "log"),
    ):
        pass
