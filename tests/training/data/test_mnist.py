import gzip
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from training.data.examples import Examples, Split
from training.data.mnist import IdxFile, IdxSource, download, lesson_split, official_split, parse_idx
from training.errors import DataCorrupt, DataError, DataMissing, DownloadFailed

Idx = Callable[[NDArray[np.uint8]], bytes]


@pytest.fixture(scope="module")
def real() -> Split:
    folder = os.environ.get("INKLING_DATA")
    if not folder:
        pytest.skip("INKLING_DATA does not name the folder with the real data sets")
    return official_split(Path(folder))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _mirror(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP on this machine; yield its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def _ignore(name: str, done: int, total: int) -> None:
    pass


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)))
def test_an_idx_file_round_trips(idx: Idx, array: NDArray[np.uint8]) -> None:
    """
    Parsing inverts writing, for every shape.
    """
    read = parse_idx(idx(array), "x")

    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.uint8


@given(st.binary() | st.binary().map(lambda tail: b"\0\0\x08\x02" + tail))
def test_arbitrary_bytes_are_parsed_or_refused(content: bytes) -> None:
    """
    The parser returns an array or raises its own error.
    """
    try:
        array = parse_idx(content, "x")
    except DataCorrupt:
        return

    assert array.size == len(content) - 4 - 4 * array.ndim


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", r"\(none\)"),
        (b"\0\0\x0d\x01\0\0\0\0", "0x00000d01"),  # floats
        (b"\0\0\x08\x00", "0x00000800"),  # no dimension
        (b"\x1f\x8b\x08\x00", "0x1f8b0800"),  # still wrapped
        (b"\0\0\x08\x02\0\0\0\x01", "at least its header of 12 bytes; got 8"),
        (b"\0\0\x08\x01\0\0\0\x02\x05", r"2 elements for shape \(2,\); got 1"),
        (b"\0\0\x08\x01\0\0\0\x02\x05\x05\x05", r"2 elements for shape \(2,\); got 3"),
        (b"\0\0\x08\x04" + b"\xff" * 16, "got 0"),
    ],
)
def test_a_broken_idx_file_is_refused(content: bytes, complaint: str) -> None:
    """
    Magic number, header and length are checked; the message names the expected value.
    """
    with pytest.raises(DataCorrupt, match=complaint):
        parse_idx(content, "x")


def test_a_data_set_is_read_as_whole_arrays(tmp_path: Path, source: IdxSource) -> None:
    """
    The official split has the declared shapes, uint8 pixels and int64 labels.
    """
    split = official_split(tmp_path / "data", source)

    assert split.train.pixels.shape == (80, 28, 28)
    assert split.train.pixels.dtype == np.uint8
    assert split.parts["test"].labels.dtype == np.int64
    assert split.parts["test"].labels.tolist() == np.repeat(np.arange(10), 4).tolist()
    assert list(split.parts) == ["train", "test"]


@pytest.mark.parametrize(
    ("folder", "rename", "packed"),
    [
        ("tiny", str, False),
        ("tiny", lambda name: name.removesuffix(".gz"), False),
        ("tiny", lambda name: name.removesuffix(".gz").replace("-idx", ".idx"), False),
        ("tiny/raw", str, True),
        ("Tiny/raw", lambda name: name.removesuffix(".gz"), False),
    ],
    ids=["unpacked under its name", "unpacked", "unpacked by Safari", "raw", "torchvision"],
)
def test_files_are_found_where_others_put_them(
    tmp_path: Path, source: IdxSource, folder: str, rename: Callable[[str], str], packed: bool
) -> None:
    """
    Unpacked by a browser, or in torchvision's folders; nothing is downloaded then.
    """
    expected = official_split(tmp_path / "data", source)
    target = tmp_path / "other" / folder
    target.mkdir(parents=True)
    for file in source.files:
        content = (tmp_path / "data" / "tiny" / file.name).read_bytes()
        (target / rename(file.name)).write_bytes(content if packed else gzip.decompress(content))

    found = official_split(tmp_path / "other", source)

    np.testing.assert_array_equal(found.train.pixels, expected.train.pixels)
    assert download(tmp_path / "other", _ignore, source) == []


