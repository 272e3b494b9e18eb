import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from training.data import pen_digits, pen_letters
from training.data.pen_digits import PEN_DIGITS, read
from training.data.pen_letters import PEN_LETTERS
from training.data.unipen.conversion import convert, convert_letters, download
from training.errors import DataCorrupt, DownloadFailed

HERE = replace(PEN_DIGITS, donors=("abc",), addresses=())
"""Nothing is fetched from anywhere."""

UNIPEN = """\
.PEN_DOWN
 10 40
 20 40
 15 0
.PEN_UP
.PEN_DOWN
 12 20
 18 20
.SEGMENT CHARACTER 0-1 OK "7"
.SEGMENT CHARACTER 0 OK "x"
.SEGMENT CHARACTER 9 OK "1"
"""


def test_an_archive_is_converted(tmp_path: Path) -> None:
    """
    y downwards, larger side 1,000; other labels and broken segments are counted, other donors are ignored.
    """
    archive = tmp_path / "unipen"
    for donor in ("abc", "xyz"):
        (archive / "data" / "1a" / donor).mkdir(parents=True)
        (archive / "data" / "1a" / donor / "one.dat").write_text(UNIPEN)

    conversion = convert(archive, tmp_path, HERE)

    (seven,) = read(tmp_path, HERE)
    assert (seven.label, seven.donor, seven.writer) == (7, "abc", "abc/one")
    assert [stroke.tolist() for stroke in seven.strokes] == [
        [[0, 0], [250, 0], [125, 1000]],
        [[50, 500], [200, 500]],
    ]
    assert len(conversion.digits) == 1
    assert conversion.skipped == {"its label is no digit": 1, "its components are missing": 1}


LETTERS_HERE = replace(PEN_LETTERS, donors=("abc",))


def _write(archive: Path, category: str, donor: str = "abc") -> None:
    (archive / "data" / category / donor).mkdir(parents=True)
    (archive / "data" / category / donor / "one.dat").write_text(UNIPEN)


def test_letters_are_converted(tmp_path: Path) -> None:
    """
    Both cases, upper case first; the writer's name begins with the category. Digits, broken segments and
    other donors are left out.
    """
    for category, donor in (("1a", "abc"), ("1b", "abc"), ("1c", "abc"), ("1c", "xyz")):
        _write(tmp_path / "unipen", category, donor)

    count = convert_letters(tmp_path / "unipen", tmp_path, LETTERS_HERE)

    found = pen_letters.read(tmp_path, LETTERS_HERE)
    assert count == len(found) == 2
    assert [(each.label, each.donor, each.writer) for each in found] == [
        ("x", "abc", "1b/abc/one"),
        ("x", "abc", "1c/abc/one"),
    ]
    assert found[0].strokes[0].tolist() == [[0, 0], [250, 0], [125, 1000]]


def test_one_download_gives_digits_and_letters(tmp_path: Path) -> None:
    """
    Only the missing file is made; then nothing is fetched.
    """
    archive = HERE.path(tmp_path).with_name(HERE.archive)
    for made in (["digits.jsonl.gz", "letters.jsonl.gz"], ["letters.jsonl.gz"]):
        for category in ("1a", "1b", "1c"):
            if not (tmp_path / "unipen" / "data" / category).exists():
                _write(tmp_path / "unipen", category)
        archive.parent.mkdir(exist_ok=True)
        with tarfile.open(archive, "w:gz") as tape:
            tape.add(tmp_path / "unipen", "cdrom")

        assert download(tmp_path, lambda *_: None, HERE, LETTERS_HERE) == made
        assert not archive.exists()
        assert download(tmp_path, lambda *_: None, HERE, LETTERS_HERE) == []
        LETTERS_HERE.path(tmp_path).unlink()


def test_an_archive_without_these_donors_is_refused(tmp_path: Path) -> None:
    """
    No file is written.
    """
    (tmp_path / "unipen" / "data" / "1a" / "xyz").mkdir(parents=True)
    (tmp_path / "unipen" / "data" / "1a" / "xyz" / "one.dat").write_text(UNIPEN)

    with pytest.raises(DataCorrupt, match="digits of abc"):
        convert(tmp_path / "unipen", tmp_path, HERE)

    assert not PEN_DIGITS.path(tmp_path).exists()


@pytest.mark.parametrize(("limit", "value"), [("MAX_CONTENT_BYTES", 100), ("MAX_LINE_BYTES", 50)])
def test_digits_beyond_the_limits_leave_the_existing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    """Too many digits, or one that is too long."""
    (tmp_path / "unipen" / "data" / "1a" / "abc").mkdir(parents=True)
    (tmp_path / "unipen" / "data" / "1a" / "abc" / "one.dat").write_text(UNIPEN)
    convert(tmp_path / "unipen", tmp_path, HERE)
    before = HERE.path(tmp_path).read_bytes()
    (tmp_path / "unipen" / "data" / "1a" / "abc" / "two.dat").write_text(UNIPEN)
    monkeypatch.setattr(pen_digits, limit, value)

    with pytest.raises(DataCorrupt, match=f"at most {value}"):
        convert(tmp_path / "unipen", tmp_path, HERE)

    assert HERE.path(tmp_path).read_bytes() == before


def test_a_tiny_movement_is_a_dot(tmp_path: Path) -> None:
    (tmp_path / "unipen" / "data" / "1a" / "abc").mkdir(parents=True)
    text = '.COORD X Y\n.SEGMENT CHARACTER 0 OK "5"\n.PEN_DOWN\n0 0\n1e-320 0\n'
    (tmp_path / "unipen" / "data" / "1a" / "abc" / "one.dat").write_text(text)

    convert(tmp_path / "unipen", tmp_path, HERE)

    assert read(tmp_path, HERE)[0].strokes[0].tolist() == [[0, 0], [0, 0]]


def test_an_existing_archive_is_converted_without_a_download(tmp_path: Path) -> None:
    """
    The archive is deleted afterwards; a second call does nothing.
    """
    (tmp_path / "ink").mkdir()
    (tmp_path / "one.dat").write_text(UNIPEN)
    archive = tmp_path / "ink" / PEN_DIGITS.archive
    with tarfile.open(archive, "w:gz") as tape:
        tape.add(tmp_path / "one.dat", "train_r01_v07/data/1a/abc/one.dat")

    made, again = (download(tmp_path, lambda *_: None, HERE) for _ in range(2))

    assert made == ["digits.jsonl.gz"]
    assert again == []
    assert not archive.exists()
    assert len(read(tmp_path, HERE)) == 1


def test_without_a_mirror_the_download_fails(tmp_path: Path) -> None:
    """
    The message names the folder.
    """
    with pytest.raises(DownloadFailed, match="ink"):
        download(tmp_path, lambda *_: None, HERE)
