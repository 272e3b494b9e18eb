"""`bench/start.py`: import times at start-up."""

import subprocess
import sys

from bench import start
from bench.start import Import

SAID = """
import time: self [us] | cumulative | imported package
import time:      1000 |       1000 |   zoo.cage
import time:      2000 |       2000 |       ape
import time:      3000 |       5000 |     zoo.ape
import time:      4000 |      10000 | zoo
{"level": "info", "message": "ready"}
import time:       500 |       1500 | farm
import time:      7000 |       7000 | zoo.late
"""


def test_package_import_time_with_and_without_dependencies() -> None:
    """
    Modules that a package imports of its own are part of what it brings already; a later one is not.
    """
    found = start.imports(SAID)

    assert found == [Import("zoo", 15, 17), Import("ape", 2, 2), Import("farm", 0.5, 1.5)]


def test_import_time_output_is_parsed() -> None:
    code = "import json, email.mime.text"
    ran = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, check=True)

    found = {one.package: one for one in start.imports(ran.stderr.decode())}

    assert {"json", "email"} <= set(found)
    assert all(0 <= one.own_ms <= one.whole_ms for one in found.values() if one.package in ("json", "email"))
    assert sum(one.own_ms for one in found.values()) > found["email"].whole_ms


def test_import_times_are_medians() -> None:
    """
    One slow start changes nothing.
    """
    starts = [[Import("ape", own, 2 * own), Import("zoo", 5, 7)] for own in (3, 900, 2)]

    assert start.medians(starts) == [Import("zoo", 5, 7), Import("ape", 3, 6)]


def test_slowest_imports_are_shown() -> None:
    found = [Import(f"package{number}", number, 2 * number) for number in range(100, 0, -1)]

    lines = start.table(found, {"ready": 0.5})

    assert "| ready | 500 |" in lines
    assert lines[-15] == "| package100 | 100 | 200 |"
    assert lines[-1] == "| package86 | 86 | 172 |"
