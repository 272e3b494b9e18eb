import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.core.drawing import photo
from training.data.flowers17 import FLOWERS17, PhotographSource, download, lesson_split
from training.errors import DataCorrupt, DataMissing, DownloadFailed


def _jpeg(number: int, side: int = 80) -> bytes:
    """A photograph of one colour that depends on its number."""
    file = io.BytesIO()
    Image.new("RGB", (side + 20, side), (20 * number, 0, 100)).save(file, "JPEG", quality=95)
    return file.getvalue()


def _archive(path: Path, members: Mapping[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


Members = dict[str, bytes]


@pytest.fixture
def members() -> Members:
    """Twelve photographs, not in order, and other files of the archive."""
    photographs = {f"jpg/image_{number:04d}.jpg": _jpeg(number) for number in (*range(7, 13), *range(1, 7))}
    return {"jpg/files.txt": b"image_0001.jpg\n", **photographs}


@pytest.fixture
def source(tmp_path: Path, members: Members) -> PhotographSource:
    """Two kinds of flowers, six of each: three to train, two to validate, one to test."""
    home = tmp_path / "flowers"
    home.mkdir()
    _archive(home / "tiny.tgz", members)
    parts = ["valid", "train", "test", "train", "valid", "train"] * 2
    rows = [f"id_{number:06d},{part},?,?" for number, part in enumerate(parts, 1)]
    (home / "tiny.csv").write_text("\n".join(["obs_id,train_id,class,class_name", *rows[::-1]]) + "\n")
    contents = b"".join(members[name] for name in sorted(members) if name.endswith(".jpg"))
    return PhotographSource(
        name="Tiny",
        folder="flowers",
        archive="tiny.tgz",
        archive_addresses=(),
        table="tiny.csv",
        table_addresses=(),
        classes=("rose", "lily"),
        images_per_class=6,
        split_sha256=hashlib.sha256(" ".join(parts).encode()).hexdigest(),
        copies={hashlib.sha256(contents).hexdigest(): "as made here"},
    )


def test_photographs_are_divided_as_in_the_table(tmp_path: Path, source: PhotographSource) -> None:
    """
    Each part has its photographs in the order of their numbers, with the class that follows from them.
    """
    split = lesson_split(tmp_path, source)

    numbers = {
        name: [round(float(image[..., 0].mean()) / 20) for image in part.pixels]
        for name, part in split.parts.items()
    }
    assert numbers == {"train": [2, 4, 6, 8, 10, 12], "valid": [1, 5, 7, 11], "test": [3, 9]}
    assert split.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert split.parts["test"].labels.tolist() == [0, 1]
    assert split.train.pixels.shape == (6, 64, 64, 3)
    assert split.train.pixels.dtype == np.uint8
    assert split.name == "lesson"


def test_photographs_are_preprocessed_as_by_the_service(
    tmp_path: Path, source: PhotographSource, members: Members
) -> None:
    """
    The pixels equal the service's preprocessing of the same file.
    """
    split = lesson_split(tmp_path, source)

    with Image.open(io.BytesIO(members["jpg/image_0003.jpg"])) as picture:
        expected = photo.prepare(picture)
    np.testing.assert_array_equal(split.parts["test"].pixels[0], expected)


def test_the_name_of_the_data_set_includes_the_copy(
    tmp_path: Path, source: PhotographSource, members: Members
) -> None:
    """
    A known copy has a name; another one is named by its digest.
    """
    known = lesson_split(tmp_path, source).data_set
    _archive(tmp_path / "flowers" / "tiny.tgz", members | {"jpg/image_0001.jpg": _jpeg(1, side=90)})
    other = lesson_split(tmp_path, source).data_set

    assert known == "Tiny, as made here"
    assert other.startswith("Tiny, a copy with SHA-256 ")


@pytest.mark.parametrize("name", ["tiny.tgz", "tiny.csv"])
def test_missing_files_are_named(tmp_path: Path, source: PhotographSource, name: str) -> None:
    """
    Without archive or table, the message says which is missing and how to get it.
    """
    (tmp_path / "flowers" / name).unlink()

    with pytest.raises(DataMissing, match="python -m training data") as caught:
        lesson_split(tmp_path, source)

    assert caught.value.names == (name,)


def _without_one(members: Members) -> Members:
    return {name: content for name, content in members.items() if name != "jpg/image_0005.jpg"}


def _one_too_many(members: Members) -> Members:
    return members | {"jpg/image_0013.jpg": _jpeg(1)}


def _no_picture(members: Members) -> Members:
    return members | {"jpg/image_0002.jpg": b"oops"}


def _half_a_picture(members: Members) -> Members:
    return members | {"jpg/image_0002.jpg": _jpeg(2)[:-100]}


def _another_form(members: Members) -> Members:
    file = io.BytesIO()
    Image.new("RGB", (80, 80)).save(file, "PNG")
    return members | {"jpg/image_0002.jpg": file.getvalue()}


def _a_huge_picture(members: Members) -> Members:
    file = io.BytesIO()
    Image.new("L", (5000, 1)).save(file, "JPEG")
    return members | {"jpg/image_0002.jpg": file.getvalue()}


def _a_huge_file(members: Members) -> Members:
    return members | {"jpg/more": bytes(5 * 2**20)}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_without_one, r"jpg/image_0012\.jpg; got 11 photographs"),
        (_one_too_many, "got 13 photographs"),
        (_no_picture, "photograph 2 should be a JPEG file"),
        (_half_a_picture, "photograph 2 should be a JPEG file"),
        (_another_form, "photograph 2 should be a JPEG file"),
        (_a_huge_picture, r"at most 4096 pixels a side; got \(5000, 1\)"),
        (_a_huge_file, "of at most 4,194,304 bytes; got number 14 of 5,242,880 bytes"),
    ],
)
def test_another_archive_is_refused(
    tmp_path: Path,
    source: PhotographSource,
    members: Members,
    change: Callable[[Members], Members],
    complaint: str,
) -> None:
    """
    Names, number, format and sizes are checked; the message names the expected value.
    """
    _archive(tmp_path / "flowers" / "tiny.tgz", change(members))

    with pytest.raises(DataCorrupt, match=complaint):
        lesson_split(tmp_path, source)


