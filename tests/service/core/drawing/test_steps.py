import numpy as np
import pytest

from service.core.drawing.steps import LARGEST, StepRecorder, reduced


def test_small_images_are_recorded_unchanged_and_in_order() -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    coloured = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    recorder = StepRecorder()

    recorder.add("drawn", grey)
    recorder.add("taken", coloured)

    assert [step.name for step in recorder.steps] == ["drawn", "taken"]
    np.testing.assert_array_equal(recorder.steps[0].picture, grey)
    np.testing.assert_array_equal(recorder.steps[1].picture, coloured)


@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "coloured"])
def test_large_images_are_reduced_by_averaging(channels: tuple[int, ...]) -> None:
    """
    Every second column is white, so each mean of 2 x 2 pixels is grey.
    """
    picture = np.zeros((2 * LARGEST, LARGEST, *channels), np.uint8)
    picture[:, ::2] = 255
    recorder = StepRecorder()

    recorder.add("drawn", picture)

    kept = recorder.steps[0].picture
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
def test_sizes_are_reduced_in_proportion(size: tuple[int, int], kept: tuple[int, int]) -> None:
    """
    To at least one pixel; small images are not enlarged.
    """
    assert reduced(*size) == kept
