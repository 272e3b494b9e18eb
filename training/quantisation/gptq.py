"""Quantisation of dense layers to int8 weights and uint8 activations with GPTQ.

The arithmetic of a quantised layer is defined in `service.core.network.int8`. Scales and weights are chosen
from unlabelled calibration images.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.core.network.dense_layers import Dense, Layer
from service.core.network.int8 import LARGEST_ACTIVATION, LARGEST_SUM, LARGEST_WEIGHT, Int8Dense

DAMPING = 0.01
"""Added to the diagonal of the Hessian, relative to its mean; for inputs with little variance."""

_MAX_GPTQ_INPUTS = 4096
"""Wider layers are rounded to nearest: GPTQ takes cubic time in the number of inputs."""

_HEADROOM = 0.9
"""Share of the accumulator range that the weights may use before GPTQ changes them."""

_BIAS_BITS = 22
"""Largest magnitude of a bias, as a power of two: a quarter of the accumulator range."""

_BLOCK = 64
"""Inputs that are quantised before the error is propagated to the remaining ones."""

_Floats = NDArray[np.float64]


def quantise_layers(layers: Mapping[str, Layer], images: NDArray[np.uint8]) -> dict[str, Int8Dense]:
    """Quantise a network layer by layer, each on the quantised output of the previous ones.

    Each unit has a weight scale, the smallest power of two that keeps its weights in range. Weights are
    rounded one input at a time; the error of each is compensated by the inputs that follow, and the
    remaining mean error by the bias. The activation scale is the smallest power of two with which no
    calibration image exceeds uint8.

    Args:
        layers: Layers in float32, from input to output.
        images: (N, ...) uint8, calibration images.

    Returns:
        The quantised layers by name. The same arguments give the same bits on the same machine.

    Source: Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ: accurate post-training quantization for generative
    pre-trained transformers", 2022.
    """
    signal: _Floats = images.reshape(len(images), -1) / 255.0  # activations of the float network
    quantised: _Floats = images.reshape(len(images), -1).astype(np.float64)  # of the quantised one, in steps
    input_scale = 1 / 255
    result = {}
    for position, (name, layer) in enumerate(layers.items()):
        assert isinstance(layer, Dense)
        is_last = position == len(layers) - 1
        weight = layer.weight.astype(np.float64) * input_scale  # (inputs, units), per input step
        bias = layer.bias.astype(np.float64)
        sums = layer.linear(signal)
        scale = _weight_scales(weight, bias, is_last)
        mean = quantised.mean(axis=0)
        matrix = _gptq(weight / scale, quantised - mean)
        addend = np.rint((sums.mean(axis=0) - mean @ (matrix * scale)) / scale)
        signal = layer.activate(sums)
        output_scale = (
            None
            if is_last
            else float(_power_of_two(np.maximum(signal.max(), 1e-6) / (LARGEST_ACTIVATION + 0.5)))
        )
        result[name] = Int8Dense(
            weight_int8=matrix.astype(np.int8),
            bias_int32=addend.astype(np.int32),
            scale=scale.astype(np.float32),
            input_scale=input_scale,
            output_scale=output_scale,
            is_rectified=layer.is_rectified,
        )
        assert not result[name].portability_error()  # guaranteed by the choice of the scales
        if output_scale:
            quantised = result[name].activate(result[name].linear(quantised * input_scale)) / output_scale
            input_scale = output_scale
    return result


def _weight_scales(weight: _Floats, bias: _Floats, is_last: bool) -> _Floats:
    """Return the weight scale of each unit, (units,)."""
    largest = np.maximum(np.abs(weight).max(axis=0), 1e-9)
    scale = largest / LARGEST_WEIGHT if is_last else _power_of_two(largest / (LARGEST_WEIGHT + 0.5))
    by_sum = LARGEST_ACTIVATION * np.abs(weight).sum(axis=0) / (_HEADROOM * (LARGEST_SUM - 2**_BIAS_BITS))
    by_bias = np.abs(bias) / (_HEADROOM * 2**_BIAS_BITS)
    return np.asarray(np.maximum(scale, _power_of_two(np.maximum(np.maximum(by_sum, by_bias), 1e-12))))


def _power_of_two(least: _Floats | np.float64) -> _Floats:
    """Return the smallest powers of two that are at least `least`."""
    return np.asarray(2.0 ** np.ceil(np.log2(least)))


def _gptq(wanted: _Floats, signal: _Floats) -> _Floats:
    """Round weights, given in steps, with little change of `signal @ weights`; (inputs, units)."""
    inputs = len(wanted)
    if inputs > _MAX_GPTQ_INPUTS:
        return np.clip(np.rint(wanted), -LARGEST_WEIGHT, LARGEST_WEIGHT)
    hessian = signal.T @ signal / len(signal)
    hessian += np.eye(inputs) * DAMPING * max(np.trace(hessian) / inputs, 1e-9)
    # largest variance first, while many inputs remain to compensate
    order = np.argsort(-np.diag(hessian), kind="stable")
    wanted = wanted[order]
    # row i: how the inputs after i compensate the rounding error of i
    compensation = np.linalg.cholesky(np.linalg.inv(hessian[np.ix_(order, order)])).T
    matrix = np.zeros_like(wanted)
    for begin in range(0, inputs, _BLOCK):
        end = min(begin + _BLOCK, inputs)
        errors = np.zeros((end - begin, wanted.shape[1]))
        for row in range(begin, end):
            matrix[row] = np.clip(np.rint(wanted[row]), -LARGEST_WEIGHT, LARGEST_WEIGHT)
            error = (wanted[row] - matrix[row]) / compensation[row, row]
            wanted[row + 1 : end] -= np.outer(compensation[row, row + 1 : end], error)
            errors[row - begin] = error
        wanted[end:] -= compensation[begin:end, end:].T @ errors
    unsorted = np.empty_like(matrix)
    unsorted[order] = matrix
    return unsorted
