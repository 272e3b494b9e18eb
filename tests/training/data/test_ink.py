from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.core.drawing import mnist as preparation
from service.core.drawing.mnist import from_strokes
from service.core.errors import BlankImage
from training.data import data_sets, ink, mnist, pen_letters
from training.data import pen_digits as digit_file
from training.data.ink import (
    CANVAS_KINDS,
    HELD_OUT_DONORS,
    InkData,
    held_out_split,
    published_split,
    read,
    render_digits,
)
from training.data.mnist import IdxSource
from training.data.pen_digits import PenDigit
from training.data.pen_letters import PenLetter
from training.errors import DataMissing
from training.recipes.registry import RECIPES
from training.synthesis.canvases import generated

HELD_BACK = 20
"""Of the tiny MNIST's 80 training images."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, source: IdxSource) -> None:
    monkeypatch.setattr(mnist, "official_split", partial(mnist.official_split, source=source))
    monkeypatch.setattr(ink, "MNIST_HELD_OUT", HELD_BACK)
    monkeypatch.setattr(ink, "NONDIGITS", 5)
    monkeypatch.setattr(generated, "MAX_SIDE", 220)  # small ones are drawn and prepared sooner


@pytest.fixture
def data(tmp_path: Path, pen_digits: tuple[PenDigit, ...]) -> Path:
    """A data folder with the tiny MNIST and the synthetic pen digits."""
    digit_file.write(digit_file.PEN_DIGITS.path(tmp_path / "data"), pen_digits)
    return tmp_path / "data"


@pytest.fixture
def everything(data: Path, tmp_path: Path) -> InkData:
    return read(data, tmp_path / "scratch", lambda _: None)[1]


def _rows(pixels: NDArray[np.uint8]) -> set[bytes]:
    return {image.tobytes() for image in pixels}


def test_everything_is_read(
    data: Path, tmp_path: Path, source: IdxSource, pen_digits: tuple[PenDigit, ...]
) -> None:
    """
    MNIST's training images, all pen digits, canvases of every kind of each, and non-digits.
    """
    official, found = read(data, tmp_path / "scratch", lambda _: None)

    assert (official.data_set, len(official.parts["test"])) == (source.name, 40)
    assert found.mnist is official.train
    assert digit_file.digest(found.digits) == digit_file.digest(pen_digits)
    assert found.canvases.pixels.shape == (len(pen_digits) * len(CANVAS_KINDS), 28, 28)
    assert found.canvases.labels.tolist() == [pen_digits[place].label for place in found.canvas_digits]
    assert found.canvas_kinds.tolist() == list(CANVAS_KINDS) * len(pen_digits)
    assert (
        len(found.canvases_of_kind("scan")) == 2 * len(found.canvases_of_kind("tools")) == 2 * len(pen_digits)
    )
    assert len(found.nondigits) == 5


def test_missing_pen_strokes_are_named(tmp_path: Path, source: IdxSource) -> None:
    """
    The message names the file.
    """
    assert source.folder == "tiny"  # MNIST is there
    with pytest.raises(DataMissing, match=r"digits\.jsonl\.gz"):
        read(tmp_path / "data", tmp_path / "scratch", pytest.fail)


@pytest.mark.parametrize("donors", HELD_OUT_DONORS)
def test_donors_are_held_out_as_a_whole(everything: InkData, donors: tuple[str, ...]) -> None:
    """
    The training data has none of their digits and canvases, and all of the other donors'.
    """
    _, kept = held_out_split(everything, donors)

    assert set(kept.donors) == set(everything.donors) - set(donors)
    theirs = np.isin(everything.donors, donors)
    assert len(kept.digits) == (~theirs).sum()
    of_theirs = theirs[everything.canvas_digits]
    assert _rows(kept.canvases.pixels) == _rows(everything.canvases.pixels[~of_theirs])
    assert _rows(kept.canvases.pixels).isdisjoint(_rows(everything.canvases.pixels[of_theirs]))
    assert len(kept.canvas_kinds) == len(kept.canvases) == (~of_theirs).sum()
    assert kept.canvases.labels.tolist() == [kept.digits[place].label for place in kept.canvas_digits]
    assert kept.nondigits == everything.nondigits


def test_held_out_donors_are_the_evaluation_data(everything: InkData) -> None:
    """
    The valid part is their digits, rendered by the service; their canvases are extra parts by kind. The
    split is named after them.
    """
    split, kept = held_out_split(everything, ("apa", "apb"))

    own = [digit for digit in everything.digits if digit.donor in ("apa", "apb")]
    assert split.name == "without-apa-apb"
    assert split.valid is split.extra["strokes"]
    assert split.extra["strokes"].labels.tolist() == [digit.label for digit in own]
    np.testing.assert_array_equal(split.extra["strokes"].pixels[0], from_strokes(own[0].strokes))
    assert list(split.extra) == ["MNIST", "strokes", "clean canvases", "tools canvases", "scan canvases"]
    assert [len(part) for part in split.extra.values()] == [HELD_BACK, 5, 10, 5, 10]
    assert _rows(split.train.pixels) == _rows(kept.mnist.pixels) | _rows(render_digits(kept.digits).pixels)


def test_the_last_mnist_images_are_held_out_too(everything: InkData) -> None:
    """
    Temperature and threshold are also chosen on MNIST images that the fit excluded.
    """
    split, kept = held_out_split(everything, ("syn",))

    held_back = split.extra["MNIST"]
    np.testing.assert_array_equal(held_back.pixels, everything.mnist.pixels[-HELD_BACK:])
    np.testing.assert_array_equal(held_back.labels, everything.mnist.labels[-HELD_BACK:])
    assert len(kept.mnist) == 80 - HELD_BACK
    assert _rows(split.train.pixels).isdisjoint(_rows(held_back.pixels))


def test_the_published_split_has_all_donors(data: Path, tmp_path: Path) -> None:
    """
    All donors, all of MNIST's training images, none of its test images.
    """
    official, everything = read(data, tmp_path / "scratch", lambda _: None)

    split = published_split(official, everything.digits)

    assert len(split.train) == 80 + len(everything.digits)
    assert split.test is official.test
    assert _rows(split.train.pixels).isdisjoint(_rows(split.parts["test"].pixels))


def test_a_recipe_has_a_job_per_held_out_group_and_one_with_all(data: Path, tmp_path: Path) -> None:
    """
    Every donor is held out once; the published job is the last.
    """
    jobs = data_sets.ink_data_set(ink.FIVE_DONORS).fit_jobs(
        data, RECIPES["ink"], tmp_path / "scratch", lambda _: None
    )

    assert [job.split.name for job in jobs] == ["without-apa-apb", "without-ced-gmd", "without-syn", "all"]
    assert [job.role for job in jobs] == [*["held-out"] * 3, "published"]
    assert [job.held_out for job in jobs] == [*HELD_OUT_DONORS, ()]
    for job in jobs:
        assert job.ink is not None
        assert set(job.ink.donors) == {"apa", "apb", "ced", "gmd", "syn"} - set(job.held_out)


def test_the_published_split_needs_no_canvases(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A report reads the published split, and renders nothing.
    """
    last = (
        data_sets.ink_data_set(ink.FIVE_DONORS)
        .fit_jobs(data, RECIPES["ink"], tmp_path / "scratch", lambda _: None)[-1]
        .split
    )
    monkeypatch.setattr(generated, "render", lambda *_: pytest.fail("a canvas was drawn"))

    split = data_sets.ink_data_set(ink.FIVE_DONORS).published_split(data)

    assert (split.name, split.data_set) == (last.name, last.data_set)
    assert {name: part.sha256 for name, part in split.parts.items()} == {
        name: part.sha256 for name, part in last.parts.items()
    }


