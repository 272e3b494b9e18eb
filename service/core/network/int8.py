"""A dense layer in whole numbers: int8 weights, uint8 signals, and sums that every processor agrees about.

A rounded network answers the same on every processor because nothing in it depends on the order or the
width in which a processor adds. What is checked here makes it so:

- Weights are at most 64. Where a processor adds two products in 16 bits before it goes on in 32, as those
  with AVX2 but without VNNI do, two of a signal up to 255 are at most 2 * 255 * 64 = 32,640, which fits.
- No sum can pass 2**24, up to where single precision holds every whole number.
- What one of a sum and one of a signal stand for are powers of two, wherever a signal is rounded again: so
  there is nothing to round before that, and a half is a half everywhere. Halves go to the even number, as
  ONNX has it.

Which layers a network has is `network`'s affair.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

LARGEST_WEIGHT = 64
LARGEST_SIGNAL = 255
LARGEST_SUM = 2**24

Float = TypeVar("Float", np.float32, np.float64)


@dataclass(frozen=True)
class Int8Dense:
    """One layer in whole numbers; what goes in and comes out is in the units of the network it came from.

    Attributes:
        matrix: [inputs, units] int8, read-only.
        addend: [units] int32, read-only; the bias, counted as the sums are.
        step: [units] float32, read-only; what one of a unit's sum stands for.
        taken: What one of the signal that comes in stands for: 1 / 255 of a pixel.
        given: What one of the signal that goes out stands for; None if sums go out as they are.
        is_rectified: Whether negative sums become 0.
    """

    matrix: NDArray[np.int8]
    addend: NDArray[np.int32]
    step: NDArray[np.float32]
    taken: float
    given: float | None
    is_rectified: bool

    @property
    def weight(self) -> NDArray[np.float32]:
        """[inputs, units] float32, read-only: the weights that these whole numbers stand for; made anew."""
        made = np.asarray(self.matrix * (self.step / self.taken), np.float32)
        made.setflags(write=False)
        return made

    @property
    def bias(self) -> NDArray[np.float32]:
        """[units] float32, read-only: the biases that these whole numbers stand for; made anew."""
        made = self.addend.astype(np.float32) * self.step
        made.setflags(write=False)
        return made

    def sums(self, signal: NDArray[Float]) -> NDArray[Float]:
        """Return the sums of a signal, exact but for the last layer's step.

        Args:
            signal: (B, inputs) float32 or float64, as a rounded layer gives it, or pixels of 0 to 1.

        Returns:
            (B, units).
        """
        kind = signal.dtype
        whole = np.rint(signal / self.taken)  # which makes whole numbers of pixels again
        used = np.flatnonzero(whole.any(axis=0))
        products = whole[:, used] @ self.matrix[used].astype(kind)
        return np.asarray((products + self.addend.astype(kind)) * self.step, kind)

    def answer(self, sums: NDArray[Float]) -> NDArray[Float]:
        """Return the signal that goes out: rectified and rounded, each where the layer does so."""
        rectified = np.maximum(sums, 0) if self.is_rectified else sums
        if self.given is None:
            return rectified
        return np.asarray(
            np.clip(np.rint(rectified / self.given), 0, LARGEST_SIGNAL) * self.given, sums.dtype
        )

    def back(self, gradient: NDArray[np.float32], signal: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the gradient at the signal that came in, (B, inputs), from that at the sums, (B, units).

        It is 0 where no image has a signal: nothing depends on it there, and a drawing is mostly paper.
        """
        found = np.zeros(signal.shape, np.float32)
        used = np.flatnonzero(signal.any(axis=0))
        found[:, used] = (gradient * (self.step / self.taken)) @ self.matrix[used].astype(np.float32).T
        return found

    def flaw(self) -> str:
        """Say what about it another processor could see differently; empty if nothing."""
        matrix = self.matrix.astype(np.int64)
        if np.abs(matrix).max() > LARGEST_WEIGHT:
            return f"weights should be at most {LARGEST_WEIGHT}; got {np.abs(matrix).max()}"
        largest = LARGEST_SIGNAL * np.abs(matrix).sum(axis=0) + np.abs(self.addend.astype(np.int64))
        if largest.max() > LARGEST_SUM:
            return f"sums should be at most {LARGEST_SUM:,}; got {largest.max():,}"
        if not (np.isfinite(self.step).all() and (self.step > 0).all()):
            return "steps should be above 0"
        if self.given is not None and not (_are_powers(self.step) and _are_powers(np.float32(self.given))):
            return "steps should be powers of two"
        return ""


def _are_powers(values: NDArray[np.float32] | np.float32) -> bool:
    """Tell whether all are powers of two, by their mantissa; far from where single precision ends."""
    mantissa, exponent = np.frexp(values)
    return bool((mantissa == 0.5).all() and (np.abs(exponent) < 100).all())
