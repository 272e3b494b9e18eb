import gzip
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.digits import DIGITS
from training.data import pen_digits
from training.data.pen_digits import PEN_DIGITS, PenDigit, digest, donors, parse, read, summary, to_jsonl
from training.errors import DataCorrupt, DataMissing

FOUR: dict[str, Any] = {
    "label": 4,
    "donor": "abc",
    "writer": "abc/one",
    "strokes": [[0, 0, 500, 1000], [7, 9]],
}


def _line(**changes: object) -> bytes:
    return json.dumps({**FOUR, **changes}).encode()


def _put(folder: Path, unwrapped: bytes) -> Path:
    path = PEN_DIGITS.path(folder)
    path.parent.mkdir()
    path.write_bytes(gzip.compress(unwrapped))
    return path


def _drawn(label: str, donor: str, writer: str) -> PenDigit:
    """One of the tests' own digits."""
    drawn = [np.array(stroke) for stroke in DIGITS[label][0]]
    low, extent = np.concatenate(drawn).min(axis=0), np.ptp(np.concatenate(drawn), axis=0)
    return PenDigit(
        int(label), donor, writer, tuple(np.rint((stroke - low) * 1000 / extent.max()) for stroke in drawn)
    )


def test_digits_are_read_as_arrays(tmp_path: Path) -> None:
    """
    Label, donor, writer, and strokes of (points, 2) float64.
    """
    _put(tmp_path, _line() + b"\n" + _line(label=0) + b"\n")

    first, second = read(tmp_path)

    assert (first.label, first.donor, first.writer, second.label) == (4, "abc", "abc/one", 0)
    assert [stroke.tolist() for stroke in first.strokes] == [[[0, 0], [500, 1000]], [[7, 9]]]
    assert first.strokes[0].dtype == np.float64


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"", "a JSON object"),
        (b"{", "a JSON object"),
        (b"\xff", "a JSON object"),
        (b"[" * 100_000, "a JSON object"),
        (b"7", "an object with donor, label, strokes, writer; got 7"),
        (b'{"label": 7}', "an object with donor, label, strokes, writer; got label"),
        (_line(more=1), "got donor, label, more, strokes, writer"),
        (_line(label=10), "a label from 0 to 9; got 10"),
        (_line(label=True), "a label from 0 to 9; got True"),
        (_line(label="4"), "a label from 0 to 9; got 4"),
        (_line(donor=""), "of a donor by name"),
        (_line(writer=None), "of a writer by name; got None"),
        (_line(strokes=[]), "at least one stroke"),
        (_line(strokes=[[]]), "stroke 1 should be a list x0, y0, .* got 0 numbers"),
        (_line(strokes=[[0, 0, 1000]]), "stroke 1 should be .* got 3 numbers"),
        (_line(strokes=[[0, 0], {"x": 0}]), "stroke 2 should be a list"),
        (_line(strokes=[[0, float("nan")]]), "integers from 0 to 1,000; got nan"),
        (_line(strokes=[[0, 0.5]]), "integers from 0 to 1,000; got 0.5"),
        (_line(strokes=[[0, -1]]), "integers from 0 to 1,000; got -1"),
        (_line(strokes=[[0, 1001]]), "integers from 0 to 1,000; got 1001"),
        (_line(strokes=[[0, 0, 900, 900]]), "drawn from 0 to 1,000; got another box, up to 900"),
        (_line(strokes=[[1, 0, 900, 1000]]), "drawn from 0 to 1,000"),
        (_line(strokes=[[0] * (2 * 10**6)]), "at most 1,048,576 bytes"),
    ],
)
def test_an_invalid_line_is_refused(line: bytes, complaint: str) -> None:
    """
    The message has the line number, the expected value and the actual one.
    """
    with pytest.raises(DataCorrupt, match=complaint) as caught:
        parse(_line() + b"\n" + line + b"\n", "some.jsonl")

    assert str(caught.value).startswith("some.jsonl, line 2")


def test_a_dot_is_valid() -> None:
    """
    All of its points have one position.
    """
    (found,) = parse(_line(strokes=[[0, 0], [0, 0, 0, 0]]), "x")

    assert [len(stroke) for stroke in found.strokes] == [1, 2]


def test_a_missing_file_is_named_with_instructions(tmp_path: Path) -> None:
    """
    As for every data set.
    """
    with pytest.raises(DataMissing, match=r"digits\.jsonl\.gz"):
        read(tmp_path)


@pytest.mark.parametrize(
    "broken", [b"", b"no gzip", gzip.compress(_line())[:-9]], ids=["empty", "text", "truncated"]
)
def test_an_invalid_gzip_file_is_refused(tmp_path: Path, broken: bytes) -> None:
    """
    An empty file, other bytes, a truncated file.
    """
    _put(tmp_path, b"").write_bytes(broken)

    with pytest.raises(DataCorrupt, match=r"digits\.jsonl\.gz should be"):
        read(tmp_path)


def test_a_file_that_decompresses_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A small file can hold a thousand times its size; reading stops at the limit.
    """
    _put(tmp_path, b" " * 5000)
    monkeypatch.setattr(pen_digits, "MAX_CONTENT_BYTES", 4096)

    with pytest.raises(DataCorrupt, match="at most 4,096 bytes uncompressed"):
        read(tmp_path)


def test_written_digits_are_read_back(tmp_path: Path) -> None:
    """
    The same digits give the same bytes; the digest is of the uncompressed file.
    """
    digits = [_drawn(label, "abc", "abc/one") for label in DIGITS]
    first, second = tmp_path / "a" / "digits.gz", tmp_path / "b.gz"

    pen_digits.write(first, digits)
    pen_digits.write(second, digits)

    assert first.read_bytes() == second.read_bytes()
    unwrapped = gzip.decompress(first.read_bytes())
    assert to_jsonl(parse(unwrapped, "x")) == unwrapped
    assert digest(digits) == hashlib.sha256(unwrapped).hexdigest()
    assert digest(digits[1:]) != digest(digits)


def test_the_summary_has_a_line_per_donor() -> None:
    """
    Digits, writers, and whether the published figures come from these digits.
    """
    digits = [_drawn("1", "b", "b/1"), _drawn("2", "a", "a/1"), _drawn("3", "a", "a/2")]

    known = summary(digits, replace(PEN_DIGITS, sha256=digest(digits)))
    unknown = summary(digits, PEN_DIGITS)

    assert donors(digits) == ("a", "b")
    assert known[0].split() == ["a", "2", "digits,", "2", "writers,", "0", "to", "1", "per", "class"]
    assert known[-1].endswith("those of the published figures")
    assert "not those of the published figures" in unknown[-1]


@pytest.mark.data
@pytest.mark.skipif("INKLING_DATA" not in os.environ, reason="INKLING_DATA does not name the data sets")
def test_the_real_digits_are_those_of_the_published_figures() -> None:
    """
    9,771 digits of five donors.
    """
    digits = read(Path(os.environ["INKLING_DATA"]))

    assert digest(digits) == PEN_DIGITS.sha256
    assert len(digits) == 9771
    assert donors(digits) == PEN_DIGITS.donors