def test_canvases_are_cached(data: Path, tmp_path: Path) -> None:
    """
    A second read uses the cache, without a notice.
    """
    notices: list[str] = []

    first = read(data, tmp_path / "scratch", notices.append)[1]
    again = read(data, tmp_path / "scratch", pytest.fail)[1]

    assert len(notices) == 1
    assert notices[0].startswith("rendering 75 canvases")
    assert first.canvases.sha256 == again.canvases.sha256
    np.testing.assert_array_equal(first.canvas_digits, again.canvas_digits)
    np.testing.assert_array_equal(first.canvas_kinds, again.canvas_kinds)
    assert [path.suffix for path in (tmp_path / "scratch").iterdir()] == [".npz"]


def _other_digits(tmp_path: Path, _: pytest.MonkeyPatch) -> None:
    path = digit_file.PEN_DIGITS.path(tmp_path / "data")
    first, *rest = digit_file.read(tmp_path / "data")
    digit_file.write(path, [replace(first, writer="another"), *rest])


def _other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = tmp_path / "canvases.py"
    code.write_text("# changed")
    monkeypatch.setattr(generated, "__file__", str(code))


def _other_kinds(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ink, "CANVAS_KINDS", ("clean",))


@pytest.mark.parametrize("change", [_other_digits, _other_code, _other_kinds])
def test_changes_invalidate_cached_canvases(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path, pytest.MonkeyPatch], None],
) -> None:
    """
    Other digits, other rendering or preprocessing code, other kinds.
    """
    notices: list[str] = []
    read(data, tmp_path / "scratch", notices.append)

    change(tmp_path, monkeypatch)
    read(data, tmp_path / "scratch", notices.append)

    assert len(notices) == 2


