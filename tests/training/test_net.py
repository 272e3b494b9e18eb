import numpy as np
import pytest
import torch

from training.net import Net, glorot_uniform_


def _net(hidden: tuple[int, ...], seed: int = 0, inputs: int = 784, classes: int = 10) -> Net:
    generator = torch.Generator().manual_seed(seed)
    return Net(inputs, hidden, classes, "glorot-uniform", generator)


@pytest.mark.parametrize(("hidden", "parameters"), [((), 7_850), ((128,), 101_770), ((512,) * 4, 1_195_018)])
def test_a_net_has_the_parameters_of_its_widths(hidden: tuple[int, ...], parameters: int) -> None:
    """
    The lesson's networks have the sizes that the lesson prints.
    """
    net = _net(hidden)

    assert sum(weight.numel() for weight in net.parameters()) == parameters


def test_layers_are_named_from_input_to_output() -> None:
    """
    The names that the service shows are hidden1, hidden2, ..., output.
    """
    assert list(_net((5, 4)).dense) == ["hidden1", "hidden2", "output"]


def test_logits_are_the_sums_that_the_layers_say() -> None:
    """
    A forward pass equals the same sums in numpy: scaled pixels, ReLU between layers, none at the end.
    """
    net = _net((5, 4), inputs=6, classes=3)
    pixels = np.random.default_rng(1).integers(0, 256, (7, 2, 3), np.uint8)

    logits = net(torch.tensor(pixels)).detach().numpy()

    signal = pixels.reshape(7, 6) / 255
    for name, layer in net.dense.items():
        signal = signal @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        if name != "output":
            signal = np.maximum(signal, 0)
    np.testing.assert_allclose(logits, signal, atol=1e-6)  # float32 against float64


def test_glorot_weights_lie_in_their_range() -> None:
    """
    Uniform between -a and a with a = sqrt(6 / (fan_in + fan_out)), which has variance a² / 3.
    """
    weight = torch.empty(100, 50)

    glorot_uniform_(weight, torch.Generator().manual_seed(0))

    bound = 0.2  # sqrt(6 / 150)
    assert weight.abs().max() <= bound
    assert weight.var().item() == pytest.approx(bound**2 / 3, rel=0.05)  # of 5,000 draws


def test_a_seed_gives_the_same_weights_whatever_else_was_drawn() -> None:
    """
    Weights come from the generator that is handed in; torch's global one is neither used nor moved.
    """
    torch.manual_seed(1)
    first = _net((4,), seed=3)
    drawn = torch.rand(1)
    torch.manual_seed(1)
    undisturbed = torch.rand(1)
    second = _net((4,), seed=3)

    assert torch.equal(drawn, undisturbed)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first.dense["output"].weight, _net((4,), seed=4).dense["output"].weight)
    assert all(not layer.bias.any() for layer in first.dense.values())
