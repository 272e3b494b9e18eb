from pathlib import Path

import pytest

from service.core.errors import ManifestInvalid
from service.inference.models import pinning
from service.inference.models.registry import Registry
from tests import toys


def test_settings_go_before_the_file(tmp_path: Path) -> None:
    """
    Nothing changes before the returned function is called.
    """
    for _ in range(3):
        toys.publish(tmp_path, "quadrants")
    (tmp_path / "PINS").write_text("quadrants/1\n")
    registry = Registry(tmp_path)
    registry.load()

    commit = pinning.prepare(tmp_path, (), registry)
    assert registry.get("quadrants").version == "3"
    commit()
    assert registry.get("quadrants").version == "1"

    pinning.prepare(tmp_path, ("quadrants/2",), registry)()
    assert registry.get("quadrants").version == "2"


def test_a_broken_file_refuses_the_reload(tmp_path: Path) -> None:
    """
    The pins before it stay in force.
    """
    (tmp_path / "PINS").write_text("newest please\n")

    with pytest.raises(ManifestInvalid, match="each pin should be"):
        pinning.prepare(tmp_path, (), Registry(tmp_path))
