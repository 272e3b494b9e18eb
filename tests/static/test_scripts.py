"""The page's modules in Node's own test runner."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


def test_modules_do_what_their_own_tests_say() -> None:
    """
    What needs no browser: drawings as text, questions in their order, answers and refusals.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed; on Debian: apt-get install nodejs")
    files = sorted(str(path) for path in Path(__file__).parent.glob("*.test.js"))
    assert files

    done = subprocess.run(
        [node, "--test", *files], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
