"""`service/core/reading/seams.py`: seams between and through ink."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.reading import seams


def bars(*columns: int, width: int = 60) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Vertical bars four pixels wide and forty high."""
    ink = np.zeros((40, width), np.float32)
    for column in columns:
        ink[:, column : column + 4] = 1
    return ink


def test_a_free_gap_is_one_seam_without_ink() -> None:
    """
    However wide it is; it has the ink of the first bar at its left.
    """
    (seam,) = seams.find(bars(5, 45), height=40, pen=4, costliest=0.2, most=9)

    assert seam.ink == 0
    assert seam.left == 160
    assert all(9 <= column <= 45 for column in seam.columns.tolist())


def test_a_seam_follows_the_gap_between_slanted_strokes() -> None:
    """
    No straight cut separates them.
    """
    ink = np.zeros((40, 60), np.float32)
    for row in range(40):
        ink[row, 35 - row // 2 : 39 - row // 2] = 1
        ink[row, 45 - row // 2 : 49 - row // 2] = 1
    assert not (ink[:, 21:48].sum(axis=0) == 0).any()

    found = seams.find(ink, height=40, pen=4, costliest=0.2, most=9)

    assert [seam.left for seam in found if seam.ink == 0] == [ink.sum() / 2]


def test_strokes_that_touch_are_cut_where_the_bridge_is() -> None:
    """
    At the cost of the bridge's thickness, and not beyond the limit.
    """
    ink = bars(10, 40)
    ink[20:23, 14:40] = 1

    found = seams.find(ink, height=40, pen=4, costliest=0.2, most=9)

    assert found[0].ink == 3
    assert seams.find(ink, height=40, pen=4, costliest=0.05, most=9) == []


@pytest.mark.parametrize("most", [1, 3])
def test_the_cheapest_seams_are_kept(most: int) -> None:
    """
    From left to right.
    """
    found = seams.find(bars(2, 15, 30, 45), height=40, pen=4, costliest=0.2, most=most)

    assert len(found) == most
    assert [seam.left for seam in found] == sorted(seam.left for seam in found)


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 30))
def test_any_ink_has_seams_of_one_column_a_row(seed: int, height: int, width: int) -> None:
    """
    Neighbouring rows differ by one column at most, and the ink on the seam is what it says.
    """
    ink = (np.random.default_rng(seed).random((height, width)) < 0.4).astype(np.float32)

    for seam in seams.find(ink, height=height, pen=1, costliest=1, most=20):
        assert np.abs(np.diff(seam.columns)).max(initial=0) <= 1
        assert seam.ink == ink[np.arange(height), seam.columns].sum()
