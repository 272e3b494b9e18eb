import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from service.core.network.ood_score import negative_energy
from tests.examples import examples

LOGITS = npst.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(2, 6)),
    elements=st.floats(-50, 50, width=32),
)


@examples()
@given(logits=LOGITS, temperature=st.floats(0.2, 20))
def test_negative_energy_equals_the_formula(logits: NDArray[np.float32], temperature: float) -> None:
    """
    Computed in Python, one image at a time.
    """
    found = negative_energy(logits, temperature)

    assert found.dtype == np.float64
    for row, value in zip(logits.tolist(), found, strict=True):
        expected = temperature * math.log(math.fsum(math.exp(logit / temperature) for logit in row))
        assert value == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_negative_energy_of_equal_logits() -> None:
    """
    log(4) / 2 for four logits of 0 at temperature 0.5.
    """
    assert negative_energy(np.zeros((1, 4), np.float32), 0.5) == pytest.approx([math.log(2)])


def test_large_logits_do_not_overflow() -> None:
    """
    If exp() would overflow, the result is the largest logit.
    """
    logits = np.array([[1e30, 0], [-1e30, -1e30]], np.float32)

    np.testing.assert_allclose(negative_energy(logits, 0.01), [1e30, -1e30], rtol=1e-6)
