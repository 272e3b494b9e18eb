from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from service.core import network
from service.core.network import Dense
from training.quantisation import gptq
from training.quantisation.comparison import predict
from training.quantisation.gptq import quantise_layers


def toy(seed: int, widths: list[int]) -> dict[str, Dense]:
    """Return a rectifier network with random weights and biases."""
    generator = np.random.default_rng(seed)
    return {
        f"layer{depth}": Dense(
            weight=(generator.normal(size=(inputs, units)) / np.sqrt(inputs)).astype(np.float32),
            bias=generator.normal(size=units).astype(np.float32),
            is_rectified=depth < len(widths) - 1,
        )
        for depth, (inputs, units) in enumerate(pairwise(widths), start=1)
    }


def pictures(seed: int, count: int) -> NDArray[np.uint8]:
    """Return images of 6 x 5 pixels in which neighbours are alike, as they are in drawings."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 200, (count, 3, 5), np.uint8).repeat(2, axis=1)
    return np.asarray(coarse + generator.integers(0, 56, (count, 6, 5), np.uint8), np.uint8)


@pytest.mark.parametrize("hidden", [[], [12], [24, 16, 8]])
def test_a_rounded_network_says_nearly_what_it_said(hidden: list[int]) -> None:
    """
    Of images that it was not rounded by, within a few hundredths of what the logits differ by.
    """
    layers = toy(1, [30, *hidden, 4])

    made = quantise_layers(layers, pictures(2, 500))

    images = pictures(3, 200)
    before, after = network.logits(layers, images), network.logits(made, images)
    assert np.sqrt(((before - after) ** 2).mean()) < 0.03 * before.std()


def test_every_processor_gives_the_same() -> None:
    """
    No layer has a flaw; signals count in powers of two, and the next layer takes what the last one gives.
    """
    made = list(quantise_layers(toy(1, [30, 24, 16, 4]), pictures(2, 500)).values())

    assert [layer.flaw() for layer in made] == [""] * 3
    assert [layer.given is None for layer in made] == [False, False, True]
    assert [layer.taken for layer in made] == [1 / 255, made[0].given, made[1].given]
    for layer in made[:-1]:
        assert np.all(np.log2(layer.step) % 1 == 0)
        assert np.log2(layer.given or 0) % 1 == 0


def test_single_and_double_precision_say_the_same() -> None:
    """
    Since sums are exact, rounding comes out alike; only the last step is a float's.
    """
    made = quantise_layers(toy(4, [30, 64, 32, 4]), pictures(2, 500))
    images = np.concatenate([pictures(3, 100), np.full((1, 6, 5), 255, np.uint8)])

    np.testing.assert_array_equal(predict(made, images), network.logits(made, images).astype(np.float32))


def test_errors_are_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of images whose pixels go together, sums change less than where each weight goes to the nearest number.
    """
    layers = toy(5, [30, 4])
    images = pictures(6, 500)

    def change() -> float:
        made = quantise_layers(layers, pictures(2, 500))
        return float(np.abs(network.logits(layers, images) - network.logits(made, images)).mean())

    compensated = change()
    monkeypatch.setattr(gptq, "_MAX_GPTQ_INPUTS", 0)
    assert compensated < 0.8 * change()


def test_no_image_that_it_was_rounded_by_is_cut_off() -> None:
    """
    The largest signal of the network in floats has a place among the whole numbers, more than half-way up.
    """
    layers, images = toy(7, [30, 24, 4]), pictures(2, 500)

    made = quantise_layers(layers, images)["layer1"]

    largest = layers["layer1"].answer(layers["layer1"].sums(images.reshape(500, -1) / 255.0)).max()
    assert made.given
    assert 127 < largest / made.given <= 255.5


def test_units_that_do_nothing_and_large_biases_are_rounded_too() -> None:
    """
    A unit without weights, one that is only a bias, and one whose bias is far larger than its weights.
    """
    weight = np.zeros((30, 3), np.float32)
    weight[:, 2] = 1e-6
    layers = {
        "layer1": Dense(weight, np.array([0, 3, 50], np.float32), is_rectified=True),
        "output": Dense(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), is_rectified=False),
    }
    images = pictures(1, 60)

    made = quantise_layers(layers, images)

    assert [layer.flaw() for layer in made.values()] == ["", ""]
    np.testing.assert_allclose(network.logits(made, images), [[0, 3, 50]] * 60, atol=0.15)


def test_sums_stay_exact_however_many_inputs_there_are() -> None:
    """
    Weights that are all as large as they can be would sum beyond what single precision holds.
    """
    inputs = 2000
    layers = {"output": Dense(np.ones((inputs, 2), np.float32), np.zeros(2, np.float32), is_rectified=False)}
    images = np.random.default_rng(1).integers(0, 256, (50, inputs), np.uint8)

    made = quantise_layers(layers, images)

    assert made["output"].flaw() == ""
    np.testing.assert_allclose(network.logits(made, images), network.logits(layers, images), rtol=0.01)


def test_the_same_images_give_the_same_numbers() -> None:
    """
    To the bit, so that a version can be made again.
    """
    one, other = (quantise_layers(toy(1, [30, 12, 4]), pictures(2, 300)) for _ in range(2))

    for name, layer in one.items():
        np.testing.assert_array_equal(layer.matrix, other[name].matrix)
        np.testing.assert_array_equal(layer.addend, other[name].addend)
        assert layer.given == other[name].given
