"""Dense layer in int8: int8 weights, uint8 activations, int32 sums, with the same result on every processor.

The result does not depend on the order or the width of a processor's additions, because:

- Weights are at most 64. Processors with AVX2 but without VNNI add pairs of products in 16 bits; a pair is at
  most 2 * 255 * 64 = 32,640, which fits.
- No sum exceeds 2**24, the largest range of integers that float32 represents exactly.
- The scales of sums and activations are powers of two wherever activations are quantized again, so that no
  rounding occurs before that. Halves are rounded to even, as ONNX specifies.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

LARGEST_WEIGHT = 64
LARGEST_ACTIVATION = 255
LARGEST_SUM = 2**24

Float = TypeVar("Float", np.float32, np.float64)


@dataclass(frozen=True)
class Int8Dense:
    """Dense layer with int8 weights; inputs and outputs are floats in the scale of the original network.

    Attributes:
        weight_int8: [inputs, units] int8, read-only.
        bias_int32: [units] int32, read-only; the bias in the scale of the sums.
        scale: [units] float32, read-only; the scale of each unit's sum.
        input_scale: The scale of the inputs: 1 / 255 for pixels.
        output_scale: The scale of the quantized outputs; None if outputs are not quantized.
        is_rectified: Whether a ReLU follows.
    """

    weight_int8: NDArray[np.int8]
    bias_int32: NDArray[np.int32]
    scale: NDArray[np.float32]
    input_scale: float
    output_scale: float | None
    is_rectified: bool

    @property
    def weight(self) -> NDArray[np.float32]:
        """[inputs, units] float32, read-only: the dequantized weights; computed on each access."""
        made = np.asarray(self.weight_int8 * (self.scale / self.input_scale), np.float32)
        made.setflags(write=False)
        return made

    @property
    def bias(self) -> NDArray[np.float32]:
        """[units] float32, read-only: the dequantized biases; computed on each access."""
        made = self.bias_int32.astype(np.float32) * self.scale
        made.setflags(write=False)
        return made

    def linear(self, inputs: NDArray[Float]) -> NDArray[Float]:
        """Return the outputs before the ReLU.

        Args:
            inputs: (B, inputs) float32 or float64, multiples of the input scale.

        Returns:
            (B, units).
        """
        kind = inputs.dtype
        whole = np.rint(inputs / self.input_scale)
        used = np.flatnonzero(whole.any(axis=0))
        products = whole[:, used] @ self.weight_int8[used].astype(kind)
        return np.asarray((products + self.bias_int32.astype(kind)) * self.scale, kind)

    def activate(self, sums: NDArray[Float]) -> NDArray[Float]:
        """Apply the ReLU and quantize, as far as the layer does."""
        rectified = np.maximum(sums, 0) if self.is_rectified else sums
        if self.output_scale is None:
            return rectified
        quantized = np.clip(np.rint(rectified / self.output_scale), 0, LARGEST_ACTIVATION)
        return np.asarray(quantized * self.output_scale, sums.dtype)

    def backward(self, gradient: NDArray[np.float32], inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the gradient with respect to the inputs, (B, inputs), from that of the sums, (B, units).

        Columns in which all inputs are 0 get 0: their attribution is 0, and most pixels of a drawing are 0.
        """
        found = np.zeros(inputs.shape, np.float32)
        used = np.flatnonzero(inputs.any(axis=0))
        weight = self.weight_int8[used].astype(np.float32)
        found[:, used] = (gradient * (self.scale / self.input_scale)) @ weight.T
        return found

    def portability_error(self) -> str:
        """Return why the result could depend on the processor; empty if it cannot."""
        weights = np.abs(self.weight_int8.astype(np.int64))
        if weights.max() > LARGEST_WEIGHT:
            return f"weights should be at most {LARGEST_WEIGHT}; got {weights.max()}"
        largest = LARGEST_ACTIVATION * weights.sum(axis=0) + np.abs(self.bias_int32.astype(np.int64))
        if largest.max() > LARGEST_SUM:
            return f"sums should be at most {LARGEST_SUM:,}; got {largest.max():,}"
        if not (np.isfinite(self.scale).all() and (self.scale > 0).all()):
            return "steps should be above 0"
        if self.output_scale is not None and not _are_powers(np.append(self.scale, self.output_scale)):
            return "steps should be powers of two"
        return ""


def _are_powers(values: NDArray[np.floating]) -> bool:
    """Return whether all values are powers of two, within float32's normal range."""
    mantissa, exponent = np.frexp(values)
    return bool((mantissa == 0.5).all() and (np.abs(exponent) < 100).all())
