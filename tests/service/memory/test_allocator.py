"""`service/memory/allocator.py`: freed memory goes back to the system."""

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

_SCRIPT = """
import re, threading
from service.memory import allocator

def resident():
    return int(re.search(r"VmRSS:\\s+([0-9]+)", open("/proc/self/status").read())[1]) // 1024

allocator.bound()
before = resident()

def use():
    large = bytearray(30 * 2**20)  # freed, it would raise the size from which blocks are mapped
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
def test_freed_blocks_go_back_to_the_system() -> None:
    """
    After threads have used and freed 80 MB each, the process is as small as it was.
    """
    command = [sys.executable, "-c", _SCRIPT]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert int(done.stdout) < 10
