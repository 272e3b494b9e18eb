"""Supervisor: starts workers, restarts dead ones, and stops them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.processes import PATIENCE_S, children, is_listening, is_running, listening_ports, state, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests look into /proc")

_SCRIPT = """
import asyncio, logging, os, signal, socket, sys, time
from pathlib import Path
from typing import Any
from types import SimpleNamespace
from service.observability import json_logging
from service.multiprocess.supervisor import Supervisor

def bind(port=0):
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made

class Listener:
    def __init__(self, text):
        self.text = text
    def add(self, sock):
        asyncio.get_running_loop().add_reader(sock.fileno(), self.accept, sock)
    def remove(self, sock):
        asyncio.get_running_loop().remove_reader(sock.fileno())
    def accept(self, sock):
        try:
            connection, _ = sock.accept()
        except BlockingIOError:  # another process was faster
            return
        connection.setblocking(True)
        connection.sendall(self.text())
        connection.close()

async def accept(worker, own, text, stage=None):
    listener = Listener(text)
    own.setblocking(False)
    own.listen()
    with worker.connected(stage):
        listener.add(own)
        worker.attach_listener(listener)
        worker.report_ready()
        await asyncio.sleep(1000)

def serve(worker, own):
{serve}

json_logging.set_up("info")
first = bind()
sockets = [first, *(bind(first.getsockname()[1]) for _ in range({count} - 1))]
published = lambda: frozenset(tuple(pair.split("/")) for pair in {published})
supervisor = Supervisor(sockets, published, serve, {options})
sys.exit(supervisor.run(lambda: os.write(1, f"serving {{first.getsockname()[1]}}\\n".encode())))
"""


@contextmanager
def supervised(
    serve: str,
    count: int = 2,
    before: str = "",
    published: str = '["ink/1"]',
    options: str = f"stop_timeout_s={PATIENCE_S}",
) -> Iterator[subprocess.Popen[str]]:
    """Start a supervisor whose workers run the body of a function.

    Args:
        serve: The body; it has `worker` and `own`, its socket.
        count: Number of workers.
        before: Python code that runs first.
        published: Expression for the published versions, evaluated for every change.
        options: Further arguments of the supervisor.
    """
    body = "\n".join(f"    {line}" for line in serve.strip().splitlines())
    script = _SCRIPT.format(serve=body, count=count, published=published, options=options)
    with subprocess.Popen(
        [sys.executable, "-c", before + script],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        try:
            yield parent
            parent.wait(PATIENCE_S)
        finally:
            if parent.poll() is None:  # the test failed; else it would wait for ever
                parent.kill()


def waiting(parent: subprocess.Popen[str]) -> int:
    """Wait until all workers serve; return the port."""
    assert parent.stdout
    word, port = parent.stdout.readline().split()
    assert word == "serving"
    return int(port)


def stopped(parent: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Stop the service; return its log lines since the last read."""
    parent.terminate()
    _, stderr = parent.communicate(timeout=PATIENCE_S)
    assert parent.returncode == 0
    return [json.loads(line) for line in stderr.splitlines()]


def logged(parent: subprocess.Popen[str], event: str) -> dict[str, Any]:
    """Return the next log line of an event."""
    assert parent.stderr
    for line in parent.stderr:
        found: dict[str, Any] = json.loads(line)
        if found["event"] == event:
            return found
    pytest.fail(f"ended before it logged {event!r}")


def responses(port: int, count: int = 20) -> list[str]:
    """Return the responses of the workers to `count` connections, one after the other."""
    texts = []
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
            texts.append(connection.makefile().read())
    return texts


FOREVER = """
worker.report_ready()
time.sleep(1000)
"""


