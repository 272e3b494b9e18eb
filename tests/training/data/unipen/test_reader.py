import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from training.data.unipen.parser import Segment
from training.data.unipen.reader import check, read
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


def points(segment: Segment) -> list[list[list[float]]]:
    return [stroke.tolist() for stroke in segment.strokes]


def _as_folder(path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text, "latin-1")
    return path


def _as_tar(path: Path, files: dict[str, str]) -> Path:
    archive = path / "unipen.tgz"
    with tarfile.open(archive, "w:gz") as tape:
        for name, text in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(text.encode("latin-1"))
            tape.addfile(member, io.BytesIO(text.encode("latin-1")))
    return archive


def _as_zip(path: Path, files: dict[str, str]) -> Path:
    archive = path / "unipen.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text.encode("latin-1"))
    return archive


@pytest.mark.parametrize("pack", [_as_folder, _as_tar, _as_zip])
@pytest.mark.parametrize("root", ["", "CDROM/train_r01_v07/"])
def test_a_folder_and_an_archive_give_the_same(
    tmp_path: Path, pack: Callable[[Path, dict[str, str]], Path], root: str
) -> None:
    """
    Sorted by writer; only the requested category; any line ends; nested includes.
    """
    files = {
        "data/1a/xyz/w2.dat": '.INCLUDE xyz/data/w2\r\n.SEGMENT CHARACTER 0 OK "2"\r\n',
        "data/1a/abc/sub/w1.dat": '.INCLUDE abc/data/one.dat\n.SEGMENT CHARACTER 3 OK "4"\n',
        "data/1b/abc/w9.dat": '.INCLUDE abc/data/one.dat\n.SEGMENT CHARACTER 3 OK "A"\n',
        "include/abc/data/one.dat": INK + ".COMMENT caf\xe9\n",
        "include/xyz/data/w2": ".INCLUDE xyz/data/w2.ink\r\n",
        "include/xyz/data/w2.ink": ".PEN_DOWN\r\n7 8\r\n",
    }

    found = list(read(pack(tmp_path, {root + name: text for name, text in files.items()})))

    assert [(each.writer, each.label, points(each)) for each in found] == [
        ("abc/sub/w1", "4", [[[6, 30]]]),
        ("xyz/w2", "2", [[[7, 8]]]),
    ]


def test_an_invalid_archive_is_refused(tmp_path: Path) -> None:
    """
    Other bytes, a truncated archive, and one without digits.
    """
    (tmp_path / "bytes").write_bytes(b"no archive at all")
    whole = _as_tar(tmp_path, {"data/1a/abc/w1.dat": INK * 200}).read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    other = tmp_path / "other"
    other.mkdir()
    _as_tar(other, {"data/1b/abc/w1.dat": INK})

    for path in (tmp_path / "bytes", tmp_path / "cut", other / "unipen.tgz"):
        with pytest.raises(DataCorrupt):
            list(read(path))
        with pytest.raises(DataCorrupt):
            check(path)
