"""Runs the unit tests of the page's modules in Node.js."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


def test_modules_pass_their_node_tests() -> None:
    """Modules that need no browser: encoding of drawings, request queue, API client."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed; on Debian: apt-get install nodejs")
    files = sorted(str(path) for path in Path(__file__).parent.glob("*.test.js"))
    assert files

    done = subprocess.run(
        [node, "--test", *files], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
