import copy

import numpy as np
import pytest
import torch

from tests import precision
from training.model.mlp import MLP


def _net(hidden: tuple[int, ...], seed: int = 0, inputs: int = 784, classes: int = 10) -> MLP:
    generator = torch.Generator().manual_seed(seed)
    return MLP(inputs, hidden, classes, "glorot-uniform", generator)


@pytest.mark.parametrize(("hidden", "parameters"), [((), 7_850), ((128,), 101_770), ((512,) * 4, 1_195_018)])
def test_the_number_of_parameters_follows_from_the_widths(hidden: tuple[int, ...], parameters: int) -> None:
    """
    The lesson's networks have the numbers that the lesson states.
    """
    net = _net(hidden)

    assert sum(weight.numel() for weight in net.parameters()) == parameters


def test_layers_are_named_from_input_to_output() -> None:
    """
    The service shows the names hidden1, hidden2, ..., output.
    """
    assert list(_net((5, 4)).dense) == ["hidden1", "hidden2", "output"]


def test_logits_equal_a_forward_pass_in_numpy() -> None:
    """
    Scaled pixels, ReLU between layers, none at the end.
    """
    net = _net((5, 4), inputs=6, classes=3)
    pixels = np.random.default_rng(1).integers(0, 256, (7, 2, 3), np.uint8)
    error = precision.logit_error(net.numpy_layers(), pixels)

    logits = net(torch.tensor(pixels)).detach().numpy()

    signal = pixels.reshape(7, 6) / 255
    for name, layer in net.dense.items():
        signal = signal @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        if name != "output":
            signal = np.maximum(signal, 0)
    assert np.all(np.abs(logits - signal) <= error)


def test_folding_the_input_normalisation_keeps_the_logits() -> None:
    """
    Mean and spread of the input are folded into the first layer.
    """
    net = MLP(6, (5,), 3, "glorot-uniform", torch.Generator().manual_seed(1), mean=0.3, spread=0.2).eval()
    plain = MLP(6, (5,), 3, "glorot-uniform", torch.Generator().manual_seed(1)).eval()
    pixels = torch.randint(0, 256, (4, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    pixels[0] = 0
    before, error = net(pixels), _folding_error(net, pixels)

    net.fold()
    plain.load_state_dict(net.state_dict())

    assert ((net(pixels) - before).abs() <= error).all()
    assert torch.equal(plain(pixels), net(pixels))


def _normalised() -> MLP:
    """A network after some batches with batch normalisation, with random scales and shifts."""
    generator = torch.Generator().manual_seed(1)
    net = MLP(6, (5, 4), 3, "he-normal", generator, mean=0.3, spread=0.2, batch_norm=True)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if "norm" in name:
                weight.copy_(torch.rand(weight.shape, generator=generator) + 0.5)
    for _ in range(20):
        net(torch.randint(0, 256, (32, 6), dtype=torch.uint8, generator=generator))
    return net.eval()


def _folding_error(net: MLP, pixels: torch.Tensor) -> torch.Tensor:
    """Return a bound of the change of the logits by folding, (B, classes). The logits before and after are
    sums of the same products in another order. The error is relative to the sums of absolute values of all
    terms, which a network of absolute weights, biases, means and shifts computes.
    """
    roundings = 100  # more than twice those of two hidden layers of at most 6 inputs
    whole = copy.deepcopy(net)
    whole._mean = -abs(net._mean)
    for name, values in whole.state_dict().items():
        values.copy_(-values.abs() if name.endswith("running_mean") else values.abs())
    sums: torch.Tensor = whole(pixels)
    return 2 * precision.gamma(roundings) * sums


def test_batch_normalisation_standardises_hidden_layers() -> None:
    """
    In training mode, at any size of the weights; the output is not normalised.
    """
    generator = torch.Generator().manual_seed(1)
    net = MLP(6, (5,), 3, "he-normal", generator, batch_norm=True)
    pixels = torch.randint(0, 256, (50, 6), dtype=torch.uint8, generator=generator)
    before = net(pixels)

    with torch.no_grad():
        net.dense["hidden1"].weight.mul_(100)
        net.dense["hidden1"].bias.add_(7)
    after = net(pixels)

    torch.testing.assert_close(after, before, atol=1e-2, rtol=1e-2)  # a small number is added to variances
    assert before.mean(0).abs().max() > 0.1
    assert [name for name, _ in net.named_modules() if name.endswith("norm")] == ["hidden1-norm"]


def test_folding_batch_normalisation_keeps_the_logits() -> None:
    """
    The folded network has plain dense layers only.
    """
    net = _normalised()
    plain = MLP(6, (5, 4), 3, "he-normal", torch.Generator().manual_seed(2)).eval()
    pixels = torch.randint(0, 256, (9, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    before, error = net(pixels), _folding_error(net, pixels)

    net.fold()
    plain.load_state_dict(net.state_dict())

    assert ((net(pixels) - before).abs() <= error).all()
    assert torch.equal(plain(pixels), net(pixels))


def test_folding_twice_changes_nothing() -> None:
    """
    The second call has no effect.
    """
    net = _normalised()

    net.fold()
    once = {name: weight.clone() for name, weight in net.state_dict().items()}
    net.fold()

    assert all(torch.equal(weight, once[name]) for name, weight in net.state_dict().items())


def test_weights_depend_on_the_generator_alone() -> None:
    """
    torch's global generator is neither used nor changed.
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
