"""From a network in floats to the same in whole numbers: int8 weights, uint8 signals.

What a layer in whole numbers is, and why every processor gives the same with it, `service.core.rounded`
says. Here is chosen which whole numbers: by images alone, whose labels nobody asks for.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.core.network import Dense, Layer
from service.core.rounded import LARGEST_SIGNAL, LARGEST_SUM, LARGEST_WEIGHT, Rounded

DAMPING = 0.01
"""Of the mean square of the inputs, added to each: for inputs that hardly vary."""

_MOST_COMPENSATED = 4096
"""Inputs of a layer whose errors are made up for; it takes the cube of them in time."""

_ROOM = 0.9
"""Share of the largest sum that weights may need before their errors are made up for."""

_ADDEND_BITS = 22
"""Of an addend at most: a quarter of the largest sum."""

_COLUMNS = 64
"""Inputs that are rounded before the others are told."""

_Floats = NDArray[np.float64]


def rounded(layers: Mapping[str, Layer], images: NDArray[np.uint8]) -> dict[str, Rounded]:
    """Round a network's layers one after the other, each by what the ones before it, rounded, give it.

    Weights have a step a unit, the smallest power of two that keeps them within what may be. They are
    rounded one input after the other; by what an input's rounding changes the sums, the inputs that are
    still to be rounded are changed back as far as they can. What is left of it on average goes into the bias.
    A signal's step is the smallest power of two by which none of these images reaches beyond uint8.

    Args:
        layers: In floats, from input to output.
        images: (N, ...) uint8, such as the network will see.

    Returns:
        The layers by name. The same arguments give the same bits on the same machine.

    Source: Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ: accurate post-training quantization for generative
    pre-trained transformers", 2022, for rounding the weights.
    """
    signal: _Floats = images.reshape(len(images), -1) / 255.0  # as the network in floats has it
    whole: _Floats = images.reshape(len(images), -1).astype(np.float64)  # as the rounded one has it
    taken = 1 / 255
    made = {}
    for place, (name, layer) in enumerate(layers.items()):
        assert isinstance(layer, Dense)
        is_last = place == len(layers) - 1
        weight = layer.weight.astype(np.float64) * taken  # (inputs, units), of one whole number
        bias = layer.bias.astype(np.float64)
        sums = layer.sums(signal)
        step = _steps(weight, bias, is_last)
        mean = whole.mean(axis=0)
        matrix = _compensated(weight / step, whole - mean)
        addend = np.rint((sums.mean(axis=0) - mean @ (matrix * step)) / step)
        signal = layer.answer(sums)
        given = None if is_last else float(_power(np.maximum(signal.max(), 1e-6) / (LARGEST_SIGNAL + 0.5)))
        made[name] = Rounded(
            matrix=matrix.astype(np.int8),
            addend=addend.astype(np.int32),
            step=step.astype(np.float32),
            taken=taken,
            given=given,
            is_rectified=layer.is_rectified,
        )
        assert not made[name].flaw()  # the steps were chosen for it
        if given:
            whole = made[name].answer(made[name].sums(whole * taken)) / given
            taken = given
    return made


def _steps(weight: _Floats, bias: _Floats, is_last: bool) -> _Floats:
    """Return what one of a unit's sum should stand for, (units,)."""
    largest = np.maximum(np.abs(weight).max(axis=0), 1e-9)
    step = largest / LARGEST_WEIGHT if is_last else _power(largest / (LARGEST_WEIGHT + 0.5))
    by_sum = LARGEST_SIGNAL * np.abs(weight).sum(axis=0) / (_ROOM * (LARGEST_SUM - 2**_ADDEND_BITS))
    by_bias = np.abs(bias) / (_ROOM * 2**_ADDEND_BITS)
    return np.asarray(np.maximum(step, _power(np.maximum(np.maximum(by_sum, by_bias), 1e-12))))


def _power(least: _Floats | np.float64) -> _Floats:
    """Return the smallest powers of two that are not below."""
    return np.asarray(2.0 ** np.ceil(np.log2(least)))


def _compensated(wanted: _Floats, signal: _Floats) -> _Floats:
    """Round weights, in steps, so that the sums of this signal change little; (inputs, units)."""
    inputs = len(wanted)
    if inputs > _MOST_COMPENSATED:
        return np.clip(np.rint(wanted), -LARGEST_WEIGHT, LARGEST_WEIGHT)
    squares = signal.T @ signal / len(signal)
    squares += np.eye(inputs) * DAMPING * max(np.trace(squares) / inputs, 1e-9)
    order = np.argsort(
        -np.diag(squares), kind="stable"
    )  # what counts most first, while others can still give way
    wanted = wanted[order]
    # row i: how far the inputs after i should go for one that i was rounded by
    given_way = np.linalg.cholesky(np.linalg.inv(squares[np.ix_(order, order)])).T
    matrix = np.zeros_like(wanted)
    for begin in range(0, inputs, _COLUMNS):
        end = min(begin + _COLUMNS, inputs)
        errors = np.zeros((end - begin, wanted.shape[1]))
        for row in range(begin, end):
            matrix[row] = np.clip(np.rint(wanted[row]), -LARGEST_WEIGHT, LARGEST_WEIGHT)
            error = (wanted[row] - matrix[row]) / given_way[row, row]
            wanted[row + 1 : end] -= np.outer(given_way[row, row + 1 : end], error)
            errors[row - begin] = error
        wanted[end:] -= given_way[begin:end, end:].T @ errors
    unsorted = np.empty_like(matrix)
    unsorted[order] = matrix
    return unsorted
