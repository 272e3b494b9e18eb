import pytest
import torch

from training.model.dropout import dropout
from training.model.mlp import MLP


def test_dropout_keeps_the_mean_and_ends_with_training() -> None:
    """
    A quarter of the units is zero, the others are scaled; in evaluation mode nothing is dropped.
    """
    generator = torch.Generator().manual_seed(1)

    dropped = dropout(torch.ones(100, 100), 0.25, generator)

    assert (dropped == 0).float().mean() == pytest.approx(0.25, abs=0.02)  # of 10,000 draws
    assert dropped.mean() == pytest.approx(1, abs=0.02)
    net = MLP(3, (50,), 2, "glorot-uniform", generator, dropout=0.5).eval()
    pixels = torch.full((2, 3), 200)
    assert torch.equal(net(pixels), net(pixels))
    assert not torch.equal(net.train()(pixels), net(pixels))
