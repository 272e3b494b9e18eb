"""`service/processes/supervisor.py`: it starts processes, replaces them, and ends with them."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.processes import PATIENCE_S, children, is_running, listening_ports, state, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests look into /proc")

_SCRIPT = """
import os, signal, socket, sys, time
from service import logs
from service.processes.supervisor import Supervisor

def bind(port=0):
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made

def serve(member, own):
{serve}

logs.set_up("info")
first = bind()
sockets = [first, *(bind(first.getsockname()[1]) for _ in range({count} - 1))]
supervisor = Supervisor(sockets, frozenset({{("ink", "1")}}), serve, patience_s={patience_s})
sys.exit(supervisor.run(lambda: os.write(1, f"serving {{first.getsockname()[1]}}\\n".encode())))
"""


def supervised(
    serve: str, count: int = 2, patience_s: float = PATIENCE_S, before: str = ""
) -> subprocess.Popen[str]:
    """Start a supervisor whose children do what the body of a function says."""
    body = "\n".join(f"    {line}" for line in serve.strip().splitlines())
    return subprocess.Popen(
        [sys.executable, "-c", before + _SCRIPT.format(serve=body, count=count, patience_s=patience_s)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def waiting(parent: subprocess.Popen[str]) -> int:
    """Wait until all children serve; return the port."""
    assert parent.stdout
    word, port = parent.stdout.readline().split()
    assert word == "serving"
    return int(port)


FOREVER = """
member.tell_ready()
time.sleep(1000)
"""


def test_every_process_has_a_place_of_its_own_and_knows_its_parent() -> None:
    """
    And what was published; it leaves a text for the others.
    """
    serve = """
member.board.write(member.place, str((member.parent, sorted(member.published))).encode())
member.tell_ready()
while sum(bool(text) for _, text in member.texts()) < 2:
    time.sleep(0.01)
os.write(1, f"{list(member.texts())}\\n".encode())
time.sleep(1000)
"""
    with supervised(serve) as parent:
        lines = [parent.stdout.readline() for _ in range(3)]  # type: ignore[union-attr]
        pids = children(parent.pid)
        parent.terminate()
        parent.communicate(timeout=PATIENCE_S)

    left = str((parent.pid, [("ink", "1")])).encode()
    expected = str([(pid, left) for pid in pids])
    assert [line.strip() for line in lines if not line.startswith("serving")] == [expected] * 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_with_0(number: signal.Signals) -> None:
    """
    Processes are told by SIGTERM, whatever the parent was told by.
    """
    with supervised(FOREVER) as parent:
        waiting(parent)
        pids = children(parent.pid)

        parent.send_signal(number)
        _, said = parent.communicate(timeout=PATIENCE_S)

    assert (parent.returncode, said) == (0, "")
    assert len(pids) == 2
    assert not any(is_running(pid) for pid in pids)


def test_a_process_that_dies_is_replaced_at_its_place() -> None:
    """
    At once; what it left is there, and what waits at its socket is answered.
    """
    serve = """
before = member.board.read(member.place)
member.board.write(member.place, before + b"x")
own.listen()
member.tell_ready()
while True:
    connection, _ = own.accept()
    connection.sendall(before)
    connection.close()
"""
    with supervised(serve, count=1) as parent:
        port = waiting(parent)
        (pid,) = children(parent.pid)
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: state(pid) == "T")
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
            os.kill(pid, signal.SIGKILL)
            answer = connection.recv(100)
        parent.terminate()
        _, said = parent.communicate(timeout=PATIENCE_S)

    assert answer == b"x"
    ended = json.loads(said)
    assert (ended["event"], ended["process"], ended["reason"]) == ("process ended", pid, "SIGKILL")


def test_one_that_cannot_stay_is_tried_less_and_less_often_and_nobody_waits_there() -> None:
    """
    The others serve; connections that come meanwhile go to them alone.
    """
    serve = """
own.listen()
member.tell_ready()
if member.place == 1:
    os._exit(7)
while True:
    connection, _ = own.accept()
    connection.sendall(b"0")
    connection.close()
