import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from service.core import artifact
from tests import toys
from tests.conftest import REPOSITORY
from tests.digits import DIGITS
from training.data.examples import Examples
from training.data.pen_digits import PenDigit
from training.errors import TrainingError
from training.evaluation.ablation import page as survey
from training.evaluation.ablation import variants as steps
from training.evaluation.ablation.page import (
    BEGIN,
    END,
    Model,
    Pictures,
    Share,
    chosen,
    figures,
    measure,
    rewritten,
)


def says(label: int) -> survey.Reader:
    """A network that always gives the same answer."""
    return lambda pixels: np.eye(10)[np.full(len(pixels), label)]


PICTURES = Pictures(
    "made up",
    np.array([1, 1, 1, 2]),
    np.array(["a", "a", "b", "b"]),
    {steps.SCALED: np.zeros((4, 28, 28), np.uint8), steps.DRAWN: np.zeros((4, 28, 28), np.uint8)},
)
TEST = Pictures(
    "digits of nobody",
    np.array([1, 2]),
    np.array([], np.str_),
    {steps.SCALED: np.zeros((2, 28, 28), np.uint8)},
)
ONE = Model("one 1", says(1), {"a": says(1), "b": says(2)}, ())


def digits(count: int) -> list[PenDigit]:
    """The tests' own digits, of two donors in turn."""
    return [
        PenDigit(
            row % 10,
            "ab"[row % 2],
            f"{'ab'[row % 2]}/{row}",
            tuple(np.array(stroke) * 10 for stroke in DIGITS[str(row % 10)][0]),
        )
        for row in range(count)
    ]


def test_each_donor_is_read_by_the_network_that_never_saw_them() -> None:
    """
    One network says 1 of a's digits, another 2 of b's; MNIST is read by the published one.
    """
    assert measure(ONE, PICTURES, steps.SCALED) == Share(3, 4)
    assert measure(ONE, PICTURES, steps.SCALED, "a") == Share(2, 2)
    assert measure(ONE, PICTURES, steps.SCALED, "b") == Share(1, 2)
    assert measure(ONE, TEST, steps.SCALED) == Share(1, 2)


def test_nothing_is_claimed_for_donors_that_a_network_has_learnt_from() -> None:
    """
    Without a fit that left them out, the whole set has no figure; the page says what is missing.
    """
    partly = replace(ONE, strangers={"a": says(1)})

    page = figures([partly], [PICTURES], "0" * 64)

    assert measure(partly, PICTURES, steps.SCALED) is None
    assert measure(partly, PICTURES, steps.SCALED, "a") == Share(2, 2)
    assert "`one 1` has learnt from these donors." in page
    assert "without b were not at hand" in page


def test_a_share_comes_with_its_standard_error() -> None:
    """
    90 of 100: the root of 0.9 * 0.1 / 100 is 3 points.
    """
    assert str(Share(90, 100)) == "90.0 ± 3.0"


def test_the_page_holds_a_table_for_every_set() -> None:
    """
    Steps down, networks across, donors apart where the strokes themselves were drawn.
    """
    page = figures([ONE, replace(ONE, name="two 1")], [TEST, PICTURES], "0123456789abcdef" * 4)

    assert "### made up: 4 digits\n\n| | `one 1` | `two 1` |\n|---|---|---|\n" in page
    assert "| scaled down | 75.0 ± 21.7 | 75.0 ± 21.7 |" in page
    assert "| b, 2 digits | 50.0 ± 35.4 | 50.0 ± 35.4 |" in page
    assert page.count("donor by donor") == 1
    assert "`0123456789abcdef…`" in page


def test_only_what_stands_between_the_marks_is_rewritten() -> None:
    """
    The words around it are a person's.
    """
    page = f"Before.\n\n{BEGIN}\n\nold\n\n{END}\n\nAfter.\n"

    assert rewritten(page, "new") == page.replace("old", "new")
    with pytest.raises(TrainingError, match="end of the figures"):
        rewritten(f"Before. {BEGIN}", "new")


def test_the_page_in_the_repository_has_its_marks_and_its_picture() -> None:
    """
    So that the command finds where to write.
    """
    page = (REPOSITORY / "docs" / "ink.md").read_text("utf-8")

    assert rewritten(page, "x")
    assert (REPOSITORY / "docs" / "images" / "ink-steps.png").is_file()


