"""Rounding error bounds of float32 arithmetic, from which tolerances of tests follow.

In the standard model every operation is off by a factor 1 + d with |d| <= u = 2**-24. A sum of n products
then differs from the exact sum by at most gamma(n) * sum(|products|), whatever the order and the width in
which a processor adds, with or without fused multiply-add.

Source: Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, sections 2.2, 3.1 and 3.4.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.core.network.dense_layers import Layer
from service.core.network.int8 import Int8Dense

ROUNDOFF = 2.0**-24
"""Largest relative error of one float32 operation, u."""

PIXEL = 2
"""Roundings of a pixel between 0 and 1: the factor 1 / 255 and the product, or one division."""

LAYER = 4
"""Roundings of a layer besides its sum: the bias, the rectifier's factor, and an int8 layer's two steps."""

EXPONENTIAL = 4
"""Roundings that an exponential function counts as: its value may be off by two units in the last place."""


def gamma(operations: int) -> float:
    """Return the largest relative error of a chain of float32 operations: n u / (1 - n u)."""
    return operations * ROUNDOFF / (1 - operations * ROUNDOFF)


def magnitude(layers: Mapping[str, Layer], images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the sums of a network with every term's absolute value in place of the term.

    What an int8 layer adds or takes by rounding its signal is a term too.

    Args:
        layers: From input to output.
        images: (B, ...) uint8.

    Returns:
        (B, units of the last layer).
    """
    signal = images.reshape(len(images), -1) / 255.0
    terms = signal
    for layer in layers.values():
        sums = layer.linear(signal)
        signal = layer.activate(sums)
        terms = terms @ np.abs(layer.weight.astype(np.float64)) + np.abs(layer.bias.astype(np.float64))
        if isinstance(layer, Int8Dense):
            terms = terms + np.where(signal > 0, np.abs(signal - sums), 0)
    return terms


def operations(layers: Mapping[str, Layer], axis: int = 0) -> int:
    """Return the roundings that one product passes between pixel and logit; a weight of 0 causes none.

    Args:
        layers: From input to output.
        axis: 0 from pixels to logits, whose sums have a term an input; 1 for the gradient, whose sums have
            a term a unit.
    """
    return PIXEL + sum(
        int(np.count_nonzero(layer.weight, axis=axis).max()) + LAYER for layer in layers.values()
    )


def logit_error(layers: Mapping[str, Layer], images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how far float32 logits may be from the exact ones, which double precision stands for.

    A rectifier passes an error on or stops it, so it needs no term. Two float32 computations may differ by
    twice as much.

    Args:
        layers: From input to output.
        images: (B, ...) uint8.

    Returns:
        (B, classes).
    """
    return gamma(operations(layers)) * magnitude(layers, images)


def share_error(layers: Mapping[str, Layer], images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how far float32 shares and bias of an explanation may be from adding up to the exact logit.

    Both the activations and the gradient are off. Units are switched on by the computed activations, and the
    exact logit differs from the one of the same units by another error of the activations.

    Args:
        layers: From input to output.
        images: (B, ...) uint8.

    Returns:
        (B, classes), for the logit of each class.
    """
    return 3 * gamma(operations(layers) + operations(layers, axis=1)) * magnitude(layers, images)


def probability_error(logit_errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far float32 probabilities may be from the softmax of exact logits.

    A probability's logarithm moves by at most twice what the logits move by. Besides there are the
    exponentials of numerator and denominator, the difference to the largest logit, the sum and the division.

    Args:
        logit_errors: (B, classes), of the logits that the softmax is taken of.

    Returns:
        (B, 1), for every probability of a row.
    """
    classes = logit_errors.shape[1]
    moved = np.expm1(2 * logit_errors.max(axis=1, keepdims=True))
    return np.asarray(moved + gamma(2 * EXPONENTIAL + 2 + classes + 1))


def softmax_error(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Return how far a float32 softmax may be from the exact one of the same logits over a temperature.

    Args:
        logits: (B, classes).
        temperature: What they are divided by; unless it is 1, it is rounded itself, and so is each quotient.

    Returns:
        (B, 1).
    """
    divided = 0.0 if temperature == 1 else gamma(2) / temperature
    return probability_error(divided * np.abs(logits.astype(np.float64)))
