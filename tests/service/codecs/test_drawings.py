"""`service/codecs/drawings.py` and `service/core/wording.py`: limits, greys, and values in messages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.codecs import drawings, levels
from service.codecs.drawings import Limits
from service.core.errors import PayloadTooLarge
from service.core.wording import quote, shape_text
from tests.examples import examples

LIMITS = Limits(images=3, picture_pixels=1, points=1)


def test_limit_of_images_is_inclusive() -> None:
    drawings.check_count(3, LIMITS)

    with pytest.raises(PayloadTooLarge, match=r"^Batch should be at most 3 images; got 4.$"):
        drawings.check_count(4, LIMITS)


@pytest.mark.parametrize(
    ("shape", "images"), [((28, 28), 4096), ((6, 5), 4096), ((64, 64, 3), 261), ((9000, 9000), 1)]
)
def test_limit_shrinks_in_proportion_to_larger_images(shape: tuple[int, ...], images: int) -> None:
    """
    4096 * 784 / 12288 = 261.3.
    """
    limits = Limits(images=4096, picture_pixels=5, points=6)

    assert limits.of(shape) == Limits(images=images, picture_pixels=5, points=6)


@examples()
@given(value=st.floats(0, 1))
def test_unit_numbers_are_rounded_to_the_nearest_grey(value: float) -> None:
    """
    Compared with all greys.
    """
    grey = int(levels.from_units(np.array([value]))[0])

    distances = np.abs(np.arange(256) / 255 - value)
    tie = 8 * 2.0**-53  # two greys may be equally near, up to float64 rounding
    assert distances[grey] <= distances.min() + tie


def test_shapes_are_formatted_with_x() -> None:
    assert shape_text((28, 28)) == "28 x 28"
    assert shape_text((64, 64, 3)) == "64 x 64 x 3"


@examples()
@given(value=st.text() | st.binary() | st.integers() | st.lists(st.integers()))
def test_quoted_values_are_one_short_line(value: object) -> None:
    """
    Long values are cut.
    """
    text = quote(value)

    assert len(text) <= 40
    assert "\n" not in text
    assert text == repr(value) or (text.endswith(" ...") and repr(value).startswith(text[:36]))
