"""`service/processes/board.py`: what one process leaves, and the others read."""

import os
import subprocess
import sys

import pytest

from service.multiprocess.shared_memory import SharedMemory
from tests.conftest import REPOSITORY


def test_a_place_holds_what_was_written_last() -> None:
    """
    Each its own; nothing before the first.
    """
    board = SharedMemory(2, 100)

    board.write(0, b"first, and longer")
    board.write(0, b"second")

    assert (board.read(0), board.read(1)) == (b"second", b"")


def test_a_text_without_room_changes_nothing() -> None:
    """
    And whoever wrote it is told.
    """
    board = SharedMemory(2, 10)
    board.write(0, b"x" * 10)
    board.write(1, b"y")

    assert not board.write(0, b"z" * 11)
    assert (board.read(0), board.read(1)) == (b"x" * 10, b"y")


def test_a_process_has_a_place_until_another_has_it() -> None:
    """
    What it wrote stays.
    """
    board = SharedMemory(2, 10)
    board.write(1, b"left")

    board.show_pid(1, 12345)
    before = board.pid(1)
    board.show_pid(1, 0)

    assert (board.pid(0), before, board.pid(1)) == (0, 12345, 0)
    assert board.read(1) == b"left"


def test_half_a_text_is_never_read() -> None:
    """
    Of a sheet that is torn, whoever has read the place before gets what he read.
    """
    board = SharedMemory(1, 10)
    board.write(0, b"whole")
    board.read(0)
    torn = board._memory.find(b"whole")

    board._memory[torn] = ord("W")

    assert board.read(0) == b"whole"


_WRITER = """
import os, signal
from service.multiprocess.shared_memory import SharedMemory

board = SharedMemory(1, 50_000)
board.write(0, b"0" * 50_000)
pid = os.fork()
number = 0
while pid == 0:
    number += 1
    board.write(0, str(number % 10).encode() * 50_000)
texts = [board.read(0) for _ in range(1_000)]
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
board._last = [b""]
texts.append(board.read(0))
assert all(len(text) == 50_000 and text == text[:1] * 50_000 for text in texts)
assert len(set(texts)) > 1
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no processes of this kind")
def test_readers_see_whole_texts_while_another_process_writes_and_after_it_is_killed() -> None:
    """
    Wherever it was just then.
    """
    done = subprocess.run(
        [sys.executable, "-c", _WRITER],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
