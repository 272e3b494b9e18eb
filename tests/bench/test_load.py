"""`bench/load.py` and `bench/calls.py`: output of wrk, and load over gRPC."""

import dataclasses

import pytest

from bench import cases, load, machine, servers
from bench.cases import Engine
from service.settings import Settings
from tests.conftest import REPOSITORY
from tests.processes import free_port
from tests.service.http.running import service

MODEL = servers.newest("mlp-128")


def test_wrk_output_is_parsed() -> None:
    counted = '{"requests": 10, "seconds": 2.5, "p50_us": 3, "p99_us": 4, "errors": 5}'

    found = load.parse(f"Running 2s test @ http://127.0.0.1\n  1 threads\n{counted}\n")

    assert found == load.Load(10, 2.5, 3, 4, 5)


def test_wrk_failure_is_reported_with_its_output() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        load.parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_grpc_calls_are_counted() -> None:
    """
    Successful calls, failed calls, and latencies.
    """
    port = free_port()
    asked = cases.inkling("grpc", 1, "mlp-128", Engine(str(MODEL)))
    wrong = dataclasses.replace(asked, bodies=[b"no message", *asked.bodies[:1]])
    core = machine.cores()[1]

    with service(Settings(models=REPOSITORY / "models", _env_file=None), grpc_port=port):
        right = load.run(port, asked, connections=2, seconds=0.5, core=core)
        half = load.run(port, wrong, connections=1, seconds=0.5, core=core)

    assert right.errors == 0
    assert right.requests > 1
    assert right.seconds >= 0.5
    assert 0 < right.p50_us <= right.p99_us < 1e6 * right.seconds
    assert half.errors > 0
    assert abs(half.errors - half.requests) <= 1
