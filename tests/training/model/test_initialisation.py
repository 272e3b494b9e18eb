from collections.abc import Callable

import pytest
import torch

from training.model.initialisation import glorot_normal_, glorot_uniform_, he_normal_


def test_glorot_weights_lie_in_their_range() -> None:
    """
    Uniform between -a and a with a = sqrt(6 / (fan_in + fan_out)), which has variance a² / 3.
    """
    weight = torch.empty(100, 50)

    glorot_uniform_(weight, torch.Generator().manual_seed(0))

    bound = 0.2  # sqrt(6 / 150)
    assert weight.abs().max() <= bound
    assert weight.var().item() == pytest.approx(bound**2 / 3, rel=0.05)  # of 5,000 draws


@pytest.mark.parametrize(("fill", "variance"), [(glorot_normal_, 2 / 150), (he_normal_, 2 / 50)])
def test_normal_weights_have_their_variance(
    fill: Callable[[torch.Tensor, torch.Generator], None], variance: float
) -> None:
    """
    For 50 inputs and 100 units: 2 / (inputs + units) for Glorot, 2 / inputs for He.
    """
    weight = torch.empty(100, 50)

    fill(weight, torch.Generator().manual_seed(0))

    assert weight.var().item() == pytest.approx(variance, rel=0.05)  # of 5,000 draws
