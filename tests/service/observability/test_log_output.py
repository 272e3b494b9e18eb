import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.observability.log_output import BUFFER_BYTES, BufferedOutput
from tests.service.observability.conftest import Pipe, each_access


@each_access
@pytest.mark.usefixtures("_access")
def test_a_line_longer_than_an_atomic_write_is_written_whole(pipe: Pipe) -> None:
    """In order with the other lines."""
    lines = "".join(["short\n", "long" * 5000 + "\n", *["ä" * 50 + "\n"] * 100, "last\n"])
    output = BufferedOutput(pipe.writing)

    output.add(lines)
    waits = output.write()

    assert not waits
    assert pipe.read().decode() == lines


@each_access
@pytest.mark.usefixtures("_access")
def test_lines_are_buffered_and_dropped_when_the_buffer_is_full(pipe: Pipe) -> None:
    """Then one line reports the number of dropped lines."""
    output = BufferedOutput(pipe.writing, buffer_bytes=10_000)
    line = json.dumps({"event": "e" * 86}) + "\n"  # of 100 bytes
    assert len(line) == 100
    pipe.fill()

    for _ in range(50):
        output.add(3 * line)
        assert output.write()
    filled = pipe.read()
    first = output.write()
    found = pipe.read().splitlines()
    output.add(line)
    output.write()

    assert set(filled) == set(b"x\n")
    assert not first
    assert output.dropped == 50
    assert [len(one) + 1 for one in found[:-1]] == [100] * 100
    notice = json.loads(found[-1])
    assert (notice["level"], notice["event"], notice["lines"]) == ("warning", "log lines dropped", 50)
    assert pipe.read().decode() == line


def test_each_gap_is_reported_in_its_place(pipe: Pipe) -> None:
    output = BufferedOutput(pipe.writing, buffer_bytes=1000)
    seen: list[dict[str, int]] = []
    for gap in (3, 5):
        pipe.fill()
        output.add("{}\n" * 333)
        for _ in range(gap):
            output.add("{}\n")
        pipe.read()
        output.write()
        seen += [json.loads(line) for line in pipe.read().splitlines()]

    notices = [line["lines"] for line in seen if line]
    assert len(notices) == 2
    assert sum(notices) == output.dropped == 8
    assert len(seen) - 2 == 2 * 333


def test_more_lines_than_the_buffer_holds_are_cut_between_lines(pipe: Pipe) -> None:
    output = BufferedOutput(pipe.writing, buffer_bytes=1000)

    output.add(('"' + "e" * 98 + '"\n') * 100)
    output.write()

    lines = pipe.read().splitlines()
    assert [len(line) for line in lines[:-1]] == [100] * 9
    assert json.loads(lines[-1])["lines"] == output.dropped == 91


def test_a_line_larger_than_the_buffer_is_dropped(pipe: Pipe) -> None:
    output = BufferedOutput(pipe.writing, buffer_bytes=1000)

    output.add("e" * 1000 + "\n")
    output.add("{}\n")
    output.write()

    notice, line = pipe.read().splitlines()
    assert json.loads(notice)["lines"] == output.dropped == 1
    assert line == b"{}"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_lines_are_dropped_if_the_disk_is_full() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    output = BufferedOutput(descriptor)

    output.add("one\ntwo\n")
    waits = output.write()
    os.close(descriptor)

    assert not waits
    assert output.dropped == 2


def test_after_a_partial_line_the_next_starts_on_a_new_line(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full in the middle of a line, and then has space again."""
    output = BufferedOutput(pipe.writing)
    full = OSError(errno.ENOSPC, "full")
    write = os.write
    results: Iterator[int | OSError] = iter([4, full, full])

    def full_soon(descriptor: int, data: bytes) -> int:
        result = next(results, len(data))
        if isinstance(result, OSError):
            raise result
        return write(descriptor, data[:result])

    monkeypatch.setattr(os, "write", full_soon)

    output.add('"one"\n')
    output.write()
    output.add('"two"\n')
    output.add('"three"\n')
    output.write()

    half, notice, last = pipe.read().splitlines()
    assert (half, last) == (b'"one', b'"three"')
    assert json.loads(notice)["lines"] == output.dropped == 2


def test_an_output_without_a_descriptor_drops_every_line() -> None:
    """Or with a closed one."""
    reading, writing = os.pipe()
    for descriptor in (reading, writing):
        os.close(descriptor)

    for output in (BufferedOutput(None), BufferedOutput(writing)):
        output.add("one\n")
        output.write()
        assert output.dropped == 1


def test_a_full_socket_does_not_block() -> None:
    """systemd's journal gives services a socket."""
    reading, writing = socket.socketpair()
    with reading, writing:
        output = BufferedOutput(writing.fileno())
        while output.dropped == 0:
            output.add("x" * 99_999 + "\n")
        received = b""
        while output.write():
            received += reading.recv(1 << 20)
        assert writing.getblocking()
        writing.close()
        while rest := reading.recv(1 << 20):
            received += rest

        *lines, notice = received.splitlines()
        assert json.loads(notice)["lines"] == output.dropped
        assert {len(line) for line in lines} == {99_999}
        assert len(lines) >= BUFFER_BYTES // 100_000


def test_the_given_descriptor_stays_open_and_blocking(pipe: Pipe) -> None:
    """Other processes share it."""
    output = BufferedOutput(pipe.writing)
    output.add("one\n")
    output.write()
    output.close(0)

    assert os.get_blocking(pipe.writing)
    assert os.write(pipe.writing, b"two\n") == 4


def test_lines_are_appended_to_a_file_that_others_write_to(tmp_path: Path) -> None:
    """The file position is shared."""
    with (tmp_path / "log").open("w") as file:
        output = BufferedOutput(file.fileno())
        output.add("one\n" * 3000)
        output.write()
        os.write(file.fileno(), b"two\n")
        output.add("three\n")
        output.write()

    assert (tmp_path / "log").read_text() == "one\n" * 3000 + "two\nthree\n"


_HOLDING = """
import fcntl, sys
fcntl.lockf(1, fcntl.LOCK_EX)
print("held", file=sys.stderr, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("can_open", [False])
@pytest.mark.usefixtures("_access")
@pytest.mark.skipif(sys.platform == "win32", reason="the system has no such locks")
def test_processes_that_share_a_pipe_write_under_a_lock(pipe: Pipe) -> None:
    """Without it, one filled the pipe between the poll and the write of another: 4 of 150 pairs blocked."""
    output = BufferedOutput(pipe.writing)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDING],
        stdin=subprocess.PIPE,
        stdout=pipe.writing,
        stderr=subprocess.PIPE,
    ) as other:
        assert other.stderr
        other.stderr.readline()
        output.add("one\n")
        waits = output.write()
        held = pipe.read()
        other.communicate()

    assert waits
    assert held == b""
    assert not output.write()
    assert pipe.read() == b"one\n"
