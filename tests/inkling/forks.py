"""Forks while other threads predict; run as `python -m tests.inkling.forks MODELS`.

A process of its own: other tests load gRPC and browsers into theirs, which do not survive a fork.
"""

import os
import sys
import threading
from pathlib import Path

import numpy as np

from inkling import Model
from tests import toys

FORKS = 5

PATIENCE_S = 60.0
"""Seconds until a child that does not end is killed; only a broken one needs that long."""


def fork_while_predicting(models: Path) -> None:
    """Fork repeatedly beside threads that predict, and raise an error unless every child predicts right."""
    model = Model.load(models / "quadrants", "1", threads=2)
    images = np.stack([toys.dot(2)] * 2000)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            model.predict(images, prepare="none")

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(FORKS):
            child = os.fork()
            if child == 0:
                os._exit(0 if set(model.predict(images, prepare="none").labels) == {toys.QUARTERS[2]} else 1)
            status = _wait(child)
            if status:
                raise AssertionError(f"a forked child ended with status {status}")
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _wait(child: int) -> int:
    """Return the exit status of a process; kill it if it does not end."""
    timer = threading.Timer(PATIENCE_S, os.kill, (child, 9))
    timer.start()
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        timer.cancel()


if __name__ == "__main__":
    fork_while_predicting(Path(sys.argv[1]))
