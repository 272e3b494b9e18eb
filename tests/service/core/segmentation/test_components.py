"""`service/core/segmentation/components.py`: connected components, compared with a search pixel by pixel."""

import numpy as np
from hypothesis import given
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from service.core.segmentation import components
from tests.examples import examples


def searched(image: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return labels of the components, found by visiting neighbours."""
    labels = np.zeros(image.shape, np.int64)
    count = 0
    for start in zip(*np.nonzero(image), strict=True):
        if labels[start]:
            continue
        count += 1
        labels[start] = count
        open_pixels = [start]
        while open_pixels:
            y, x = open_pixels.pop()
            for row in range(max(y - 1, 0), min(y + 2, image.shape[0])):
                for column in range(max(x - 1, 0), min(x + 2, image.shape[1])):
                    if image[row, column] and not labels[row, column]:
                        labels[row, column] = count
                        open_pixels.append((row, column))
    return labels


@examples(200)
@given(npst.arrays(np.bool_, npst.array_shapes(min_dims=2, max_dims=2, max_side=14)))
def test_pixels_are_connected_by_sides_and_corners(image: NDArray[np.bool_]) -> None:
    """
    One label for each component, none elsewhere, and a box around each.
    """
    found = components.connected(image)

    wanted = searched(image)
    np.testing.assert_array_equal(found.labels > 0, image)
    assert found.count == wanted.max(initial=0)
    pairs = set(zip(found.labels[image].tolist(), wanted[image].tolist(), strict=True))
    assert len(pairs) == found.count
    for index, box in enumerate(found.boxes.tolist()):
        rows, columns = np.nonzero(found.labels == index + 1)
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_values_are_added_over_each_component() -> None:
    """
    In the order of the labels.
    """
    image = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 1]], bool)
    values = np.arange(9, dtype=np.float32).reshape(3, 3)

    found = components.connected(image)

    assert sorted(found.sums(values).tolist()) == [2.0, 3.0, 8.0]
