from dataclasses import replace

import numpy as np
import pytest

from training.errors import AccuracyLossTooLarge
from training.quantisation.comparison import Answers, Loss, Sureness, check, compare, joined

BEFORE = np.array([[9, 0], [9, 0], [0, 9], [0, 1]], np.float32)
AFTER = np.array([[9, 0], [0, 9], [0, 9], [1, 0]], np.float32)


def test_answers_are_compared_with_what_is_right_and_with_each_other() -> None:
    """
    Of four: before, three were right; after, two; two are answered otherwise, of which one was wrong anyway.
    """
    labels = np.array([0, 0, 1, 0])

    loss = compare("four", Answers(BEFORE, AFTER), labels, None)

    assert (loss.images, loss.examples) == ("four", 4)
    assert (loss.before, loss.after, loss.otherwise) == (0.75, 0.75, 0.5)
    assert loss.lost == 0
    assert (loss.sure_before, loss.sure_after) == (None, None)
    wrong = compare("four", Answers(BEFORE, AFTER), np.array([0, 0, 1, 1]), None)
    assert (wrong.before, wrong.after, wrong.lost) == (1, 0.5, 0.5)


def test_what_is_sure_is_counted_by_its_energy() -> None:
    """
    The last answer has an energy of about 1.3, the others of 9: at 2 three of four are sure.
    """
    loss = compare("four", Answers(BEFORE, AFTER * 0.1), None, Sureness(threshold=2.0, temperature=1.0))

    assert (loss.sure_before, loss.sure_after) == (0.75, 0)
    assert (loss.before, loss.after, loss.lost) == (None, None, 0)


def test_a_manifest_is_told_what_is_known() -> None:
    """
    What was not measured is left out.
    """
    told = compare("four", Answers(BEFORE, AFTER), None, None).told

    assert told == {"images": "four", "examples": 4, "otherwise": 0.5, "is_gate": False}


def test_answers_of_several_networks_are_put_together() -> None:
    """
    In their order.
    """
    both = joined([Answers(BEFORE, AFTER), Answers(AFTER[:1], BEFORE[:1])])

    assert len(both.before) == len(both.after) == 5
    np.testing.assert_array_equal(both.before[4], AFTER[0])


GATE = Loss("MNIST, test", 10_000, 0.99, 0.9896, 0.001, None, None, is_gate=True)


def test_a_small_loss_is_taken() -> None:
    """
    Four of ten thousand, or more where nothing depends on it.
    """
    check("ink", [GATE, replace(GATE, after=0.5, is_gate=False), replace(GATE, after=1.0)])


def test_a_large_loss_is_refused() -> None:
    """
    Six of ten thousand; the message says where and how much.
    """
    with pytest.raises(
        AccuracyLossTooLarge, match=r"ink is not .* 0\.05 points .*MNIST, test; it costs 0\.06"
    ):
        check("ink", [GATE, replace(GATE, after=0.9894)])
