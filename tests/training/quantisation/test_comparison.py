from dataclasses import replace

import numpy as np
import pytest

from training.errors import AccuracyLossTooLarge
from training.quantisation.comparison import (
    Comparison,
    EnergyThreshold,
    LogitPair,
    check_gates,
    compare,
    concatenate,
)

BEFORE = np.array([[9, 0], [9, 0], [0, 9], [0, 1]], np.float32)
AFTER = np.array([[9, 0], [0, 9], [0, 9], [1, 0]], np.float32)


def test_predictions_are_compared_with_labels_and_with_each_other() -> None:
    """
    Of four: three correct before, two after, two changed, one of which was wrong before.
    """
    labels = np.array([0, 0, 1, 0])

    found = compare("four", LogitPair(BEFORE, AFTER), labels, None)

    assert (found.images, found.examples) == ("four", 4)
    assert (found.before, found.after, found.otherwise) == (0.75, 0.75, 0.5)
    assert found.accuracy_loss == 0
    assert (found.sure_before, found.sure_after) == (None, None)
    wrong = compare("four", LogitPair(BEFORE, AFTER), np.array([0, 0, 1, 1]), None)
    assert (wrong.before, wrong.after, wrong.accuracy_loss) == (1, 0.5, 0.5)


def test_sure_predictions_are_counted_by_energy() -> None:
    """
    The last prediction has an energy of about 1.3, the others of 9: at threshold 2 three of four are sure.
    """
    found = compare(
        "four", LogitPair(BEFORE, AFTER * 0.1), None, EnergyThreshold(threshold=2.0, temperature=1.0)
    )

    assert (found.sure_before, found.sure_after) == (0.75, 0)
    assert (found.before, found.after, found.accuracy_loss) == (None, None, 0)


def test_unknown_fields_are_not_recorded() -> None:
    """
    The record has measured fields only.
    """
    record = compare("four", LogitPair(BEFORE, AFTER), None, None).to_dict()

    assert record == {"images": "four", "examples": 4, "otherwise": 0.5, "is_gate": False}


def test_logits_of_several_networks_are_concatenated() -> None:
    """
    In their order.
    """
    both = concatenate([LogitPair(BEFORE, AFTER), LogitPair(AFTER[:1], BEFORE[:1])])

    assert len(both.before) == len(both.after) == 5
    np.testing.assert_array_equal(both.before[4], AFTER[0])


GATE = Comparison("MNIST, test", 10_000, 0.99, 0.9896, 0.001, None, None, is_gate=True)


def test_a_small_loss_passes() -> None:
    """
    Four of ten thousand, or more if it is no gate.
    """
    check_gates("ink", [GATE, replace(GATE, after=0.5, is_gate=False), replace(GATE, after=1.0)])


def test_a_large_loss_is_refused() -> None:
    """
    Six of ten thousand; the message has the images and the loss.
    """
    with pytest.raises(
        AccuracyLossTooLarge, match=r"ink is not .* 0\.05 points .*MNIST, test; it costs 0\.06"
    ):
        check_gates("ink", [GATE, replace(GATE, after=0.9894)])
