"""Why a network says what it says: each pixel's exact share in one class's logit.

A network of sums and rectifiers is linear around any one image x: with J the gradient of a class's logit
at x, that logit is J . x + b. A pixel's share is its gradient times its value, and b is what the biases of
the units that are switched on contribute.

A network in whole numbers rounds what its units hand on. What rounding added or took is a number of its own
for this image, as a bias is, and counts as one: a share never holds any of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.core.network.dense_layers import Layer
from service.core.network.int8 import Int8Dense


@dataclass(frozen=True)
class Explanation:
    """Where the logits of one class an image come from.

    Attributes:
        shares: (B, ...) float32 of the images' shape, in units of the logit: what each number of an image
            adds to it. An image's shares and its bias add up to its logit.
        bias: (B,) float32, what the network adds whatever the pixels are, as long as the same units are
            switched on, and what it rounded, if it does.
        activations: (B, units) float32 for every layer, from input to output: what its units say, after
            the rectifier where it has one.
    """

    shares: NDArray[np.float32]
    bias: NDArray[np.float32]
    activations: Mapping[str, NDArray[np.float32]]


def explain(layers: Mapping[str, Layer], images: NDArray[np.uint8], classes: NDArray[np.intp]) -> Explanation:
    """Share out the logit of one class for each image.

    One way through the layers, and one way back through the units that were switched on. The matrices are
    read as they are, and the gradients of other classes are never computed.

    Args:
        layers: From input to output.
        images: (B, ...) uint8.
        classes: (B,) the class whose logit is explained, 0 to the units of the last layer - 1.

    Returns:
        Shares, biases and activations. Computed in single precision, as the network runs: within 1e-3
        the published networks' shares and biases add up to their logits (measured: within 3e-5).
    """
    pixels = np.asarray(images.reshape(len(images), -1) / np.float32(255), np.float32)  # (B, inputs)
    activations: dict[str, NDArray[np.float32]] = {}
    signals: dict[str, NDArray[np.float32]] = {}
    rounded_by: dict[str, NDArray[np.float32]] = {}
    signal = pixels
    for name, layer in layers.items():
        signals[name] = signal  # (B, inputs of the layer)
        sums = layer.sums(signal)  # (B, units)
        signal = layer.answer(sums)
        activations[name] = signal
        if isinstance(layer, Int8Dense):
            rounded_by[name] = signal - sums
    gradient = (classes[:, None] == np.arange(signal.shape[1])).astype(np.float32)  # (B, classes)
    bias = np.zeros(len(images), np.float32)
    for name, layer in reversed(list(layers.items())):
        if layer.is_rectified:
            gradient = gradient * (activations[name] > 0)
        if name in rounded_by:
            bias += (gradient * rounded_by[name]).sum(axis=1)
        bias += gradient @ layer.bias
        gradient = layer.back(gradient, signals[name])  # (B, inputs of the layer)
    shares = gradient * pixels + np.float32(0)  # which makes 0 of -0
    return Explanation(shares.reshape(images.shape), bias, activations)