def test_figures_in_the_words_stand_in_the_tables() -> None:
    """
    Every percentage with a decimal that the page's text cites was measured.
    """
    page = (REPOSITORY / "docs" / "ink.md").read_text("utf-8")
    words, _, tables = page.partition(BEGIN)

    cited = re.findall(r"\b\d+\.\d %", words)

    assert len(cited) > 10
    assert [figure for figure in cited if f"| {figure.removesuffix(' %')} ±" not in tables] == []


def test_equally_many_digits_of_every_donor_are_chosen() -> None:
    """
    Always the same ones; all where there are fewer.
    """
    found = chosen(digits(30), 4)

    assert [digit.donor for digit in found] == list("aaaabbbb")
    assert [digit.writer for digit in found] == [digit.writer for digit in chosen(digits(30), 4)]
    assert len(chosen(digits(30), 100)) == 30


def test_digits_are_prepared_in_every_way() -> None:
    """
    Tidy drawings from their strokes as well; MNIST's images as if they were canvases.
    """
    tidy, sizes, *others = survey.all_drawings(digits(4))
    mnist = survey.mnist_pictures(Examples(np.full((2, 28, 28), 9, np.uint8), np.array([0, 1])))

    assert tuple(tidy.prepared) == (*steps.STEPS, steps.DRAWN)
    assert [each.name for each in others] == ["clean canvases", "tools canvases", "scan canvases"]
    assert len(sizes.prepared) == len(survey.SIZES)
    for pictures in (tidy, sizes, *others, mnist):
        assert all(found.shape == (len(pictures.labels), 28, 28) for found in pictures.prepared.values())
    assert tidy.donors.tolist() == list("abab")
    assert mnist.donors.size == 0


def test_published_networks_are_loaded_as_strangers_to_all_donors(published: Path, tmp_path: Path) -> None:
    """
    Those that learnt from MNIST alone have met none of them.
    """
    images: NDArray[np.uint8] = np.zeros((2, 28, 28), np.uint8)

    found = [model for model in survey.models(published, tmp_path, ["a"]) if model.name.startswith("mlp-128")]

    assert len(found) >= 2
    for model in found:
        np.testing.assert_array_equal(model.strangers["a"](images), model.everyone(images))


def test_a_network_that_learnt_from_strokes_needs_its_folds(published: Path, tmp_path: Path) -> None:
    """
    A file per donor, of the same layers; what is missing is missing.
    """
    model = published / "softmax" / "1" / "model.onnx"
    (tmp_path / "b.onnx").write_bytes(model.read_bytes())
    learnt = artifact.read(published, "softmax", "1")
    manifest = learnt.manifest.model_copy(update={"recipe": {"data": "ink"}})
    images: NDArray[np.uint8] = np.full((3, 28, 28), 7, np.uint8)

    found = survey._model(replace(learnt, manifest=manifest), tmp_path, ["a", "b"])

    assert found.strangers.keys() == {"b"}
    np.testing.assert_allclose(found.strangers["b"](images), found.everyone(images), atol=1e-3)


def test_folds_in_floats_do_not_speak_for_whole_numbers(tmp_path: Path) -> None:
    """
    Nothing is claimed of strangers for a network in whole numbers, whose folds nobody keeps.
    """
    whole = toys.publish_rounded(tmp_path)
    manifest = whole.manifest.model_copy(update={"recipe": {"data": "ink"}})
    (tmp_path / "a.onnx").write_bytes(whole.model)

    found = survey._model(replace(whole, manifest=manifest), tmp_path, ["a"])

    assert found.strangers == {}


def test_what_a_manifest_says_of_certainty_is_told() -> None:
    """
    Kept digits and passing non-digits, with how many there were.
    """
    share = SimpleNamespace(images="drawings of no digit", examples=3000, share=0.071)
    kept = SimpleNamespace(images="strokes", examples=9771, share=0.99)
    manifest = SimpleNamespace(certainty=SimpleNamespace(kept=(kept,), passed=(share,)))

    # a stand-in: of an artifact only the manifest's certainty is read
    lines = survey._certainty(SimpleNamespace(manifest=manifest))  # type: ignore[arg-type]

    assert lines == (
        "| strokes | 9,771 | 99.0% |",
        "| drawings of no digit | 3,000 | 7.1% |",
    )
