"""Every form of own data is detected by what it is, and read; what does not fit is named."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from training.data.own.detection import read
from training.data.own.records import TEST, TRAIN, VALID, WHOLE
from training.errors import DataRefused, ExtraMissing

Idx = Callable[[NDArray[np.uint8]], bytes]

PIXELS = np.arange(6 * 5 * 4, dtype=np.uint8).reshape(6, 5, 4)
SQUARES = np.arange(6 * 16, dtype=np.uint8).reshape(6, 4, 4)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.uint8)


def _write_idx(folder: Path, idx: Idx, names: tuple[str, str], packed: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(names, (PIXELS, LABELS), strict=True):
        content = idx(array)
        (folder / name).write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize(
    ("folder", "images", "packed"),
    [
        (".", "{}-images-idx3-ubyte.gz", True),
        (".", "{}-images-idx3-ubyte", False),
        (".", "{}-images.idx3-ubyte", False),  # unpacked by a browser
        (".", "{}-images-idx3-ubyte.gz", False),  # unpacked by a browser that keeps the name
        ("FashionMNIST/raw", "{}-images-idx3-ubyte", False),  # torchvision's folders
    ],
)
def test_idx_pairs_are_read_as_they_lie_about(
    tmp_path: Path, idx: Idx, folder: str, images: str, packed: bool
) -> None:
    """
    Gzipped or not, under each usual name, in the folder or in torchvision's.
    """
    for part in ("train", "t10k"):
        name = images.format(part)
        _write_idx(
            tmp_path / folder, idx, (name, name.replace("images", "labels").replace("idx3", "idx1")), packed
        )

    found = read(tmp_path)

    assert set(found.parts) == {TRAIN, TEST}
    np.testing.assert_array_equal(found.parts[TRAIN].content, PIXELS)
    assert list(found.parts[TEST].labels) == ["0", "1", "2", "0", "1", "2"]


def test_emnist_is_turned_upright_and_named_by_its_mapping(tmp_path: Path, idx: Idx) -> None:
    """
    Its images are stored column by column; a class of two characters has both in its name.
    """
    _write_idx(
        tmp_path, idx, ("emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte")
    )
    (tmp_path / "emnist-letters-mapping.txt").write_text("0 65 97\n1 66 98\n2 67 99\n")

    found = read(tmp_path)

    np.testing.assert_array_equal(found.parts[TRAIN].content, PIXELS.transpose(0, 2, 1))
    assert list(found.parts[TRAIN].labels[:3]) == ["Aa", "Bb", "Cc"]
    assert any("turned upright" in remark for remark in found.remarks)


def test_one_of_several_data_sets_is_chosen_by_a_file(tmp_path: Path, idx: Idx) -> None:
    """
    EMNIST's archive has six; a folder of several is refused with their names.
    """
    for kind in ("digits", "letters"):
        for part in ("train", "test"):
            names = f"emnist-{kind}-{part}-images-idx3-ubyte", f"emnist-{kind}-{part}-labels-idx1-ubyte"
            _write_idx(tmp_path, idx, names)

    with pytest.raises(DataRefused, match="of one data set"):
        read(tmp_path)
    found = read(tmp_path / "emnist-digits-train-images-idx3-ubyte")

    assert set(found.parts) == {TRAIN, TEST}
    assert found.parts[TRAIN].names[0] == "emnist-digits-train-images-idx3-ubyte, row 1"


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [(None, "with the labels of train-images-idx3-ubyte"), (LABELS[:5], "of 6 labels, one per image")],
)
def test_idx_without_fitting_labels_is_refused(
    tmp_path: Path, idx: Idx, labels: NDArray[np.uint8] | None, complaint: str
) -> None:
    """
    The file is named.
    """
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(PIXELS))
    if labels is not None:
        (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels))

    with pytest.raises(DataRefused, match=complaint):
        read(tmp_path)


@pytest.mark.parametrize(
    "names", [("x_train", "y_train", "x_test", "y_test"), ("X", "y"), ("images", "labels")]
)
def test_npz_archives_are_read_by_the_usual_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    """
    As Keras writes them, or one pair.
    """
    arrays = dict(zip(names, (PIXELS, LABELS) * 2, strict=False))
    np.savez(tmp_path / "data.npz", allow_pickle=True, **arrays)

    found = read(tmp_path / "data.npz", ("a", "b", "c"))

    assert set(found.parts) == ({TRAIN, TEST} if len(names) == 4 else {WHOLE})
    assert list(next(iter(found.parts.values())).labels) == ["a", "b", "c", "a", "b", "c"]


@pytest.mark.parametrize(
    "images",
    [
        SQUARES.astype(np.int64),
        SQUARES / np.float32(255),
        SQUARES[..., None],
        SQUARES[:, None],
        SQUARES.reshape(6, 16),
        SQUARES.astype(np.float64),
    ],
    ids=["int64", "0 to 1", "one colour last", "one colour first", "flat", "floats to 255"],
)
@pytest.mark.parametrize(
    "labels", [LABELS, LABELS[:, None], np.eye(3)[LABELS], np.array(list("012012"))], ids=str
)
def test_arrays_of_every_usual_shape_and_type_are_the_same_images(
    tmp_path: Path, images: NDArray[np.float64], labels: NDArray[np.float64]
) -> None:
    """
    Scaled, squeezed and reshaped; labels as numbers, columns, texts or one-hot rows.
    """
    np.savez(tmp_path / "data.npz", allow_pickle=True, x=images, y=labels)

    part = read(tmp_path / "data.npz").parts[WHOLE]

    np.testing.assert_array_equal(part.content, SQUARES)
    assert list(part.labels) == list("012012")


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"a": PIXELS}, "with x_train and y_train.*got a"),
        ({"x": PIXELS - 300.0, "y": LABELS}, "from 0 to 255"),
        ({"x": PIXELS * np.nan, "y": LABELS}, "from 0 to 255"),
        ({"x": PIXELS, "y": LABELS[:4]}, "4 images, one per label"),
        ({"x": PIXELS, "y": np.array([object()] * 6)}, "without pickled objects"),
        ({"x": np.zeros((6, 15)), "y": LABELS}, "rows of a square"),
    ],
)
def test_a_wrong_npz_is_refused(
    tmp_path: Path, arrays: dict[str, NDArray[np.float64]], complaint: str
) -> None:
    """
    With what was expected; pickled objects are never loaded.
    """
    np.savez(tmp_path / "data.npz", allow_pickle=True, **arrays)

    with pytest.raises(DataRefused, match=complaint):
        read(tmp_path / "data.npz")


def _rows(count: int = 6) -> list[str]:
    return [f"{'abc'[row % 3]},{','.join(map(str, SQUARES[row].ravel()))}" for row in range(count)]


HEADER = "label," + ",".join(f"pixel{place}" for place in range(16))


@pytest.mark.parametrize(
    "text",
    [
        "\n".join([HEADER, *_rows()]),
        "\ufeff" + "\r\n".join([HEADER, *_rows(), ""]),
        "\n".join(_rows()),
        "\n".join([HEADER, *_rows()]).replace(",", ";"),
        "\n".join(f"{line.partition(',')[2]},{line.partition(',')[0]}" for line in [HEADER, *_rows()]),
    ],
    ids=["Kaggle's", "BOM and CRLF", "no header", "semicolons", "label last"],
)
def test_tables_of_pixels_are_read(tmp_path: Path, text: str) -> None:
    """
    The label is in its column, otherwise the first one.
    """
    (tmp_path / "digits.csv").write_text(text, "utf-8", newline="")

    part = read(tmp_path / "digits.csv").parts[WHOLE]

    np.testing.assert_array_equal(part.content, SQUARES)
    assert list(part.labels) == list("abcabc")


def test_rows_that_do_not_fit_are_left_out_by_line(tmp_path: Path) -> None:
    """
    All other rows are used.
    """
    bad = ["a,1,2", "b," + ",".join(["x"] * 16), "c," + ",".join(["256"] * 16), "," + ",".join(["1"] * 16)]
    (tmp_path / "digits.csv").write_text("\n".join([HEADER, *_rows(), *bad]))

    found = read(tmp_path / "digits.csv")

    assert len(found.parts[WHOLE]) == 6
    assert [each.name for each in found.left_out] == [f"digits.csv, line {line}" for line in (8, 9, 10, 11)]
    assert "should have 17 cells; got 3" in found.left_out[0].reason


def test_a_table_without_labels_is_not_used(tmp_path: Path) -> None:
    """
    Kaggle's test.csv has pixels alone; the train table is divided then.
    """
    (tmp_path / "train.csv").write_text("\n".join([HEADER, *_rows()]))
    pixels = "\n".join(line.partition(",")[2] for line in [HEADER, *_rows()])
    (tmp_path / "test.csv").write_text(pixels)

    found = read(tmp_path)

    assert set(found.parts) == {WHOLE}
    assert found.remarks == ["test.csv has no labels and is not used."]


def _line(**changes: object) -> str:
    return json.dumps({"label": "a", "writer": "w1", "strokes": [[0, 0, 10, 20]]} | changes)


def test_strokes_are_read_flat_or_as_points(tmp_path: Path) -> None:
    """
    With writer and donor where all lines have them; gzipped or not.
    """
    lines = [_line(), _line(label=7, strokes=[[[0, 0], [10, 20]], []], donor="x")]
    (tmp_path / "drawn.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))

    part = read(tmp_path / "drawn.jsonl.gz").parts[WHOLE]

    assert list(part.labels) == ["a", "7"]
    assert (list(part.writers), list(part.donors)) == (["w1", "w1"], [])
    for drawing in part.content:
        assert isinstance(drawing, tuple)
        np.testing.assert_array_equal(drawing[0], [[0, 0], [10, 20]])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "a JSON object"),
        ("[]", "an object with label and strokes"),
        (_line(label=None), "its label should be a text or an integer"),
        (_line(label=" "), "its label should be a text or an integer"),
        (_line(strokes=[]), "should have a stroke"),
        (_line(strokes=[[1, 2, 3]]), "a list x0, y0, x1, y1"),
        (_line(strokes=[["x", 2]]), "a list of numbers"),
        (_line(strokes=[[1, float("nan")]]), "within ±1e9"),
        (_line(strokes=[[1, [2]]]), "a list of numbers"),
        (_line(strokes={"x": 1}), "should be a list"),
    ],
)
def test_a_line_that_does_not_fit_is_left_out(tmp_path: Path, line: str, reason: str) -> None:
    """
    It is named by its number.
    """
    (tmp_path / "drawn.jsonl").write_text(f"{_line()}\n{line}\n")

    found = read(tmp_path / "drawn.jsonl")

    assert len(found.parts[WHOLE]) == 1
    assert found.left_out[0].name == "drawn.jsonl, line 2"
    assert reason in found.left_out[0].reason


def _pictures(folder: Path, names: tuple[str, ...] = ("oak", "fir")) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (9, 8), (number, 9, 9)).save(folder / name / f"{number}.png")


def test_a_folder_of_pictures_per_class_is_read(tmp_path: Path) -> None:
    """
    The folder's name is the label, any text; hidden files and the system's are ignored, others named.
    """
    _pictures(tmp_path, ("Ahorn, groß", "fir"))
    (tmp_path / "fir" / ".DS_Store").write_bytes(b"")
    (tmp_path / "fir" / "notes.txt").write_text("x")
    Image.new("L", (3, 3)).save(tmp_path / "astray.png")

    found = read(tmp_path)

    assert list(found.parts[WHOLE].labels) == ["Ahorn, groß"] * 2 + ["fir"] * 2
    assert [each.name for each in found.left_out] == ["fir/notes.txt", "astray.png"]


def test_given_parts_are_kept(tmp_path: Path) -> None:
    """
    Folders train, val and test, each with a folder per class.
    """
    for part in ("train", "val", "test"):
        _pictures(tmp_path / part)

    assert set(read(tmp_path).parts) == {TRAIN, VALID, TEST}


def test_parquet_has_pictures_and_named_labels(tmp_path: Path) -> None:
    """
    As Hugging Face writes it: bytes in a struct, names of the labels in the file's description.
    """
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    _pictures(tmp_path / "pictures")
    content = (tmp_path / "pictures" / "oak" / "0.png").read_bytes()
    features = {"info": {"features": {"label": {"names": ["fir", "oak"], "_type": "ClassLabel"}}}}
    table = pyarrow.table(
        {"image": [{"bytes": content, "path": "x"}, {"bytes": None, "path": "y"}], "label": [1, 0]}
    ).replace_schema_metadata({"huggingface": json.dumps(features)})
    (tmp_path / "data").mkdir()
    parquet.write_table(table, tmp_path / "data" / "train-00000-of-00001.parquet")

    found = read(tmp_path / "data")

    assert list(found.parts[WHOLE].labels) == ["oak"]
    assert list(found.parts[WHOLE].content) == [content]
    assert found.left_out[0].name == "train-00000-of-00001.parquet, row 2"


def test_parquet_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The extra is named.
    """
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    monkeypatch.delitem(__import__("sys").modules, "training.data.own.forms.parquet", raising=False)
    (tmp_path / "x.parquet").write_bytes(b"PAR1")

    with pytest.raises(ExtraMissing, match=r"pip install -e '.\[parquet\]'"):
        read(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nowhere", "a file or a folder; got nothing there"),
        ("leaves.zip", "unpacked first"),
        (
            "leaves.doc",
            "one of: a folder with a folder of pictures per class; IDX files.*got a file leaves.doc",
        ),
        ("empty", "one of: .*got an empty folder"),
    ],
)
def test_anything_else_is_refused_with_all_forms(tmp_path: Path, name: str, complaint: str) -> None:
    """
    The message says what is there.
    """
    (tmp_path / "empty").mkdir()
    for file in ("leaves.zip", "leaves.doc"):
        (tmp_path / file).write_bytes(b"content")

    with pytest.raises(DataRefused, match=complaint):
        read(tmp_path / name)


def test_a_table_beside_another_form_describes_it(tmp_path: Path, idx: Idx) -> None:
    """
    The lesson's table of MNIST is beside MNIST's files.
    """
    _write_idx(tmp_path, idx, ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"))
    (tmp_path / "mnist_10.csv").write_text("obs_id,train_id,class\n1,train,7\n")

    assert read(tmp_path).form == "IDX files"


def test_two_forms_in_one_folder_are_refused(tmp_path: Path) -> None:
    """
    Nothing is guessed.
    """
    np.savez(tmp_path / "data.npz", allow_pickle=True, x=PIXELS, y=LABELS)
    (tmp_path / "drawn.jsonl").write_text(_line())

    with pytest.raises(DataRefused, match="of one form; name one file"):
        read(tmp_path)
