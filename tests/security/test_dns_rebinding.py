"""DNS rebinding: with allowed hosts configured, requests for other hosts are refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import toys
from tests.processes import Process, running
from tests.security.asking import ask


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A service with one allowed host."""
    root: Path = tmp_path_factory.mktemp("models")
    toys.publish(root)
    with running(root, "--allowed-host", "inkling.example", "--no-access-log") as process:
        yield process


@pytest.mark.parametrize("path", ["/", "/docs", "/v1/models", "/livez", "/metrics", "/nowhere"])
@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        ("inkling.example", True),
        ("inkling.example:8000", True),
        ("127.0.0.1", True),
        ("localhost:8000", True),
        ("[::1]", True),
        ("evil.example", False),
        ("inkling.example.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("inkling.example@evil.example", False),
    ],
)
def test_only_allowed_hosts_are_served(named: Process, path: str, host: str, is_known: bool) -> None:
    """
    Other hosts get 403; IP addresses are always allowed, for probes.
    """
    answer = ask(named.port, "GET", path, {"Host": host})

    assert answer.status == (403 if not is_known else 404 if path == "/nowhere" else 200)


def test_prediction_for_another_host_is_refused(named: Process) -> None:
    """
    Also without the ASGI application.
    """
    headers = {"Content-Type": "application/octet-stream"}
    path = "/v1/models/quadrants/predict"

    refused = ask(named.port, "POST", path, {**headers, "Host": "evil.example"}, toys.dot(0).tobytes())
    answered = ask(named.port, "POST", path, {**headers, "Host": "inkling.example"}, toys.dot(0).tobytes())

    assert (refused.status, answered.status) == (403, 200)
