"""PINS: which version of a model answers requests without a version."""

from pathlib import Path

import pytest

from service.core.artifact import pins
from service.core.errors import ManifestInvalid


def test_pins_are_read_with_comments(tmp_path: Path) -> None:
    """
    One model and version per line.
    """
    (tmp_path / "PINS").write_text("# for the exhibition\nmlp-128/2\n\nink/4  # int8\n")

    assert pins.read(tmp_path) == {"mlp-128": "2", "ink": "4"}


def test_without_the_file_nothing_is_pinned(tmp_path: Path) -> None:
    """
    The newest version answers.
    """
    assert pins.read(tmp_path) == {}


@pytest.mark.parametrize("text", ["mlp-128", "mlp-128/0", "mlp-128/2/3", "MLP/1", "ink/1\nink/2", "\x00"])
def test_anything_else_is_refused(tmp_path: Path, text: str) -> None:
    """
    With the form that is expected.
    """
    (tmp_path / "PINS").write_text(text)

    with pytest.raises(ManifestInvalid, match="each pin should be a model and a version such as mlp-128/2"):
        pins.read(tmp_path)


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    """
    As a file that cannot be read.
    """
    (tmp_path / "PINS").mkdir()

    with pytest.raises(ManifestInvalid, match="should be readable"):
        pins.read(tmp_path)
