"""`service/codecs/levels.py`: numbers to pixels, and which are valid."""

import numpy as np
import pytest

from service.codecs import levels


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_is_accepted_and_more_is_not(dtype: type[np.floating]) -> None:
    """
    By `ROUNDING` of the range, at both ends.
    """
    units = np.array([-9e-6, 0, 1, 1 + 9e-6, -1.1e-5, 1 + 1.1e-5, np.nan, np.inf, -np.inf], dtype)
    bytes_ = np.array([-0.0025, 254.9975, 255.0025, 7.002, -0.003, 255.003, 7.01, np.nan, np.inf], dtype)

    assert levels.invalid_units(units).tolist() == [False] * 4 + [True] * 5
    assert levels.invalid_bytes(bytes_).tolist() == [False] * 4 + [True] * 5
    assert [levels.is_unit(float(value)) for value in units] == [True] * 4 + [False] * 5
    assert [levels.is_byte(float(value)) for value in bytes_[:7]] == [True] * 4 + [False] * 3
    assert levels.from_units(units[:4]).tolist() == [0, 0, 255, 255]
    assert levels.from_bytes(bytes_[:4]).tolist() == [0, 255, 255, 7]


def test_one_step_of_half_precision_above_1_is_not_rounding() -> None:
    """
    It is 1.001.
    """
    one = np.float16(1)

    assert levels.invalid_units(np.array([one, np.nextafter(one, np.float16(2))])).tolist() == [False, True]


def test_integers_are_compared_exactly() -> None:
    assert levels.invalid_bytes(np.array([-1, 0, 255, 256])).tolist() == [True, False, False, True]
