import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from training.data.pen_letters import (
    LOOKALIKES,
    PEN_LETTERS,
    PenLetter,
    read,
    summary,
    without_lookalikes,
    write,
)
from training.errors import DataCorrupt, DataMissing


def _letter(label: str, donor: str = "abc") -> PenLetter:
    return PenLetter(label, donor, f"1b/{donor}/one", (np.array([[0.0, 0.0], [500.0, 1000.0]]),))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """
    Label, donor, writer and strokes, in file order.
    """
    path = PEN_LETTERS.path(tmp_path)
    write(path, [_letter("A"), _letter("z")])

    found = read(tmp_path)

    assert [(each.label, each.donor, each.writer) for each in found] == [
        ("A", "abc", "1b/abc/one"),
        ("z", "abc", "1b/abc/one"),
    ]
    np.testing.assert_array_equal(found[0].strokes[0], _letter("A").strokes[0])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """
    The message says which file is needed.
    """
    with pytest.raises(DataMissing, match=r"letters\.jsonl\.gz"):
        read(tmp_path)


@pytest.mark.parametrize("label", [5, "5", "ab", "", "é", None])
def test_other_labels_are_refused(tmp_path: Path, label: object) -> None:
    """
    One letter from A to Z or a to z; the message names the line.
    """
    line = {"label": label, "donor": "abc", "writer": "abc/one", "strokes": [[0, 0, 0, 1000]]}
    path = PEN_LETTERS.path(tmp_path)
    path.parent.mkdir()
    path.write_bytes(gzip.compress(json.dumps(line).encode()))

    with pytest.raises(DataCorrupt, match="line 1"):
        read(tmp_path)


def test_letters_that_a_reader_takes_for_digits_are_left_out() -> None:
    """
    Each of them has a reason: the digit that it looks like.
    """
    letters = [_letter(label) for label in "AOoBkxZ"]

    assert [letter.label for letter in without_lookalikes(letters)] == ["A", "k", "x"]
    assert set("OoDIlSsZzBbGgqYy") <= LOOKALIKES.keys()
    assert all(any(digit in reason for digit in "0123456789") for reason in LOOKALIKES.values())


def test_a_summary_counts_letters_per_donor() -> None:
    """
    Then all of them, those that are no digit, and whether the figures were measured with them.
    """
    lines = summary([_letter("A"), _letter("O"), _letter("k", "xyz")])

    assert lines.pop().endswith(": not those of the published figures")
    assert lines == [
        "abc        2 letters,   1 writers",
        "xyz        1 letters,   1 writers",
        "3 letters, 2 of them no digit to a reader",
    ]
