"""Fixtures of the tests of published folders."""

from pathlib import Path

import pytest

from tests import toys


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a published folder that a test may change."""
    toys.publish(tmp_path)
    return tmp_path / "quadrants" / "1"
