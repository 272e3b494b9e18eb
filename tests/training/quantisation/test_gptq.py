from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from service.core.network import dense_layers
from service.core.network.dense_layers import Dense
from training.quantisation import gptq
from training.quantisation.comparison import layer_logits
from training.quantisation.gptq import quantise_layers


def toy(seed: int, widths: list[int]) -> dict[str, Dense]:
    """Return a ReLU network with random weights and biases."""
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
    """Return 6 x 5 images with similar neighbouring pixels, as in drawings."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 200, (count, 3, 5), np.uint8).repeat(2, axis=1)
    return np.asarray(coarse + generator.integers(0, 56, (count, 6, 5), np.uint8), np.uint8)


@pytest.mark.parametrize("hidden", [[], [12], [24, 16, 8]])
def test_quantisation_changes_logits_little(hidden: list[int]) -> None:
    """
    On images not used for calibration, by a few hundredths of the logits' deviation.
    """
    layers = toy(1, [30, *hidden, 4])

    quantised = quantise_layers(layers, pictures(2, 500))

    images = pictures(3, 200)
    before, after = dense_layers.logits(layers, images), dense_layers.logits(quantised, images)
    assert np.sqrt(((before - after) ** 2).mean()) < 0.03 * before.std()


def test_every_layer_satisfies_the_contract() -> None:
    """
    No layer has a flaw; scales are powers of two, and each layer's input scale is the previous output
    scale.
    """
    quantised = list(quantise_layers(toy(1, [30, 24, 16, 4]), pictures(2, 500)).values())

    assert [layer.portability_error() for layer in quantised] == [""] * 3
    assert [layer.output_scale is None for layer in quantised] == [False, False, True]
    assert [layer.input_scale for layer in quantised] == [
        1 / 255,
        quantised[0].output_scale,
        quantised[1].output_scale,
    ]
    for layer in quantised[:-1]:
        assert np.all(np.log2(layer.scale) % 1 == 0)
        assert np.log2(layer.output_scale or 0) % 1 == 0


def test_single_and_double_precision_agree() -> None:
    """
    Integer sums are exact, so only the last scale is a float operation.
    """
    quantised = quantise_layers(toy(4, [30, 64, 32, 4]), pictures(2, 500))
    images = np.concatenate([pictures(3, 100), np.full((1, 6, 5), 255, np.uint8)])

    np.testing.assert_array_equal(
        layer_logits(quantised, images), dense_layers.logits(quantised, images).astype(np.float32)
    )


def test_gptq_is_better_than_rounding_to_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    On images with correlated pixels sums change less.
    """
    layers = toy(5, [30, 4])
    images = pictures(6, 500)

    def change() -> float:
        quantised = quantise_layers(layers, pictures(2, 500))
        return float(
            np.abs(dense_layers.logits(layers, images) - dense_layers.logits(quantised, images)).mean()
        )

    compensated = change()
    monkeypatch.setattr(gptq, "_MAX_GPTQ_INPUTS", 0)
    assert compensated < 0.8 * change()


def test_calibration_images_do_not_saturate() -> None:
    """
    The largest activation fits into uint8, in the upper half of the range.
    """
    layers, images = toy(7, [30, 24, 4]), pictures(2, 500)

    quantised = quantise_layers(layers, images)["layer1"]

    largest = layers["layer1"].activate(layers["layer1"].linear(images.reshape(500, -1) / 255.0)).max()
    assert quantised.output_scale
    assert 127 < largest / quantised.output_scale <= 255.5


def test_zero_units_and_large_biases_are_quantised() -> None:
    """
    A unit without weights, one with a bias only, and one whose bias is far larger than its weights.
    """
    weight = np.zeros((30, 3), np.float32)
    weight[:, 2] = 1e-6
    layers = {
        "layer1": Dense(weight, np.array([0, 3, 50], np.float32), is_rectified=True),
        "output": Dense(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), is_rectified=False),
    }
    images = pictures(1, 60)

    quantised = quantise_layers(layers, images)

    assert [layer.portability_error() for layer in quantised.values()] == ["", ""]
    np.testing.assert_allclose(dense_layers.logits(quantised, images), [[0, 3, 50]] * 60, atol=0.15)


def test_sums_stay_exact_for_many_inputs() -> None:
    """
    Largest weights everywhere would exceed the exact range of single precision.
    """
    inputs = 2000
    layers = {"output": Dense(np.ones((inputs, 2), np.float32), np.zeros(2, np.float32), is_rectified=False)}
    images = np.random.default_rng(1).integers(0, 256, (50, inputs), np.uint8)

    quantised = quantise_layers(layers, images)

    assert quantised["output"].portability_error() == ""
    np.testing.assert_allclose(
        dense_layers.logits(quantised, images), dense_layers.logits(layers, images), rtol=0.01
    )


def test_the_same_images_give_the_same_bits() -> None:
    """
    A version can be reproduced.
    """
    one, other = (quantise_layers(toy(1, [30, 12, 4]), pictures(2, 300)) for _ in range(2))

    for name, layer in one.items():
        np.testing.assert_array_equal(layer.weight_int8, other[name].weight_int8)
        np.testing.assert_array_equal(layer.bias_int32, other[name].bias_int32)
        assert layer.output_scale == other[name].output_scale
