import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from training.data.unipen import archive as archives
from training.data.unipen.reader import read
from training.errors import DataCorrupt

DIGIT = '.COORD X Y\n.SEGMENT CHARACTER 0 OK "5"\n.PEN_DOWN\n1 1\n5 9\n'


def test_an_archive_that_decompresses_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Sizes are summed while members are read.
    """
    archive = tmp_path / "unipen.tgz"
    (tmp_path / "one.dat").write_text(DIGIT)
    with tarfile.open(archive, "w:gz") as tape:
        tape.add(tmp_path / "one.dat", "data/1a/abc/w1.dat")
    monkeypatch.setattr(archives, "MAX_ARCHIVE_BYTES", 10)

    with pytest.raises(DataCorrupt, match="at most 10 bytes uncompressed"):
        list(read(archive))


def _zipped(path: Path, text: str, wrapping: int) -> bytes:
    with zipfile.ZipFile(path, "w", wrapping) as archive:
        archive.writestr("data/1a/abc/one.dat", text)
    return path.read_bytes()


@pytest.mark.parametrize("wrapping", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_zip_compressions_are_refused(tmp_path: Path, wrapping: int) -> None:
    _zipped(tmp_path / "u.zip", DIGIT, wrapping)
    with pytest.raises(DataCorrupt, match="neither stored nor deflated"):
        list(read(tmp_path / "u.zip"))


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    whole = bytearray(_zipped(tmp_path / "u.zip", DIGIT, zipfile.ZIP_DEFLATED))
    whole[whole.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "u.zip").write_bytes(whole)
    with pytest.raises(DataCorrupt, match="encrypted"):
        list(read(tmp_path / "u.zip"))


def test_a_zip_is_read_to_its_declared_size_only(tmp_path: Path) -> None:
    size = 50_000_000
    whole = _zipped(tmp_path / "u.zip", DIGIT + " " * (size - len(DIGIT)), zipfile.ZIP_DEFLATED)
    (tmp_path / "u.zip").write_bytes(whole.replace(size.to_bytes(4, "little"), (500).to_bytes(4, "little")))
    tracemalloc.start()
    try:
        with pytest.raises(DataCorrupt, match="CRC"):
            list(read(tmp_path / "u.zip"))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_the_total_size_of_files_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data/1a/abc").mkdir(parents=True)
    for number in range(3):
        (tmp_path / f"data/1a/abc/{number}.dat").write_text(DIGIT)
    assert len(list(read(tmp_path))) == 3
    monkeypatch.setattr(archives, "MAX_READ_BYTES", 3 * len(DIGIT) - 1)
    with pytest.raises(DataCorrupt, match="bytes of these files"):
        list(read(tmp_path))