def test_missing_files_are_named_with_instructions(tmp_path: Path, source: IdxSource) -> None:
    """
    The message names the files, the command and the environment variable.
    """
    (tmp_path / "data" / "tiny" / "test-labels.gz").unlink()

    with pytest.raises(DataMissing) as caught:
        official_split(tmp_path / "data", source)

    assert caught.value.names == ("test-labels.gz",)
    assert "python -m training data" in str(caught.value)
    assert "INKLING_DATA" in str(caught.value)


def test_another_content_is_refused_by_its_digest(tmp_path: Path, source: IdxSource, idx: Idx) -> None:
    """
    A valid file with other values is not the data set.
    """
    other = idx(np.zeros(40, np.uint8))
    (tmp_path / "data" / "tiny" / "test-labels.gz").write_bytes(gzip.compress(other))

    with pytest.raises(DataCorrupt, match=hashlib.sha256(other).hexdigest()):
        official_split(tmp_path / "data", source)


def test_another_compression_of_the_same_content_is_accepted(tmp_path: Path, source: IdxSource) -> None:
    """
    Digests are of the uncompressed content, since mirrors compress differently.
    """
    path = tmp_path / "data" / "tiny" / "train-images.gz"
    before = path.read_bytes()
    path.write_bytes(gzip.compress(gzip.decompress(before), compresslevel=1, mtime=99))

    split = official_split(tmp_path / "data", source)

    assert path.read_bytes() != before
    assert len(split.train) == 80


@given(st.binary() | st.binary().map(lambda tail: b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + tail))
def test_a_file_of_any_bytes_is_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """
    Any content raises the trainer's own error.
    """
    folder = tmp_path_factory.mktemp("any")
    file = IdxFile("x.gz", "0" * 64, (1,))
    source = IdxSource("Any", ".", (), ("0", "1"), (1, 1, 1), file, file, file, file)
    (folder / "x.gz").write_bytes(content)

    with pytest.raises(DataCorrupt, match=r"x\.gz should be"):
        official_split(folder, source)


def test_a_file_cut_short_is_refused(tmp_path: Path, source: IdxSource) -> None:
    """
    A truncated file is not accepted.
    """
    path = tmp_path / "data" / "tiny" / "train-images.gz"
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(DataCorrupt, match="a complete gzip file"):
        official_split(tmp_path / "data", source)


def test_the_lesson_split_has_equally_many_of_every_class(official: Split) -> None:
    """
    Every part has its count of each class, and no image is in two parts.
    """
    split = lesson_split(official, seed=5, counts=(12, 6, 3))

    for part, count in zip(split.parts.values(), (12, 6, 3), strict=True):
        assert np.bincount(part.labels).tolist() == [count] * 3
    images = np.concatenate([part.pixels for part in split.parts.values()]).reshape(63, -1)
    assert len(np.unique(images, axis=0)) == 63


def test_the_lesson_split_uses_train_and_test_images(official: Split) -> None:
    """
    As the lesson's own split does.
    """
    split = lesson_split(official, seed=5, counts=(12, 6, 3))

    known = {image.tobytes() for image in official.parts["test"].pixels}
    shared = sum(image.tobytes() in known for image in split.train.pixels)
    assert 0 < shared < len(split.train)


def test_the_lesson_split_depends_on_its_seed_alone(official: Split) -> None:
    """
    The same seed gives the same split; another seed gives another.
    """
    once, again, other = (lesson_split(official, seed, counts=(12, 6, 3)).train.sha256 for seed in (5, 5, 6))

    assert once == again
    assert once != other


def test_a_class_with_too_few_images_is_named(official: Split) -> None:
    """
    The error names the class.
    """
    with pytest.raises(DataCorrupt, match="at least 31 images of class 0; got 30"):
        lesson_split(official, seed=5, counts=(20, 10, 1))


def test_a_digest_is_of_pixels_then_labels() -> None:
    """
    The digest in a manifest can be computed from the files' bytes.
    """
    examples = Examples(np.arange(8, dtype=np.uint8).reshape(2, 2, 2), np.array([3, 1]))

    assert examples.sha256 == hashlib.sha256(bytes([0, 1, 2, 3, 4, 5, 6, 7, 3, 1])).hexdigest()


def test_a_data_set_is_downloaded_once(tmp_path: Path, source: IdxSource) -> None:
    """
    All four files are downloaded with progress; a second call does nothing.
    """
    told: dict[str, tuple[int, int]] = {}

    def progress(name: str, done: int, total: int) -> None:
        told[name] = done, total

    with _mirror(tmp_path / "data" / "tiny") as address:
        near = replace(source, mirrors=(address,))
        first = download(tmp_path / "new", progress, near)
        second = download(tmp_path / "new", progress, near)

    assert first == [file.name for file in source.files]
    assert second == []
    assert sorted(path.name for path in (tmp_path / "new" / "tiny").iterdir()) == sorted(first)
    assert all(done == total > 0 for done, total in told.values())
    assert len(official_split(tmp_path / "new", source).train) == 80


