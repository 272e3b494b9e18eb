"""`service/memory/allocator.py`: freed memory returns to the operating system."""

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

_SCRIPT = """
import re, threading
from service.memory import allocator

def resident():
    return int(re.search(r"VmRSS:\\s+([0-9]+)", open("/proc/self/status").read())[1]) // 1024

allocator.limit_retained_memory()
before = resident()

def use():
    large = bytearray(30 * 2**20)  # by default, freeing it raises the size from which on blocks are mapped
    del large
    kept = [bytearray(8 * 2**20) for _ in range(10)]
    kept.append(bytearray(100))
    return kept[-1]

held = []
threads = [threading.Thread(target=lambda: held.append(use())) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it needs /proc")
def test_freed_memory_returns_to_the_operating_system() -> None:
    """
    Three threads use and free 80 MB each; the process then has its former size.
    """
    command = [sys.executable, "-c", _SCRIPT]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert int(done.stdout) < 10
