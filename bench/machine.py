"""Cores, and what a process took of them: Linux's /proc."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What a process and its children took.

    Attributes:
        seconds: Processor time, user and system.
        resident_mb: Memory that each holds now, added up, in MB of 10**6 bytes.
        peak_mb: The most that each ever held, added up.
    """

    seconds: float
    resident_mb: float
    peak_mb: float


def cores() -> tuple[int, int]:
    """Return the core for servers and the core for the load.

    Raises:
        OSError: There are not two.
    """
    free = sorted(os.sched_getaffinity(0))
    if len(free) < 2:
        raise OSError(f"The benchmark needs two cores; got {len(free)}.")
    return free[0], free[1]


def usage(pid: int) -> Usage:
    """Return what a process and its children took since they began; those that have ended took nothing."""
    seconds = resident_mb = peak_mb = 0.0
    for one in tree(pid):
        with suppress(OSError):
            seconds += _seconds(one)
            resident_mb += _mb(one, "VmRSS")
            peak_mb += _mb(one, "VmHWM")
    return Usage(seconds, resident_mb, peak_mb)


def describe() -> dict[str, str]:
    """Return what says where this ran."""
    return {
        "processor": f"{os.cpu_count()} cores of {_processor()}",
        "python": f"Python {sys.version.split()[0]}",
        "system": f"{os.uname().sysname} {os.uname().release}",
    }


def _processor() -> str:
    """Return the processor's name, as the machine gives it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def tree(pid: int) -> list[int]:
    """Return a process, its children, theirs, and so on."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int(_stat(int(folder.name))[1])
        except OSError:  # it ended meanwhile
            continue
    found = [pid]
    for parent in found:
        found += [child for child, its in parents.items() if its == parent]
    return found


def is_running(pid: int) -> bool:
    """Tell whether a process is there, and not ended with nobody having asked after it."""
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the program's name, which may hold anything: proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _mb(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