def test_the_second_mirror_is_used_if_the_first_fails(tmp_path: Path, source: IdxSource) -> None:
    """
    A mirror without the file, or with another one, is skipped.
    """
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "train-images.gz").write_bytes(gzip.compress(b"something else"))

    with (
        _mirror(tmp_path / "wrong") as wrong,
        _mirror(tmp_path / "data" / "tiny") as right,
    ):
        download(tmp_path / "new", _ignore, replace(source, mirrors=(wrong, right)))

    assert len(official_split(tmp_path / "new", source).train) == 80


def test_a_corrupt_file_is_downloaded_again(tmp_path: Path, source: IdxSource) -> None:
    """
    Valid files are kept.
    """
    with _mirror(tmp_path / "data" / "tiny") as address:
        near = replace(source, mirrors=(address,))
        download(tmp_path / "new", _ignore, near)
        (tmp_path / "new" / "tiny" / "test-images.gz").write_bytes(b"oops")
        fetched = download(tmp_path / "new", _ignore, near)

    assert fetched == ["test-images.gz"]


def test_a_file_with_other_content_is_kept(tmp_path: Path, source: IdxSource) -> None:
    """
    Under another name, since it may be data of a person's own.
    """
    there = tmp_path / "there" / "tiny" / source.files[0].name
    there.parent.mkdir(parents=True)
    there.write_bytes(b"my own")
    with _mirror(tmp_path / "data" / "tiny") as address:
        download(tmp_path / "there", _ignore, replace(source, mirrors=(address,)))

    assert there.with_name(f"{there.name}.kept-1").read_bytes() == b"my own"
    assert official_split(tmp_path / "there", source)


def test_a_failed_download_gives_reasons_and_leaves_no_file(tmp_path: Path, source: IdxSource) -> None:
    """
    The message has the reason of each mirror, and instructions.
    """
    (tmp_path / "empty").mkdir()

    with _mirror(tmp_path / "empty") as empty:
        gone = "http://127.0.0.1:1/"
        mirrors = (empty, gone, "file:///")
        with pytest.raises(DownloadFailed) as caught:
            download(tmp_path / "new", _ignore, replace(source, mirrors=mirrors))

    first = "train-images.gz"
    assert "404" in caught.value.reasons[empty + first]
    assert "refused" in caught.value.reasons[gone + first]
    assert caught.value.reasons["file:///" + first] == "its address is neither http nor https"
    assert "INKLING_DATA" in str(caught.value)
    assert list((tmp_path / "new" / "tiny").iterdir()) == []


def test_an_interrupted_download_leaves_no_file(tmp_path: Path, source: IdxSource) -> None:
    """
    Ctrl-C during a download leaves no incomplete file.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with _mirror(tmp_path / "data" / "tiny") as address, pytest.raises(KeyboardInterrupt):
        download(tmp_path / "new", interrupt, replace(source, mirrors=(address,)))

    assert list((tmp_path / "new" / "tiny").iterdir()) == []


def test_data_errors_have_one_base_class() -> None:
    """
    The command line catches them by one name.
    """
    assert all(issubclass(kind, DataError) for kind in (DataMissing, DataCorrupt, DownloadFailed))


@pytest.mark.data
def test_the_real_files_are_mnist(real: Split) -> None:
    """
    Sizes, mean and standard deviation are the known ones.
    """
    pixels = real.train.pixels / 255

    assert (len(real.train), len(real.parts["test"])) == (60_000, 10_000)
    assert round(float(pixels.mean()), 4) == 0.1307
    assert round(float(pixels.std()), 4) == 0.3081


@pytest.mark.data
def test_the_lesson_split_of_the_real_files_has_its_sizes(real: Split) -> None:
    """
    30,000 train, 15,000 valid and 15,000 test images, equally many of each digit.
    """
    split = lesson_split(real, seed=1)

    assert [len(part) for part in split.parts.values()] == [30_000, 15_000, 15_000]
    assert np.bincount(split.valid.labels if split.valid else []).tolist() == [1500] * 10