def test_every_worker_has_its_own_slot() -> None:
    """And knows its parent and the published models; its log lines have the slot."""
    serve = """
worker.memory.write(worker.slot, str((worker.parent, sorted(worker.state.published))).encode())
worker.report_ready()
while sum(bool(text) for _, text in worker.texts()) < 2:
    time.sleep(0.01)
os.write(1, f"{list(worker.texts())}\\n".encode())
logging.getLogger("test").warning("own line")
time.sleep(1000)
"""
    with supervised(serve) as parent:
        lines = [parent.stdout.readline() for _ in range(3)]  # type: ignore[union-attr]
        workers = {logged(parent, "own line")["worker"] for _ in range(2)}
        pids = children(parent.pid)
        log = stopped(parent)

    left = str((parent.pid, [("ink", "1")])).encode()
    expected = str([(pid, left) for pid in pids])
    assert [line.strip() for line in lines if not line.startswith("serving")] == [expected] * 2
    assert workers == {0, 1}
    assert not any("worker" in line for line in log)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_service_with_status_0(number: signal.Signals) -> None:
    """Workers always get SIGTERM."""
    with supervised(FOREVER) as parent:
        waiting(parent)
        pids = children(parent.pid)

        parent.send_signal(number)
        _, stderr = parent.communicate(timeout=PATIENCE_S)

    assert (parent.returncode, stderr) == (0, "")
    assert len(pids) == 2
    assert not any(is_running(pid) for pid in pids)


def test_a_dead_worker_is_replaced_in_its_slot() -> None:
    """At once; its text is there, and connections queued at its socket are served."""
    serve = """
before = worker.memory.read(worker.slot)
worker.memory.write(worker.slot, before + b"x")
asyncio.run(accept(worker, own, lambda: before))
"""
    with supervised(serve, count=1) as parent:
        port = waiting(parent)
        (pid,) = children(parent.pid)
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: state(pid) == "T")
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
            os.kill(pid, signal.SIGKILL)
            response = connection.recv(100)
        (ended,) = stopped(parent)

    assert response == b"x"
    assert (ended["event"], ended["process"], ended["reason"]) == ("process ended", pid, "SIGKILL")


TEXT_AND_REPLACEMENT_HELD_BACK = """
again = worker.memory.read(worker.slot)
worker.memory.write(worker.slot, b"again")
while again and not Path({held!r}).exists() and os.getppid() != 1:
    time.sleep(0.01)
asyncio.run(accept(worker, own, lambda: str(os.getpid()).encode()))
"""


def test_the_others_accept_from_a_dead_workers_socket_until_it_is_replaced(tmp_path: Path) -> None:
    """Queued connections are not reset, and new ones are served at once."""
    held = tmp_path / "go on"
    with supervised(TEXT_AND_REPLACEMENT_HELD_BACK.format(held=str(held))) as parent:
        port = waiting(parent)
        victim, other = children(parent.pid)
        os.kill(victim, signal.SIGSTOP)
        wait_until(lambda: state(victim) == "T")
        queued = [socket.create_connection(("127.0.0.1", port), PATIENCE_S) for _ in range(40)]
        os.kill(victim, signal.SIGKILL)
        texts = {connection.makefile().read() for connection in queued}
        meanwhile = responses(port)
        held.touch()
        (new,) = set(children(parent.pid)) - {victim, other}
        wait_until(lambda: str(new) in responses(port))
        os.kill(other, signal.SIGSTOP)  # it must not be needed for the socket of the new one
        wait_until(lambda: state(other) == "T")
        later = [socket.create_connection(("127.0.0.1", port), PATIENCE_S) for _ in range(40)]
        os.kill(other, signal.SIGCONT)
        last = {connection.makefile().read() for connection in later}
        for connection in (*queued, *later):
            connection.close()
        stopped(parent)

    assert texts == {str(other)}
    assert meanwhile == [str(other)] * 20
    assert last == {str(other), str(new)}


