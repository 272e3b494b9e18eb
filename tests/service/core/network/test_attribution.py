"""`service/core/network/attribution.py`: shares are exact. Published models: test_explain.py."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.core.network import dense_layers
from service.core.network.attribution import explain
from service.core.network.dense_layers import Dense, Layer
from service.core.network.int8 import Int8Dense
from tests import precision, toys
from tests.examples import examples

HAND = precision.gamma(16)
"""Relative error of sums of a few products in float32."""

STEP = 1e-4
"""Of a finite difference in double precision, far smaller than what switches most units."""

DIFFERENCE = 1e-9
"""Of a finite difference: sums of a few tens to 2**-53, over twice the step."""


def toy(seed: int, widths: list[int], rectify_last: bool = False) -> dict[str, Layer]:
    """Return a network with random weights and biases, with ReLU except after its last layer."""
    rng = np.random.default_rng(seed)
    layers: dict[str, Layer] = {}
    for depth, (inputs, units) in enumerate(pairwise(widths), start=1):
        weight = (rng.normal(size=(units, inputs)) / np.sqrt(inputs)).astype(np.float32).T
        bias = rng.normal(size=units).astype(np.float32)
        layers[f"layer{depth}"] = Dense(weight, bias, depth < len(widths) - 1 or rectify_last)
    return layers


def first(layers: dict[str, Layer], depth: int) -> dict[str, Layer]:
    """Return the first layers of a network."""
    return dict(list(layers.items())[:depth])


def pictures(seed: int, count: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return random images in which half of the pixels are 0."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, (count, *shape), np.uint8)
    return np.where(rng.integers(0, 2, values.shape) == 1, values, np.uint8(0))


def test_shares_of_a_small_network_computed_by_hand() -> None:
    """
    Of three pixels 1, 0.6 and 0; the second hidden unit is switched off, so its weights do not count.

    hidden1 = 2 * 1 + 1 * 0.6 + 0.5 = 3.1, hidden2 = -4 + 1 < 0; logit 0 = 3 * 3.1 - 1 = 8.3.
    """
    weight = np.array([[2, -4], [1, 0], [7, 7]], np.float32)
    layers: dict[str, Layer] = {
        "hidden1": Dense(weight, np.array([0.5, 1], np.float32), is_rectified=True),
        "output": Dense(
            np.array([[3, 1], [9, 9]], np.float32), np.array([-1, 2], np.float32), is_rectified=False
        ),
    }
    image = np.array([[[255, 153, 0]]], np.uint8)

    found = explain(layers, image, np.array([0]))

    np.testing.assert_allclose(found.shares, [[[6, 1.8, 0]]], rtol=HAND)
    np.testing.assert_allclose(found.bias, [0.5], rtol=HAND)  # 3 * 0.5 - 1
    np.testing.assert_allclose(found.activations["hidden1"], [[3.1, 0]], rtol=HAND)
    np.testing.assert_allclose(found.activations["output"], [[8.3, 5.1]], rtol=HAND)


@examples()
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([(3, 4), (2, 2, 3), (9,)]),
    hidden=st.lists(st.integers(1, 12), max_size=3),
    classes=st.integers(2, 5),
    count=st.integers(1, 6),
    rectify_last=st.booleans(),
)
def test_shares_and_bias_sum_to_the_logit(
    seed: int, shape: tuple[int, ...], hidden: list[int], classes: int, count: int, rectify_last: bool
) -> None:
    """
    For every class and networks of any depth; the logits are computed separately in float64.
    """
    layers = toy(seed, [int(np.prod(shape)), *hidden, classes], rectify_last)
    images = pictures(seed, count, shape)
    logits = dense_layers.logits(layers, images)
    error = precision.share_error(layers, images)

    for one in range(classes):
        found = explain(layers, images, np.full(count, one))

        assert found.shares.shape == images.shape
        assert found.shares.dtype == found.bias.dtype == np.dtype(np.float32)
        sums = found.shares.reshape(count, -1).sum(axis=1, dtype=float) + found.bias
        assert np.all(np.abs(sums - logits[:, one]) <= error[:, one])


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_pixel_times_gradient(seed: int) -> None:
    """
    The gradient is a finite difference: each pixel is made slightly lighter and darker.
    """
    layers = toy(seed, [12, 16, 8, 3])
    (image,) = pictures(seed, 1, (3, 4))
    pixels = image.ravel() / 255.0
    moved = np.concatenate([pixels + STEP * np.eye(12), pixels - STEP * np.eye(12)])

    signal = moved
    for layer in layers.values():
        signal = signal @ layer.weight.astype(np.float64) + layer.bias
        signal = np.maximum(signal, 0) if layer.is_rectified else signal
    slopes = (signal[:12] - signal[12:]) / (2 * STEP)  # (12, classes)

    for one in range(3):
        (shares,) = explain(layers, image[None], np.array([one])).shares
        error = precision.share_error(layers, image[None])[0, one]
        np.testing.assert_allclose(shares.ravel(), slopes[:, one] * pixels, rtol=0, atol=error + DIFFERENCE)


def test_each_image_of_a_batch_may_have_its_own_class() -> None:
    """
    The result is the same as for each image alone.
    """
    layers = toy(1, [12, 8, 3])
    images = pictures(1, 3, (3, 4))
    classes = np.array([2, 0, 1])

    together = explain(layers, images, classes)

    errors = precision.share_error(layers, images)
    for row in range(3):
        alone = explain(layers, images[row : row + 1], classes[row : row + 1])
        error = 2 * errors[row, classes[row]]
        np.testing.assert_allclose(together.shares[row], alone.shares[0], rtol=0, atol=error)
        np.testing.assert_allclose(together.bias[row], alone.bias[0], rtol=0, atol=error)
        for depth, layer in enumerate(layers, start=1):
            off = np.abs(together.activations[layer][row] - alone.activations[layer][0])
            assert np.all(off <= 2 * precision.logit_error(first(layers, depth), images)[row])


def test_pixels_of_0_have_a_share_of_0() -> None:
    """
    And not -0. The logit of an empty image is its bias.
    """
    layers = toy(2, [12, 8, 3])
    empty = np.zeros((1, 3, 4), np.uint8)

    found = explain(layers, empty, np.array([1]))

    assert not found.shares.any()
    assert not np.signbit(found.shares).any()
    off = np.abs(found.bias - dense_layers.logits(layers, empty)[:, 1])
    assert np.all(off <= precision.share_error(layers, empty)[:, 1])


def test_activations_of_all_layers_are_returned_in_order() -> None:
    """
    After the ReLU; the last are the logits.
    """
    layers = toy(3, [12, 8, 5, 3])
    images = pictures(3, 2, (3, 4))

    activations = explain(layers, images, np.array([0, 0])).activations

    assert [(name, values.shape) for name, values in activations.items()] == [
        ("layer1", (2, 8)),
        ("layer2", (2, 5)),
        ("layer3", (2, 3)),
    ]
    hidden = np.maximum(images.reshape(2, -1) / 255 @ layers["layer1"].weight + layers["layer1"].bias, 0)
    for depth, expected in ((1, hidden), (3, dense_layers.logits(layers, images))):
        off = np.abs(activations[f"layer{depth}"] - expected)
        assert np.all(off <= precision.logit_error(first(layers, depth), images))


def whole(seed: int, widths: list[int]) -> dict[str, Layer]:
    """Return an int8 network with random weights and coarsely quantized activations."""
    layers: dict[str, Layer] = {}
    taken = 1 / 255
    for depth, (inputs, units) in enumerate(pairwise(widths), start=1):
        given = None if depth == len(widths) - 1 else 0.25
        tensors = toys.rounded_tensors("", seed + depth, inputs, units, given)
        layers[f"layer{depth}"] = Int8Dense(
            tensors[".weight"], tensors[".bias"], tensors[".step"], taken, given, given is not None
        )
        taken = given or taken
    return layers


@examples()
@given(
    seed=st.integers(0, 2**31),
    shape=st.sampled_from([(3, 4), (2, 2, 3), (28, 28)]),
    hidden=st.lists(st.integers(1, 12), max_size=3),
    classes=st.integers(2, 5),
    count=st.integers(1, 6),
)
def test_shares_and_bias_sum_to_the_logit_of_int8_networks(
    seed: int, shape: tuple[int, ...], hidden: list[int], classes: int, count: int
) -> None:
    """
    For every class and networks of any depth, although activations are rounded and clipped.
    """
    layers = whole(seed, [int(np.prod(shape)), *hidden, classes])
    images = pictures(seed, count, shape)
    logits = dense_layers.logits(layers, images)
    error = precision.share_error(layers, images)

    for one in range(classes):
        found = explain(layers, images, np.full(count, one))

        sums = found.shares.reshape(count, -1).sum(axis=1, dtype=float) + found.bias
        assert np.all(np.abs(sums - logits[:, one]) <= error[:, one])


def test_rounding_errors_are_part_of_the_bias() -> None:
    """
    A white pixel makes 3.175 of a unit that hands on 4, since it counts in twos; the class doubles that.

    Its share is what the weights say, 6.35; the other 1.65 are in the bias, beside the class's own 1.
    """
    layers: dict[str, Layer] = {
        "hidden1": Int8Dense(
            weight_int8=np.array([[51]], np.int8),
            bias_int32=np.array([0], np.int32),
            scale=np.array([2.0**-12], np.float32),
            input_scale=1 / 255,
            output_scale=2.0,
            is_rectified=True,
        ),
        "output": Int8Dense(
            weight_int8=np.array([[4, 0]], np.int8),
            bias_int32=np.array([1, 0], np.int32),
            scale=np.array([1, 1], np.float32),
            input_scale=2.0,
            output_scale=None,
            is_rectified=False,
        ),
    }
    sums = 51 * 255 * 2.0**-12  # 3.175, which is nearer to 4 than to 2

    found = explain(layers, np.array([[[255]]], np.uint8), np.array([0]))

    np.testing.assert_allclose(found.activations["hidden1"], [[4]])
    np.testing.assert_allclose(found.activations["output"], [[9, 0]])
    np.testing.assert_allclose(found.shares, [[[2 * sums]]], rtol=HAND)
    np.testing.assert_allclose(found.bias, [1 + 2 * (4 - sums)], rtol=HAND)
