import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from service.core.network.ood_score import energy
from tests.examples import examples

LOGITS = npst.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(2, 6)),
    elements=st.floats(-50, 50, width=32),
)


@examples()
@given(logits=LOGITS, temperature=st.floats(0.2, 20))
def test_energy_is_the_formula(logits: NDArray[np.float32], temperature: float) -> None:
    """
    Computed one image at a time in Python, in double precision.
    """
    found = energy(logits, temperature)

    assert found.dtype == np.float64
    for row, value in zip(logits.tolist(), found, strict=True):
        expected = temperature * math.log(math.fsum(math.exp(logit / temperature) for logit in row))
        assert value == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_energy_of_equal_logits_is_known_by_heart() -> None:
    """
    Four times nought at temperature 0.5: log(4) / 2.
    """
    assert energy(np.zeros((1, 4), np.float32), 0.5) == pytest.approx([math.log(2)])


def test_large_logits_do_not_overflow() -> None:
    """
    Where exp() would be infinite, the largest logit is the energy.
    """
    logits = np.array([[1e30, 0], [-1e30, -1e30]], np.float32)

    np.testing.assert_allclose(energy(logits, 0.01), [1e30, -1e30], rtol=1e-6)
