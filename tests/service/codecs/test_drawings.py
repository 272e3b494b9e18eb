"""`service/codecs/drawings.py`: limits, and the words in which bodies are spoken of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.codecs import drawings
from service.codecs.drawings import Limits
from service.core.errors import PayloadTooLarge
from service.core.wording import quote, shape_text
from tests.examples import examples

LIMITS = Limits(images=3, picture_pixels=1, points=1)


def test_a_batch_may_be_as_large_as_the_limit() -> None:
    """
    The limit itself is inside, one more is not.
    """
    drawings.check_count(3, LIMITS)

    with pytest.raises(PayloadTooLarge, match=r"^Batch should be at most 3 images; got 4.$"):
        drawings.check_count(4, LIMITS)


@pytest.mark.parametrize(
    ("shape", "images"), [((28, 28), 4096), ((6, 5), 4096), ((64, 64, 3), 261), ((9000, 9000), 1)]
)
def test_of_larger_images_there_may_be_fewer(shape: tuple[int, ...], images: int) -> None:
    """
    As many numbers together as in the limit's images of 28 x 28: 4096 * 784 / 12288 = 261.3.
    """
    limits = Limits(images=4096, picture_pixels=5, points=6)

    assert limits.of(shape) == Limits(images=images, picture_pixels=5, points=6)


@examples()
@given(value=st.floats(0, 1))
def test_a_unit_number_becomes_the_nearest_of_256_greys(value: float) -> None:
    """
    Compared with every grey there is.
    """
    grey = int(drawings.from_unit(np.array([value]))[0])

    distances = np.abs(np.arange(256) / 255 - value)
    tie = (
        8 * 2.0**-53
    )  # two greys may be equally near: a product, a quotient and a difference in double precision
    assert distances[grey] <= distances.min() + tie


def test_a_shape_is_written_as_people_say_it() -> None:
    """
    Side by side, whatever their number.
    """
    assert shape_text((28, 28)) == "28 x 28"
    assert shape_text((64, 64, 3)) == "64 x 64 x 3"


@examples()
@given(value=st.text() | st.binary() | st.integers() | st.lists(st.integers()))
def test_a_quotation_is_one_short_line(value: object) -> None:
    """
    Short values are repeated in full, of long ones only the beginning.
    """
    text = quote(value)

    assert len(text) <= 40
    assert "\n" not in text
    assert text == repr(value) or (text.endswith(" ...") and repr(value).startswith(text[:36]))