def test_a_replacement_accepts_from_the_sockets_of_dead_workers() -> None:
    """Of three workers, two die, and one of them is replaced first."""
    serve = """
again = worker.memory.read(worker.slot)
worker.memory.write(worker.slot, b"again")
while again and worker.slot == 2 and os.getppid() != 1:  # the test kills the supervisor
    time.sleep(0.01)
asyncio.run(accept(worker, own, lambda: str(worker.slot).encode()))
"""
    with supervised(serve, count=3) as parent:
        port = waiting(parent)
        pids = children(parent.pid)
        os.kill(pids[2], signal.SIGKILL)
        os.kill(pids[1], signal.SIGKILL)
        wait_until(lambda: "1" in responses(port))
        os.kill(pids[0], signal.SIGSTOP)
        wait_until(lambda: state(pids[0]) == "T")
        later = [socket.create_connection(("127.0.0.1", port), PATIENCE_S) for _ in range(40)]
        for connection in later:
            connection.setblocking(False)
        wait_until(lambda: sum(has_response(connection) for connection in later) > 20)
        texts = {connection.recv(100) for connection in later if has_response(connection)}
        for connection in later:  # others wait at the socket of the worker that was halted
            connection.close()
        os.kill(pids[0], signal.SIGKILL)  # it is halted, and would not see that its parent is gone
        parent.kill()

    assert texts == {b"1"}


def has_response(connection: socket.socket) -> bool:
    """Return whether a non-blocking connection has received data."""
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def test_a_worker_that_keeps_dying_is_restarted_with_back_off() -> None:
    """The others accept its connections."""
    serve = """
if worker.slot == 1:
    own.listen()
    worker.report_ready()
    os._exit(7)
asyncio.run(accept(worker, own, lambda: b"0"))
"""
    with supervised(serve) as parent:
        first, second, third = (logged(parent, "process ended") for _ in range(3))
        (port,) = listening_ports(children(parent.pid)[0])
        texts = responses(port)
        stopped(parent)

    assert [first["pause_s"], second["pause_s"], third["pause_s"]] == [0, 0.5, 1]
    assert {line["status"] for line in (first, second, third)} == {7}
    assert texts == ["0"] * 20


def test_clients_are_refused_while_no_worker_can_serve() -> None:
    """They do not wait; the first worker that serves accepts from every socket."""
    serve = """
count = len(worker.memory.read(worker.slot))
worker.memory.write(worker.slot, b"x" * (count + 1))
if count in (1, 2):
    os._exit(0)
asyncio.run(accept(worker, own, lambda: b"1"))
"""
    with supervised(serve) as parent:
        port = waiting(parent)
        for pid in children(parent.pid):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_listening(port))
        wait_until(lambda: is_listening(port))
        texts = responses(port)
        stopped(parent)

    assert texts == ["1"] * 20


def test_a_worker_that_cannot_start_ends_the_service() -> None:
    """With its status and one line, even if several workers report the same."""
    serve = """
worker.report_failure("because")
return 3
"""
    with supervised(serve) as parent:
        stderr, stdout = parent.communicate(timeout=PATIENCE_S)

    assert (parent.returncode, stderr, stdout) == (3, "", "because\n")


def test_an_unexpected_exception_at_the_start_ends_the_service_with_1() -> None:
    """It is logged; a child never returns into the supervisor's loop."""
    with supervised("raise RuntimeError('oh')", count=1) as parent:
        stderr, stdout = parent.communicate(timeout=PATIENCE_S)

    assert (parent.returncode, stderr) == (1, "")
    line = json.loads(stdout)
    assert (line["event"], line["level"]) == ("unexpected error", "error")
    assert "RuntimeError: oh" in line["exception"]


def test_a_replacement_that_cannot_start_does_not_end_the_others() -> None:
    """The service ends only if no worker serves."""
    serve = """
again = worker.memory.read(worker.slot)
worker.memory.write(worker.slot, b"again")
if again:
    worker.report_failure("not again")
    return 3
worker.report_ready()
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


def test_workers_that_do_not_stop_in_time_are_killed() -> None:
    serve = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker.report_ready()
time.sleep(1000)
"""
    with supervised(serve, options="stop_timeout_s=0.2") as parent:
        waiting(parent)

        parent.terminate()
        _, stderr = parent.communicate(timeout=PATIENCE_S)

    assert parent.returncode == 0
    assert [json.loads(line)["event"] for line in stderr.splitlines()] == ["process killed"] * 2


