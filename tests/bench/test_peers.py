"""`bench/peers.py`: configuration, start and stop of other model servers."""

import sys
from pathlib import Path

import numpy as np
import pytest

from bench import cases, machine, peers, servers
from bench.cases import Engine, Request
from bench.peers import Asked, Peer
from tests.conftest import REPOSITORY

SLOW = """
import argparse, http.server, os, pathlib, subprocess, time
parser = argparse.ArgumentParser()
parser.add_argument("--model"), parser.add_argument("--setting"), parser.add_argument("--port", type=int)
arguments = parser.parse_args()
assert os.listdir() == [] and pathlib.Path(arguments.model).is_file()
subprocess.Popen(["sleep", "600"], start_new_session=True)
statuses = [503, 404]

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(statuses.pop() if statuses else 200)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", arguments.port), Handler).serve_forever()
"""


def peer(folder: Path, *programs: str) -> Peer:
    """A peer with an installed environment."""
    folder.mkdir()
    (folder / "requirements.txt").write_text("nothing\n")
    (folder / "server.py").write_text(SLOW)
    python = folder.parent / "home" / folder.name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (python.parent.parent / "installed.txt").write_text("nothing\n")
    return Peer(folder, "Slow", ("numpy",), programs, ("plain", "batching"), {"raw": Asked("/raw", "v2")})


@pytest.mark.parametrize("name", peers.find())
def test_peer_folder_is_complete(name: str) -> None:
    """
    Requirements have exact versions and no URLs.
    """
    found = peers.find()[name]

    assert found.settings
    assert found.packages
    assert found.asked
    assert set(found.asked) <= set(peers.CASES)
    assert {how.answer for how in found.asked.values()} <= set(cases.ANSWERS)
    assert (found.folder / "server.py").is_file()
    lines = (found.folder / "requirements.txt").read_text().splitlines()
    pins = [line.split("==")[0].split("[")[0] for line in lines if line and not line.startswith("#")]
    assert all(line.count("==") == 1 and "/" not in line for line in lines if line and line[0] != "#")
    assert set(found.packages) <= set(pins)


def test_every_folder_is_a_peer() -> None:
    folders = {path.name for path in peers.RIVALS.iterdir() if path.is_dir() and path.name != "__pycache__"}

    assert set(peers.find()) == folders


def test_peer_gets_inklings_bodies_at_its_own_path(tmp_path: Path) -> None:
    engine = Engine(str(servers.newest("mlp-128")))
    slow = peer(tmp_path / "slow")

    asked = slow.request("raw", 2, "mlp-128", engine)

    assert asked is not None
    assert asked.path == "/raw"
    assert asked.bodies == cases.inkling("raw", 2, "mlp-128", engine).bodies
    assert asked.headers == {"Content-Type": "application/octet-stream"}
    assert slow.request("json", 2, "mlp-128", engine) is None


def test_peer_can_have_another_content_type(tmp_path: Path) -> None:
    engine = Engine(str(servers.newest("mlp-128")))
    slow = peer(tmp_path / "slow")
    slow.asked["raw"] = Asked("/raw", "v2", "application/x-raw")

    asked = slow.request("raw", 2, "mlp-128", engine)

    assert asked is not None
    assert asked.headers == {"Content-Type": "application/x-raw"}


def test_peer_may_start_slowly_and_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It responds with 404 and 503 before 200, and leaves a process with its own session.
    """
    monkeypatch.setattr(servers, "MODELS", REPOSITORY / "models")
    plain, batching = peer(tmp_path / "slow").servers(tmp_path / "home")

    with servers.running(plain, machine.cores()[0], Request("/", {}, [b"x"]), tmp_path / "log") as running:
        started = machine.tree(running.pid)
        assert all(map(machine.is_running, started))

    assert [plain.name, batching.name] == ["slow-plain", "slow-batching"]
    assert len(started) == 2
    assert not any(map(machine.is_running, started))


def test_versions_are_read_from_the_peers_environment(tmp_path: Path) -> None:
    assert peers.install(peer(tmp_path / "slow"), tmp_path / "home") == {"numpy": np.__version__}


def test_missing_program_of_a_peer_is_reported(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="It needs no-such-program, which is not installed"):
        peers.install(peer(tmp_path / "slow", "no-such-program"), tmp_path / "home")


def test_failed_installation_is_reported_with_its_output(tmp_path: Path) -> None:
    slow = peer(tmp_path / "slow")
    lacking = Peer(slow.folder, "Slow", ("no-such-package",), (), slow.settings, slow.asked)

    with pytest.raises(RuntimeError, match="No package metadata was found for no-such-package"):
        peers.install(lacking, tmp_path / "home")
