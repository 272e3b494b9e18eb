from dataclasses import replace

from tests.training.evaluation.ablation.toys import IMAGES, MNIST, MODEL, always
from training.evaluation.ablation import steps
from training.evaluation.ablation.models import Accuracy, accuracy
from training.evaluation.ablation.tables import to_markdown


def test_donors_of_the_training_data_are_not_measured() -> None:
    """
    Without their held-out network the set has no figure; the page names the missing fits.
    """
    partly = replace(MODEL, held_out={"a": always(1)})

    page = to_markdown([partly], [IMAGES], "0" * 64)

    assert accuracy(partly, IMAGES, steps.SCALED) is None
    assert accuracy(partly, IMAGES, steps.SCALED, "a") == Accuracy(2, 2)
    assert "`one 1` was fitted on these donors." in page
    assert "The fits without b were not available" in page


def test_there_is_a_table_for_every_set() -> None:
    """
    Steps in rows, networks in columns, donors apart for rendered strokes.
    """
    page = to_markdown([MODEL, replace(MODEL, name="two 1")], [MNIST, IMAGES], "0123456789abcdef" * 4)

    assert "### made up: 4 digits\n\n| | `one 1` | `two 1` |\n|---|---|---|\n" in page
    assert "| scaled down | 75.0 ± 21.7 | 75.0 ± 21.7 |" in page
    assert "| b, 2 digits | 50.0 ± 35.4 | 50.0 ± 35.4 |" in page
    assert page.count("donor by donor") == 1
    assert "`0123456789abcdef…`" in page
