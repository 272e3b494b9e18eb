"""Processes that share one sweep study, in an SQLite file and in PostgreSQL."""

import multiprocessing
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="the trainer is not installed")

from tests.e2e.sweep_worker import TRIALS, main, settings
from training.fitting.loop import FitCallbacks
from training.sweep.search import SweepCallbacks, sweep
from training.sweep.search_space import Trial, counted_trials

pytestmark = pytest.mark.slow

GRACE_S = 3
PATIENCE_S = 120
"""Timeout in seconds; long, as test machines may be busy."""


def programs() -> Path | None:
    """Return the folder of the newest PostgreSQL; Debian does not put it on the path."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    folders = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((path.parent for path in folders), key=lambda path: float(path.parent.name), default=None)


def owner() -> str | None:
    """Return the user of the database, which refuses to run as root."""
    return "postgres" if os.geteuid() == 0 else None


@contextmanager
def postgres() -> Iterator[str]:
    """Run a PostgreSQL server on a free port, with a password; yield its URL."""
    bin_folder = programs()
    if bin_folder is None:
        pytest.skip("PostgreSQL is not installed; on Debian: apt-get install postgresql")
    if owner() and owner() not in [entry.pw_name for entry in pwd.getpwall()]:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    home = Path(tempfile.mkdtemp(prefix="inkling-postgres-"))
    password = f"{secrets.token_hex(8)}@/{{}}%"  # what has to be percent-encoded, and braces
    (home / "password").write_text(password)
    if name := owner():
        for path in (home, home / "password"):
            shutil.chown(path, name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def call(program: str, *words: str) -> None:
        command = [str(bin_folder / program), "-D", str(home / "data"), *words]
        subprocess.run(
            command, user=owner(), cwd=home, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE_S
        )

    try:
        call("initdb", "-U", "keeper", "--auth=scram-sha-256", f"--pwfile={home / 'password'}", "--no-sync")
        options = f"-p {port} -h 127.0.0.1 -k {home} -c fsync=off"
        call("pg_ctl", "start", "-w", "-l", str(home / "log"), "-o", options)
        try:
            encoded = password.replace("%", "%25").replace("@", "%40").replace("/", "%2F")
            yield f"postgresql://keeper:{encoded}@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "stop", "-w", "-m", "immediate")
    finally:
        shutil.rmtree(home)


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'study.db'}"
    else:
        with postgres() as address:
            yield address


PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.e2e.sweep_worker", "torch._dynamo"])  # imports of some seconds


@dataclass
class Worker:
    """A worker as a process.

    Attributes:
        process: The process.
        lines: Pipe with its messages.
        log: File with its standard error.
    """

    process: BaseProcess
    lines: "Connection[str, str]"
    log: Path

    def read_until(self, beginning: str) -> None:
        """Read messages until one has this beginning."""
        if not any(line.startswith(beginning) for line in self):
            pytest.fail(f"a worker ended without saying {beginning!r}: {self.log.read_text()}")

    def __iter__(self) -> Iterator[str]:
        """Yield messages until it ends."""
        while self.lines.poll(PATIENCE_S):
            try:
                yield self.lines.recv()
            except EOFError:
                return
        pytest.fail("a worker says nothing more, and does not end")

    def end(self) -> list[str]:
        """Wait until it ends without an error; return its remaining messages."""
        said = list(self)
        self.process.join(PATIENCE_S)
        assert (self.process.exitcode, self.log.read_text()) == (0, "")
        return said


@contextmanager
def worker(storage: str, name: str, folder: Path, hang_at: int = 0) -> Iterator[Worker]:
    lines, written = PROCESSES.Pipe(duplex=False)
    log = folder / f"{name}.log"
    process = PROCESSES.Process(target=main, args=(storage, name, GRACE_S, hang_at, written, log))
    process.start()
    written.close()
    try:
        yield Worker(process, lines, log)
    finally:
        process.kill()
        process.join(PATIENCE_S)


def finished(storage: str) -> list[Trial]:
    """Return all trials of a finished study, as a worker that starts late reads them."""

    def unwanted(*_: object) -> None:
        pytest.fail("the study is not finished")

    fit = FitCallbacks(on_step=unwanted, on_epoch=unwanted, clock=time.perf_counter)
    callbacks = SweepCallbacks(fit, lambda *_: None, on_wait=unwanted, on_trial=unwanted)
    return sweep(settings(storage, "late", GRACE_S), callbacks)


def test_killed_workers_trial_is_repeated(storage: str, tmp_path: Path) -> None:
    """
    One of two workers is killed with SIGKILL within its second trial. The other repeats that trial, and the
    study ends with the requested number of trials, all different.
    """
    with worker(storage, "victim", tmp_path, hang_at=2) as victim:
        victim.read_until("hanging")
        with worker(storage, "survivor", tmp_path) as survivor:
            survivor.read_until("ended")
            victim.process.kill()
            said = survivor.end()

    trials = finished(storage)
    done = counted_trials(trials, TRIALS)
    (lost,) = [trial for trial in trials if trial.state == "lost"]
    (again,) = [trial for trial in done if trial.point == lost.point]
    assert again.number > lost.number
    assert len(done) == len({trial.point for trial in done}) == TRIALS
    assert {trial.state for trial in done} <= {"done", "stopped"}
    ended = sum(line.startswith("ended ") for line in said)
    assert ended == TRIALS - 2  # without its first, which was read, and the victim's only one


def test_workers_share_the_trials_without_duplicates(storage: str, tmp_path: Path) -> None:
    """
    Two workers that start at the same time with an empty storage run the requested number of trials, all
    different.
    """
    with worker(storage, "one", tmp_path) as one, worker(storage, "two", tmp_path) as two:
        one.end()
        two.end()

    done = counted_trials(finished(storage), TRIALS)
    assert len({trial.point for trial in done}) == TRIALS
    assert {trial.state for trial in done} <= {"done", "stopped"}
