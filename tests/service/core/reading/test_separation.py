"""`service/core/reading/separation.py`: whether strokes may be several digits."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.core.reading.separation import may_be_several
from tests import digits

FIVE_WITH_BAR: digits.Strokes = [[[36, 14], [33, 46], [70, 60], [60, 88], [28, 86]], [[36, 14], [74, 14]]]
SLASHED_ZERO: digits.Strokes = [digits.DIGITS["0"][0][0], [[30, 90], [70, 10]]]


def beside(one: str, other: str, distance: float) -> list[NDArray[np.float64]]:
    """Two digits, the second moved to the right."""
    first, second = (digits.arrays(digits.DIGITS[label][0]) for label in (one, other))
    return first + [stroke + np.array([distance, 0.0]) for stroke in second]


@pytest.mark.parametrize(("one", "other"), ["10", "42", "77", "11", "44"])
def test_digits_beside_each_other_may_be_several(one: str, other: str) -> None:
    assert may_be_several(beside(one, other, 70))
    assert may_be_several([stroke * 1e-4 for stroke in beside(one, other, 70)])


def test_digits_below_each_other_may_be_several() -> None:
    three, six = (digits.arrays(digits.DIGITS[label][0]) for label in "36")

    assert may_be_several(three + [stroke + np.array([0.0, 100.0]) for stroke in six])


@pytest.mark.parametrize(
    "strokes",
    [
        pytest.param(FIVE_WITH_BAR, id="five with a separate bar"),
        pytest.param(SLASHED_ZERO, id="slashed zero"),
        pytest.param([[[34, 12], [26, 54], [76, 54]], [[56, 14], [50, 92]]], id="four in two strokes"),
        pytest.param([[[22, 16], [78, 16], [44, 92]], [[30, 50], [70, 50]]], id="seven with a bar"),
        pytest.param([[[5, 5]]], id="one point"),
        pytest.param([[[5, 5]], [[5, 5]]], id="two points"),
        pytest.param([[[0, 5], [10, 5]], [[0, 9], [10, 9]]], id="two horizontal lines"),
        pytest.param([digits.DIGITS["3"][0][0], [[90, 90]]], id="a digit and a dot"),
    ],
)
def test_parts_of_one_digit_are_not(strokes: digits.Strokes) -> None:
    assert not may_be_several(digits.arrays(strokes))


def test_no_strokes_are_not_several() -> None:
    assert not may_be_several([])
    assert not may_be_several([np.empty((0, 2)), np.empty((0, 2))])