def test_links_and_strange_paths_are_not_followed(
    tmp_path: Path, source: PhotographSource, members: Members
) -> None:
    """
    A link instead of a photograph is ignored, and nothing is written to disk.
    """
    path = tmp_path / "flowers" / "tiny.tgz"
    _archive(path, {"../escaped.jpg": b"", **_without_one(members)})
    with tarfile.open(path) as archive:
        entries = [(member, archive.extractfile(member)) for member in archive.getmembers()]
        with tarfile.open(tmp_path / "linked.tgz", "w:gz") as linked:
            for member, content in entries:
                linked.addfile(member, content)
            link = tarfile.TarInfo("jpg/image_0005.jpg")
            link.type, link.linkname = tarfile.SYMTYPE, "image_0004.jpg"
            linked.addfile(link)
    (tmp_path / "linked.tgz").replace(path)

    with pytest.raises(DataCorrupt, match="got 11 photographs"):
        lesson_split(tmp_path, source)

    assert sorted(file.name for file in tmp_path.rglob("*")) == ["flowers", "tiny.csv", "tiny.tgz"]


@given(st.binary() | st.binary().map(lambda tail: b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + tail))
def test_an_archive_of_any_bytes_is_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """
    Any content raises the trainer's own error.
    """
    folder = tmp_path_factory.mktemp("any")
    tiny = replace(
        FLOWERS17, folder=".", split_sha256=hashlib.sha256(" ".join(["train"] * 1360).encode()).hexdigest()
    )
    rows = "\n".join(f"id_{number:06d},train" for number in range(1, 1361))
    (folder / tiny.table).write_text(f"obs_id,train_id\n{rows}\n")
    (folder / tiny.archive).write_bytes(content)

    with pytest.raises(DataCorrupt, match=r"17flowers\.tgz should be"):
        lesson_split(folder, tiny)


def test_an_archive_cut_short_is_refused(tmp_path: Path, source: PhotographSource) -> None:
    """
    A truncated archive is not accepted.
    """
    path = tmp_path / "flowers" / "tiny.tgz"
    path.write_bytes(path.read_bytes()[:-200])

    with pytest.raises(DataCorrupt, match=r"tiny\.tgz should be"):
        lesson_split(tmp_path, source)


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("id_000003,test", "id_000003,train", "parts with SHA-256"),
        ("id_000003", "id_000099", "KeyError"),
        ("obs_id", "id", "KeyError"),
        ("obs_id", "\xff", "UnicodeDecodeError"),
    ],
)
def test_another_table_is_refused(
    tmp_path: Path, source: PhotographSource, before: str, after: str, complaint: str
) -> None:
    """
    A changed part is detected.
    """
    table = tmp_path / "flowers" / "tiny.csv"
    table.write_text(table.read_text().replace(before, after), encoding="latin-1")

    with pytest.raises(DataCorrupt, match=complaint):
        lesson_split(tmp_path, source)


def test_valid_files_are_not_downloaded(tmp_path: Path, source: PhotographSource) -> None:
    """
    Valid files need no address; a broken one does.
    """
    nothing = download(tmp_path, lambda *_: None, source)
    (tmp_path / "flowers" / "tiny.tgz").write_bytes(b"oops")

    assert nothing == []
    with pytest.raises(DownloadFailed, match=r"tiny\.tgz"):
        download(tmp_path, lambda *_: None, source)


@pytest.mark.data
def test_the_real_split_is_the_lessons() -> None:
    """
    Forty photographs of each class in train, twenty in valid and twenty in test.
    """
    folder = os.environ.get("INKLING_DATA")
    if not folder:
        pytest.skip("INKLING_DATA does not name the folder with the real data sets")

    split = lesson_split(Path(folder))

    counts = {name: np.bincount(part.labels).tolist() for name, part in split.parts.items()}
    assert counts == {"train": [40] * 17, "valid": [20] * 17, "test": [20] * 17}