def test_a_second_sigint_kills_the_workers() -> None:
    serve = """
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"stopping\\n"))
worker.report_ready()
while True:
    time.sleep(1000)
"""
    with supervised(serve, count=1) as parent:
        waiting(parent)
        parent.send_signal(signal.SIGINT)
        assert parent.stdout
        stopping = parent.stdout.readline()

        parent.send_signal(signal.SIGINT)
        _, stderr = parent.communicate(timeout=PATIENCE_S)

    assert stopping == "stopping\n"
    assert parent.returncode == 0
    assert json.loads(stderr)["event"] == "process killed"


def test_orphans_of_other_programs_are_reaped() -> None:
    """The first process of a container inherits them."""
    subreaper = """
import ctypes
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: as the first process of a container is
"""
    serve = """
if os.fork() == 0:
    if os.fork() == 0:
        worker.report_ready()
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
    """Return the children of a process, including zombies."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


STAGING = """
calls = []

def stage(kind, model, published):
    versions = sorted(version for name, version in published)
    calls.append(versions)
    {stage}
    commit = lambda: serving.__setitem__(0, versions)
    return SimpleNamespace(served={{"ink": versions}}, error=None, commit=commit)

serving = [sorted(version for name, version in worker.state.published)]
asyncio.run(accept(worker, own, lambda: f"{{worker.slot}}:{{','.join(serving[0])}}".encode(), stage))
"""
"""Workers that respond with their slot and the versions that they serve; `stage` may differ."""

PUBLISHED = "Path({path!r}).read_text().split()"


def reloading(
    tmp_path: Path, stage: str = "pass", options: str = f"stop_timeout_s={PATIENCE_S}"
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Start workers that serve version 1; then versions 1 and 2 are published."""
    path = tmp_path / "published"
    path.write_text("ink/1")
    return supervised(
        STAGING.format(stage=stage),
        published=PUBLISHED.format(path=str(path)),
        before="from pathlib import Path\n",
        options=options,
    )


def publish(tmp_path: Path) -> None:
    (tmp_path / "published").write_text("ink/1 ink/2")


def test_sighup_changes_all_workers_and_their_replacements(tmp_path: Path) -> None:
    """A replacement serves the committed state, not that at the supervisor's start."""
    with reloading(tmp_path) as parent:
        port = waiting(parent)
        publish(tmp_path)
        parent.send_signal(signal.SIGHUP)
        committed = logged(parent, "change committed")
        after = set(responses(port, 60))
        (tmp_path / "published").write_text("ink/1 ink/2 ink/3")  # not reloaded
        victim = children(parent.pid)[0]
        os.kill(victim, signal.SIGKILL)
        logged(parent, "process ended")
        wait_until(lambda: {text[0] for text in responses(port, 60)} == {"0", "1"})
        replaced = set(responses(port, 60))
        stopped(parent)

    assert committed["kind"] == "reload"
    assert after == replaced == {"0:1,2", "1:1,2"}


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        ("if worker.slot == 1: raise ValueError('because')", "because"),
        ("if worker.slot == 1: versions.pop()", "Every worker should load the same versions; they differ."),
        (
            "if worker.slot == 1 and not worker.memory.read(1): worker.memory.write(1, b'x'); os._exit(9)",
            "one ended",
        ),
        (
            "if worker.slot == 1: time.sleep(1000)",
            "Every worker should prepare the change within 0.5 s; one did not.",
        ),
    ],
    ids=["refused", "another result", "death", "timeout"],
)
def test_no_worker_changes_if_one_cannot(tmp_path: Path, stage: str, reason: str) -> None:
    """Not even a replacement."""
    options = f"stop_timeout_s={PATIENCE_S}, change_timeout_s={0.5 if 'sleep' in stage else 60}"
    with reloading(tmp_path, stage, options=options) as parent:
        port = waiting(parent)
        publish(tmp_path)
        parent.send_signal(signal.SIGHUP)
        refused = logged(parent, "change refused")
        wait_until(lambda: {text[0] for text in responses(port, 60)} == {"0", "1"})
        texts = set(responses(port, 60))
        stopped(parent)

    assert any(reason in stderr for stderr in refused["reasons"])
    assert texts == {"0:1", "1:1"}


