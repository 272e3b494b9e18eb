import re

import pytest

from tests.conftest import REPOSITORY
from training.errors import TrainingError
from training.evaluation.ablation.page import BEGIN, END, replace_figures


def test_only_the_figures_between_the_markers_are_replaced() -> None:
    """
    The text around them is written by hand.
    """
    page = f"Before.\n\n{BEGIN}\n\nold\n\n{END}\n\nAfter.\n"

    assert replace_figures(page, "new") == page.replace("old", "new")
    with pytest.raises(TrainingError, match="end of the figures"):
        replace_figures(f"Before. {BEGIN}", "new")


def test_the_page_in_the_repository_has_its_markers_and_its_figure() -> None:
    """
    The command needs both.
    """
    page = (REPOSITORY / "docs" / "explanation" / "preprocessing.md").read_text("utf-8")

    assert replace_figures(page, "x")
    assert (REPOSITORY / "docs" / "images" / "ink-steps.png").is_file()


def test_figures_in_the_text_are_in_the_tables() -> None:
    """
    Every percentage with a decimal in the page's text was measured.
    """
    page = (REPOSITORY / "docs" / "explanation" / "preprocessing.md").read_text("utf-8")
    words, _, tables = page.partition(BEGIN)

    cited = re.findall(r"\b\d+\.\d %", words)

    assert len(cited) > 10
    assert [figure for figure in cited if f"| {figure.removesuffix(' %')} ±" not in tables] == []