"""
    with supervised(serve) as parent:
        assert parent.stderr
        first, second, third = (json.loads(parent.stderr.readline()) for _ in range(3))
        pids = children(parent.pid)
        (port,) = listening_ports(pids[0])
        answers = []
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
                answers.append(connection.recv(1))
        parent.terminate()
        parent.communicate(timeout=PATIENCE_S)

    assert [first["pause_s"], second["pause_s"], third["pause_s"]] == [0, 0.5, 1]
    assert {line["status"] for line in (first, second, third)} == {7}
    assert answers == [b"0"] * 20


def test_one_that_cannot_start_ends_all_with_its_status_and_its_reason() -> None:
    """
    One line, though several say the same.
    """
    serve = """
member.tell_why_not("because")
return 3
"""
    with supervised(serve) as parent:
        said, written = parent.communicate(timeout=PATIENCE_S)

    assert (parent.returncode, said, written) == (3, "", "because\n")


def test_what_nobody_foresaw_ends_all_with_1() -> None:
    """
    And is logged; a child never goes on as its parent would.
    """
    with supervised("raise RuntimeError('oh')", count=1) as parent:
        said, written = parent.communicate(timeout=PATIENCE_S)

    assert (parent.returncode, said) == (1, "")
    line = json.loads(written)
    assert (line["event"], line["level"]) == ("unforeseen", "error")
    assert "RuntimeError: oh" in line["exception"]


def test_one_that_cannot_start_again_takes_nothing_away_from_the_others() -> None:
    """
    Only if none serves is it the end.
    """
    serve = """
again = member.board.read(member.place)
member.board.write(member.place, b"again")
if again:
    member.tell_why_not("not again")
    return 3
member.tell_ready()
time.sleep(1000)
"""
    with supervised(serve) as parent:
        waiting(parent)
        victim, other = children(parent.pid)
        assert parent.stderr

        os.kill(victim, signal.SIGKILL)
        lines = [json.loads(parent.stderr.readline()) for _ in range(2)]
        stayed = is_running(other) and parent.poll() is None
        os.kill(other, signal.SIGKILL)
        parent.wait(PATIENCE_S)

    assert [line["reason"] for line in lines] == ["SIGKILL", "not again"]
    assert stayed
    assert parent.returncode == 3


def test_processes_that_do_not_end_in_time_are_killed() -> None:
    """
    As one that hangs would keep the parent for ever.
    """
    serve = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
member.tell_ready()
time.sleep(1000)
"""
    with supervised(serve, patience_s=0.2) as parent:
        waiting(parent)

        parent.terminate()
        _, said = parent.communicate(timeout=PATIENCE_S)

    assert parent.returncode == 0
    assert [json.loads(line)["event"] for line in said.splitlines()] == ["process killed"] * 2


def test_a_second_control_c_kills() -> None:
    """
    For people who cannot wait.
    """
    serve = """
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"stopping\\n"))
member.tell_ready()
while True:
    time.sleep(1000)
"""
    with supervised(serve, count=1) as parent:
        waiting(parent)
        parent.send_signal(signal.SIGINT)
        assert parent.stdout
        stopping = parent.stdout.readline()

        parent.send_signal(signal.SIGINT)
        _, said = parent.communicate(timeout=PATIENCE_S)

    assert stopping == "stopping\n"
    assert parent.returncode == 0
    assert json.loads(said)["event"] == "process killed"


def test_others_orphans_leave_no_zombies() -> None:
    """
    The first process of a container gets them all.
    """
    subreaper = """
import ctypes
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: as the first process of a container is
"""
    serve = """
if os.fork() == 0:
    if os.fork() == 0:
        member.tell_ready()
        time.sleep(0.2)
    os._exit(0)
os.wait()
time.sleep(1000)
"""
    with supervised(serve, count=1, before=subreaper) as parent:
        waiting(parent)
        wait_until(lambda: len(all_children(parent.pid)) == 2)
        wait_until(lambda: len(all_children(parent.pid)) == 1)
        parent.terminate()
        parent.communicate(timeout=PATIENCE_S)

    assert parent.returncode == 0


def all_children(pid: int) -> list[str]:
    """Return the children of a process, with those that have ended and wait to be noticed."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