def test_a_worker_that_dies_at_the_commit_is_replaced_with_the_new_state(tmp_path: Path) -> None:
    stage = """if worker.slot == 1:
        return SimpleNamespace(served={{"ink": versions}}, error=None, commit=lambda: os._exit(9))"""
    with reloading(tmp_path, stage.replace("{{", "{").replace("}}", "}")) as parent:
        port = waiting(parent)
        publish(tmp_path)
        parent.send_signal(signal.SIGHUP)
        logged(parent, "change committed")
        wait_until(lambda: {text[0] for text in responses(port, 60)} == {"0", "1"})
        texts = set(responses(port, 60))
        stopped(parent)

    assert texts == {"0:1,2", "1:1,2"}


LAME = """
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"signalled\\n"))
own.listen()
worker.report_ready()
while True:
    time.sleep(1000)
"""


def test_sockets_stay_open_during_the_lame_duck_period() -> None:
    """A second signal ends it: the supervisor closes the sockets and signals the workers again."""
    with supervised(LAME, count=1, options="stop_timeout_s=60, lame_duck_s=1000") as parent:
        port = waiting(parent)
        assert parent.stdout
        parent.terminate()
        first = parent.stdout.readline()
        (pid,) = children(parent.pid)
        open_during = len(sockets_of(parent.pid))
        was_refused = not is_listening(port)
        parent.terminate()
        second = parent.stdout.readline()
        wait_until(lambda: len(sockets_of(parent.pid)) == open_during - 1)
        os.kill(pid, signal.SIGKILL)
        parent.communicate(timeout=PATIENCE_S)

    assert (first, second) == ("signalled\n", "signalled\n")
    assert not was_refused
    assert parent.returncode == 0


def test_the_stop_timeout_begins_after_the_lame_duck_period() -> None:
    """Workers that do not stop are killed after both."""
    with supervised(LAME, count=1, options="stop_timeout_s=0.2, lame_duck_s=0.3") as parent:
        waiting(parent)
        begun = time.monotonic()
        (killed,) = stopped(parent)
        took_s = time.monotonic() - begun

    assert killed["event"] == "process killed"
    assert took_s >= 0.5


def sockets_of(pid: int) -> list[str]:
    """Return the open sockets of a process."""
    links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]  # noqa: PTH115 - no path is meant
    return [link for link in links if link.startswith("socket:")]


def test_the_others_accept_the_connections_of_a_draining_worker() -> None:
    serve = """
async def drain():
    listener = Listener(lambda: str(worker.slot).encode())
    own.setblocking(False)
    own.listen()
    with worker.connected():
        worker.attach_listener(listener)
        worker.report_ready()
        if worker.slot == 1:
            worker.report_draining()
            own.close()
            os.write(1, b"draining\\n")
        else:
            listener.add(own)
        await asyncio.sleep(1000)

asyncio.run(drain())
"""
    with supervised(serve) as parent:
        assert parent.stdout
        while parent.stdout.readline() != "draining\n":  # it may say before that it serves
            pass
        wait_until(lambda: len(children(parent.pid)) == 2)
        (port,) = listening_ports(children(parent.pid)[0])
        texts = responses(port)
        parent.kill()

    assert texts == ["0"] * 20
