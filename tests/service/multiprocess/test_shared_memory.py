"""Shared memory: one worker writes a slot, all read it."""

import os

import pytest

from service.multiprocess.shared_memory import SharedMemory, WorkerState, WorkerStatus
from tests.processes import python


def test_a_slot_holds_the_text_that_was_written_last() -> None:
    """Empty before the first write."""
    memory = SharedMemory(2, 100)

    memory.write(0, b"first, and longer")
    memory.write(0, b"second")

    assert (memory.read(0), memory.read(1)) == (b"second", b"")


def test_a_text_above_the_size_limit_changes_nothing() -> None:
    memory = SharedMemory(2, 10)
    memory.write(0, b"x" * 10)
    memory.write(1, b"y")

    assert not memory.write(0, b"z" * 11)
    assert (memory.read(0), memory.read(1)) == (b"x" * 10, b"y")


def test_a_slot_keeps_its_text_when_its_process_ends() -> None:
    """Process id and state are reset."""
    memory = SharedMemory(2, 10)
    memory.write(1, b"left")

    memory.set_pid(1, 12345)
    memory.set_state(1, WorkerState.SERVING)
    before = memory.statuses()
    memory.set_pid(1, 0)

    assert before == [
        WorkerStatus(0, 0, WorkerState.STARTING),
        WorkerStatus(1, 12345, WorkerState.SERVING),
    ]
    assert memory.statuses()[1] == WorkerStatus(1, 0, WorkerState.STARTING)
    assert memory.read(1) == b"left"


def test_pid_and_state_do_not_change_the_text() -> None:
    memory = SharedMemory(1, 10)

    for count, state in enumerate(WorkerState):
        memory.write(0, str(count).encode())
        memory.set_pid(0, 2**60 + count)
        memory.set_state(0, state)

        assert memory.read(0) == str(count).encode()
        assert memory.statuses() == [WorkerStatus(0, 2**60 + count, state)]


def test_a_torn_text_is_never_returned() -> None:
    """The reader returns the last text that it has read."""
    memory = SharedMemory(1, 10)
    memory.write(0, b"whole")
    memory.read(0)
    torn = memory._memory.find(b"whole")

    memory._memory[torn] = ord("W")

    assert memory.read(0) == b"whole"


_WRITER = """
import os, signal
from service.multiprocess.shared_memory import SharedMemory

memory = SharedMemory(1, 50_000)
memory.write(0, b"0" * 50_000)
pid = os.fork()
number = 0
while pid == 0:
    number += 1
    memory.write(0, str(number % 10).encode() * 50_000)
texts = [memory.read(0) for _ in range(1_000)]
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
memory._last = [b""]
texts.append(memory.read(0))
assert all(len(text) == 50_000 and text == text[:1] * 50_000 for text in texts)
assert len(set(texts)) > 1
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no processes of this kind")
def test_readers_see_whole_texts_while_another_process_writes_and_after_it_is_killed() -> None:
    done = python("-c", _WRITER)

    assert (done.returncode, done.stderr) == (0, "")
