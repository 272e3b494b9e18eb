import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.unipen import parser
from training.data.unipen.parser import Segment, parse
from training.errors import DataCorrupt

INK = """\
.VERSION 1.0
.COMMENT The pen strokes of two digits.
   .PEN_DOWN in a comment that is indented is no statement
.COORD X Y T
.X_POINTS_PER_INCH 100
.Y_POINTS_PER_INCH 200
.PEN_DOWN
 1 10 0
 2 20 1
.PEN_UP
 5 5 2
.PEN_DOWN
 3 30 3
 4 40 4
 5 50 5
.PEN_UP
.DT 100
.PEN_DOWN
 6 60 6
"""

SEGMENTS = """\
.INCLUDE abc/data/one.dat
.HIERARCHY PAGE CHARACTER
.SEGMENT PAGE 0-3 OK "7 4"
.SEGMENT CHARACTER 0-2 OK "7"
.SEGMENT CHARACTER 3 ? "4"
.SEGMENT CHARACTER 2:1-3:0 BAD "\\""
"""


def segments(text: str, files: dict[str, str] | None = None) -> list[Segment]:
    return list(parse(text, "abc/one", files if files is not None else {"include/abc/data/one.dat": INK}))


def points(segment: Segment) -> list[list[list[float]]]:
    return [stroke.tolist() for stroke in segment.strokes]


def test_characters_are_read_with_their_strokes() -> None:
    """
    First two of three columns; y in units of x; pen-up components are not drawn; an empty pen-up has no
    number; other hierarchy levels are ignored.
    """
    seven, four, quote = segments(SEGMENTS)

    assert (seven.label, seven.donor, seven.writer, seven.fault) == ("7", "abc", "abc/one", "")
    assert points(seven) == [[[1, 5], [2, 10]], [[3, 15], [4, 20], [5, 25]]]
    assert (four.label, points(four)) == ("4", [[[6, 30]]])
    assert (quote.label, points(quote)) == ('"', [[[4, 20], [5, 25]], [[6, 30]]])


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ("0", [[[1, 5], [2, 10]]]),
        ("0:1", [[[2, 10]]]),
        ("2:0-2:1", [[[3, 15], [4, 20]]]),
        ("0:1-2:0", [[[2, 10]], [[3, 15]]]),
        ("2:1-2:99", [[[4, 20], [5, 25]]]),
        ("3,0", [[[6, 30]], [[1, 5], [2, 10]]]),
    ],
)
def test_a_range_names_components_and_points(places: str, expected: list[list[list[float]]]) -> None:
    """
    Both ends are included; a colon precedes a point, a comma separates ranges.
    """
    (found,) = segments(f'.INCLUDE abc/data/one.dat\n.SEGMENT CHARACTER {places} OK "1"\n')

    assert points(found) == expected


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('.SEGMENT CHARACTER 0-9 ? "1"\n.PEN_DOWN\n1 1\n', "its components are missing"),
        ('.SEGMENT CHARACTER 5-2 ? "1"\n.PEN_DOWN\n1 1\n', "its components are missing"),
        ('.SEGMENT CHARACTER 0-999999999 ? "1"\n.PEN_DOWN\n1 1\n', "its components are missing"),
        ('.SEGMENT CHARACTER all ? "1"\n.PEN_DOWN\n1 1\n', "its range is invalid"),
        ('.SEGMENT CHARACTER 0 ? "1"\n.PEN_UP\n1 1\n', "it has no point with the pen down"),
        ('.SEGMENT CHARACTER 0 ? "1"\n.PEN_DOWN\n1 1 1\n', "its coordinates are invalid"),
        ('.SEGMENT CHARACTER 0 ? "1"\n.PEN_DOWN\n1 one\n', "its coordinates are invalid"),
        ('.SEGMENT CHARACTER 0 ? "1"\n.PEN_DOWN\n1 nan\n', "its coordinates are invalid"),
        ('.SEGMENT CHARACTER 0 ? "1"\n.PEN_DOWN\n1 1e9\n', "its coordinates are invalid"),
        ('.COORD T P\n.SEGMENT CHARACTER 0 ? "1"\n.PEN_DOWN\n1 1\n', "its coordinates are invalid"),
        ('.INCLUDE abc/data/two.dat\n.SEGMENT CHARACTER 0 ? "1"\n', "an included file is missing"),
    ],
)
def test_an_invalid_segment_has_a_fault(text: str, fault: str) -> None:
    """
    The other segments of the file are read.
    """
    (found,) = segments(text)

    assert found.strokes == ()
    assert found.fault == fault