def test_an_interruption_leaves_no_incomplete_cache(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The next read renders all canvases.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(generated, "render", interrupt)
        with pytest.raises(KeyboardInterrupt):
            read(data, tmp_path / "scratch", lambda _: None)

    assert len(read(data, tmp_path / "scratch", lambda _: None)[1].canvases) == 75


def test_blank_canvases_are_skipped(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The other canvases keep their digits and kinds.
    """
    prepare = preparation.from_picture
    calls: list[int] = []

    def sometimes(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
        calls.append(1)
        if len(calls) % len(CANVAS_KINDS) == 3:  # each digit's canvas of tools
            raise BlankImage("Picture")
        return prepare(grey)

    monkeypatch.setattr(preparation, "from_picture", sometimes)

    found = read(data, tmp_path / "scratch", lambda _: None)[1]

    assert len(found.canvases) == len(found.canvas_digits) == len(found.canvas_kinds) == 60
    assert len(found.canvases_of_kind("tools")) == 0
    assert found.canvas_digits.tolist() == sorted([*range(15)] * 4)
    assert found.canvases.labels.tolist() == [found.digits[place].label for place in found.canvas_digits]


@pytest.fixture
def hands(data: Path, pen_digits: tuple[PenDigit, ...], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder with two writers of UCI's pen digits and the letters of two donors too."""
    monkeypatch.setattr(ink, "STYLED", 7)
    writers = [replace(digit, donor="pendigits", writer="pendigits/1") for digit in pen_digits[:3]]
    writers += [replace(digit, donor="pendigits", writer="pendigits/14") for digit in pen_digits[3:5]]
    writers += [replace(digit, donor="pendigits", writer="pendigits/30") for digit in pen_digits[5:6]]
    digit_file.write(digit_file.UCI_DIGITS.path(data), writers)
    stroke = pen_digits[4].strokes
    letters = [
        PenLetter(label, donor, f"1b/{donor}/one", stroke)
        for label in "AkO"
        for donor in ("apa", "kai", "lav", "sie")
    ]
    pen_letters.write(pen_letters.PEN_LETTERS.path(data), letters)
    return data


def test_more_hands_are_read(hands: Path, tmp_path: Path, pen_digits: tuple[PenDigit, ...]) -> None:
    """
    UCI's digits come after UNIPEN's; letters that look like digits are left out; styles have their label.
    """
    _, found = read(hands, tmp_path / "scratch", lambda _: None, ink.MORE_HANDS)

    assert [digit.donor for digit in found.digits[len(pen_digits) :]] == ["pendigits"] * 6
    assert {letter.label for letter in found.letters} == {"A", "k"}
    assert len(found.styled) == 7
    assert {digit.donor for digit in found.styled} == {"rule"}
    assert len(found.canvases) == len(CANVAS_KINDS) * len(found.digits)


def test_writers_and_letters_are_held_out_with_donors(hands: Path, tmp_path: Path) -> None:
    """
    A fit meets neither the donors' letters nor the other writers' digits; both are evaluation data.
    """
    _, everything = read(hands, tmp_path / "scratch", lambda _: None, ink.MORE_HANDS)

    jobs = data_sets.ink_data_set(ink.MORE_HANDS).fit_jobs(
        hands, RECIPES["ink"], tmp_path / "scratch", lambda _: None
    )

    first = jobs[0]
    assert first.held_out == ("apa", "apb")
    assert first.ink is not None
    assert {digit.writer for digit in first.ink.digits if digit.donor == "pendigits"} == {
        "pendigits/14",
        "pendigits/30",
    }
    assert not {"apa", "apb"} & set(first.ink.donors)
    assert {letter.donor for letter in first.ink.letters} == {"lav", "sie"}
    assert len(first.split.extra[ink.OTHER_WRITERS]) == 3
    assert first.nondigits[ink.LETTERS].shape == (4, 28, 28)
    assert first.ink.styled == jobs[-1].ink.styled  # type: ignore[union-attr]  # every job has ink
    assert jobs[-1].ink is not None
    assert len(jobs[-1].ink.digits) == len(everything.digits)


def test_every_group_of_more_hands_is_another() -> None:
    """
    Nobody is held out twice, and the groups of donors are those of the first versions.
    """
    groups = [{*group.donors, *group.others} for group in ink.MORE_HANDS.held_out]

    assert sum(map(len, groups)) == len(set().union(*groups))
    assert tuple(group.donors for group in ink.MORE_HANDS.held_out) == HELD_OUT_DONORS
