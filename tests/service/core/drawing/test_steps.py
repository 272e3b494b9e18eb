import numpy as np
import pytest

from service.core.drawing.steps import LARGEST, Trace, reduced


def test_steps_are_kept_in_their_order_and_as_they_are() -> None:
    """
    Grey and coloured ones alike, as long as they are small.
    """
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    coloured = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    trace = Trace()

    trace.add("drawn", grey)
    trace.add("taken", coloured)

    assert [step.name for step in trace.steps] == ["drawn", "taken"]
    np.testing.assert_array_equal(trace.steps[0].picture, grey)
    np.testing.assert_array_equal(trace.steps[1].picture, coloured)


@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "coloured"])
def test_large_pictures_are_kept_as_the_means_of_their_squares(channels: tuple[int, ...]) -> None:
    """
    Every second column is white, so that squares of two by two are half grey.
    """
    picture = np.zeros((2 * LARGEST, LARGEST, *channels), np.uint8)
    picture[:, ::2] = 255
    trace = Trace()

    trace.add("drawn", picture)

    kept = trace.steps[0].picture
    assert kept.shape == (LARGEST, LARGEST // 2, *channels)
    assert kept.dtype == np.dtype(np.uint8)
    assert set(np.unique(kept)) <= {127, 128}


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        ((28, 28), (28, 28)),
        ((LARGEST, LARGEST), (LARGEST, LARGEST)),
        ((LARGEST + 1, 1), (LARGEST, 1)),
        ((20_000, 1), (LARGEST, 1)),
        ((1, 20_000), (1, LARGEST)),
        ((560, 280), (280, 140)),
    ],
)
def test_sizes_shrink_in_proportion_and_never_to_nothing(
    size: tuple[int, int], kept: tuple[int, int]
) -> None:
    """
    Small ones are not enlarged.
    """
    assert reduced(*size) == kept