def test_components_are_numbered_anew_in_every_set() -> None:
    """
    A segment may precede or follow its components, within its set.
    """
    text = """\
.START_SET
.SEGMENT CHARACTER 0 OK "1"
.PEN_DOWN
1 2
.START_SET
.PEN_DOWN
3 4
.SEGMENT CHARACTER 0 "2"
"""
    first, second = segments(text)

    assert (first.label, points(first)) == ("1", [[[1, 2]]])
    assert (second.label, points(second)) == ("2", [[[3, 4]]])


def test_circular_includes_end() -> None:
    """
    At a depth of eight.
    """
    files = {"include/a": ".PEN_DOWN\n1 1\n.INCLUDE b\n", "include/b": ".INCLUDE a\n"}

    (found,) = segments('.INCLUDE a\n.SEGMENT CHARACTER 3 OK "1"\n', files)

    assert points(found) == [[[1, 1]]]


@given(
    st.lists(st.sampled_from([*'.\n":,- 012', ".PEN_DOWN", ".SEGMENT", ".COORD", "CHARACTER", '"1"', "X"]))
)
def test_any_text_is_read_without_an_error(words: list[str]) -> None:
    """
    Other texts have no segments, or segments with faults.
    """
    for found in segments("".join(words)):
        assert bool(found.strokes) != bool(found.fault)


DIGIT = '.COORD X Y\n.SEGMENT CHARACTER 0 OK "5"\n.PEN_DOWN\n1 1\n5 9\n'


@pytest.mark.parametrize(
    ("across", "up"), [("1e300", "1e-300"), ("1", "nan"), ("inf", "inf"), ("1e-320", "1")]
)
def test_an_invalid_scale_is_ignored(across: str, up: str) -> None:
    (found,) = segments(f".X_POINTS_PER_INCH {across}\n.Y_POINTS_PER_INCH {up}\n{DIGIT}")
    assert points(found) == [[[1, 1], [5, 9]]]


def test_repeated_includes_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser, "MAX_FILE_BYTES", 1000)
    files = {"include/a": ".PEN_DOWN\n" + "1 1\n" * 50}
    assert len(segments(".INCLUDE a\n" * 4 + DIGIT, files)) == 1
    with pytest.raises(DataCorrupt, match=r"abc/one should be at most 1,000 bytes .* with its includes"):
        segments(".INCLUDE a\n" * 5 + DIGIT, files)


def test_the_number_of_statements_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser, "MAX_STATEMENTS", 3)
    assert len(segments(DIGIT)) == 1
    with pytest.raises(DataCorrupt, match="3 statements"):
        segments(DIGIT + ".PEN_UP\n")


@pytest.mark.parametrize("places", ["0,0,0", "1,1,1,1,1", "0:0,0:0,0:0,0:0,0"])
def test_the_number_of_points_of_a_character_is_limited(monkeypatch: pytest.MonkeyPatch, places: str) -> None:
    """Pen-up components count too, since each one takes time."""
    monkeypatch.setattr(parser, "MAX_POINTS", 4)
    text = '.COORD X Y\n.SEGMENT CHARACTER 0,0 OK "5"\n.SEGMENT CHARACTER {} OK "5"\n.PEN_DOWN\n1 1\n5 9\n'
    drawn, refused = segments(text.format(places) + ".PEN_UP\n1 1\n")
    assert (drawn.fault, refused.fault) == ("", "it is too long")


def test_strokes_are_arrays_of_numbers() -> None:
    """
    (points, 2) float64.
    """
    (found,) = segments('.PEN_DOWN\n1 2\n3 4\n.SEGMENT CHARACTER 0 OK "1"\n')

    assert found.strokes[0].shape == (2, 2)
    assert found.strokes[0].dtype == np.float64
