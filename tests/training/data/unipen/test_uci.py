import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from training.data import pen_digits
from training.data.pen_digits import UCI_DIGITS, read
from training.data.unipen import uci
from training.data.unipen.uci import convert, download, parse, uncompress
from training.errors import DataCorrupt, DownloadFailed

HERE = replace(UCI_DIGITS, addresses=())
"""Nothing is fetched from anywhere."""

STROKES = """\
.VERSION 1.0
.HIERARCHY DIGIT
.COORD X Y

.SEGMENT DIGIT 0-1 ? "7"
.COMMENT 7 12 0
.PEN_DOWN
 10 40
 20 40
 15 0
.PEN_UP
.DT 120
.PEN_DOWN
 12 20
 18 20
.PEN_UP

.SEGMENT DIGIT 2 ? "1"
.COMMENT 1 3 4
.PEN_DOWN
 100 200
 100 100
.PEN_UP
"""


def _compress(content: bytes, max_width: int = 16, clears: tuple[int, ...] = ()) -> bytes:
    """Compress as `compress` does, with a clear code before the bytes at some places."""
    codes: list[tuple[int, int]] = []  # code and width

    def emit(code: int) -> None:
        codes.append((code, state["width"]))

    state = {"width": 9, "free": 257}
    table: dict[bytes, int] = {bytes([value]): value for value in range(256)}
    found = b""
    started = False
    for place, value in enumerate(content):
        if place in clears and found:
            emit(table[found])
            emit(256)
            codes.append((-1, 0))  # the rest of the group is padding
            table = {bytes([each]): each for each in range(256)}
            state |= {"width": 9, "free": 257}
            found, started = b"", False
        longer = found + bytes([value])
        if longer in table:
            found = longer
            continue
        emit(table[found])
        # the decoder knows an entry one code later
        if started and state["free"] >= 1 << state["width"] and state["width"] < max_width:
            codes.append((-1, 0))
            state["width"] += 1
        if state["free"] < 1 << max_width:
            table[longer] = state["free"]
            state["free"] += 1
        started = True
        found = bytes([value])
    emit(table[found])
    return b"\x1f\x9d" + bytes([0x80 | max_width]) + _pack(codes)


def _pack(codes: list[tuple[int, int]]) -> bytes:
    """Write codes from the lowest bit on; a code of -1 fills the group of eight."""
    bits = position = group = last = 0
    for code, width in codes:
        if code < 0:
            size = 8 * last
            position = group + -(-(position - group) // size) * size
            group = position
        else:
            bits |= code << position
            position, last = position + width, width
    return bits.to_bytes(-(-position // 8), "little")


def _archive(folder: Path, text: str = STROKES, name: str = uci.MEMBER) -> Path:
    path = folder / "uci.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, _compress(text.encode()))
    return path


def test_an_archive_is_converted(tmp_path: Path) -> None:
    """
    Digit and writer are those of the comment; y downwards, larger side 1,000.
    """
    digits = convert(_archive(tmp_path), tmp_path, HERE)

    seven, one = read(tmp_path, HERE)
    assert len(digits) == 2
    assert [(each.label, each.donor, each.writer) for each in (seven, one)] == [
        (7, "pendigits", "pendigits/12"),
        (1, "pendigits", "pendigits/3"),
    ]
    assert [stroke.tolist() for stroke in seven.strokes] == [
        [[0, 0], [250, 0], [125, 1000]],
        [[50, 500], [200, 500]],
    ]
    assert [stroke.tolist() for stroke in one.strokes] == [[[0, 0], [0, 1000]]]


def test_a_digit_without_strokes_is_skipped() -> None:
    """
    A comment alone makes no digit.
    """
    assert parse(".COMMENT 3 1 0\n.PEN_UP\n", "pendigits") == []


@pytest.mark.parametrize(
    "content",
    [b"", b"a", b"ababababab" * 40, bytes(range(256)) * 40, bytes(n * n % 251 for n in range(40_000))],
    ids=["empty", "one byte", "repeated", "all bytes", "wider codes"],
)
def test_compressed_files_are_read(content: bytes) -> None:
    """
    Codes grow from 9 bits on; an entry may be used before the decoder has it.
    """
    compressed = _compress(content) if content else b"\x1f\x9d\x90\x00"

    assert uncompress(compressed, "file") == content


def test_codes_stop_to_grow_at_the_files_width() -> None:
    """
    A full table stays as it is.
    """
    content = bytes(n * n % 251 for n in range(5_000))

    assert uncompress(_compress(content, max_width=9), "file") == content


def test_a_clear_code_empties_the_table() -> None:
    """
    Codes have 9 bits again.
    """
    content = bytes(n * n % 251 for n in range(3_000))

    assert uncompress(_compress(content, clears=(10, 1_500)), "file") == content


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", b"\x1f\x9d\x88", b"\x1f\x9d\x9f\x00", b"\x1f\x9d\x90\xff\xff\xff\xff"],
    ids=["empty", "another file", "8 bits", "31 bits", "unknown code"],
)
def test_other_content_is_refused(content: bytes) -> None:
    """
    The message names the file.
    """
    with pytest.raises(DataCorrupt, match="strokes"):
        uncompress(content, "strokes")


def test_content_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A small file can decompress to a large one.
    """
    monkeypatch.setattr(pen_digits, "MAX_CONTENT_BYTES", 100)

    with pytest.raises(DataCorrupt, match="at most 100"):
        uncompress(_compress(b"a" * 1_000), "file")


def test_archives_without_the_training_file_are_refused(tmp_path: Path) -> None:
    """
    The test file is not taken for it, nor is a file that is no archive.
    """
    with pytest.raises(DataCorrupt, match=uci.MEMBER):
        convert(_archive(tmp_path, name="pendigits-orig.tes.Z"), tmp_path, HERE)
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(DataCorrupt, match="a zip file"):
        convert(tmp_path / "text", tmp_path, HERE)


def test_an_archive_without_digits_is_refused(tmp_path: Path) -> None:
    """
    No file is written.
    """
    with pytest.raises(DataCorrupt, match="pen digits"):
        convert(_archive(tmp_path, "nothing"), tmp_path, HERE)

    assert not HERE.path(tmp_path).exists()


def test_a_valid_file_is_not_downloaded_again(tmp_path: Path) -> None:
    """
    Without one, a source without addresses fails.
    """
    with pytest.raises(DownloadFailed):
        download(tmp_path, lambda *_: None, HERE)
    convert(_archive(tmp_path), tmp_path, HERE)

    assert download(tmp_path, lambda *_: None, HERE) == []


def test_a_downloaded_archive_is_removed(tmp_path: Path) -> None:
    """
    Only the converted file stays.
    """
    archive = HERE.path(tmp_path).with_name(HERE.archive)
    archive.parent.mkdir(parents=True)
    _archive(tmp_path).rename(archive)

    made = download(tmp_path, lambda *_: None, HERE)

    assert made == [HERE.file]
    assert [each.name for each in archive.parent.iterdir()] == [HERE.file]
