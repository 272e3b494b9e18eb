"""Dense layers of another library, and the scaling of the input that they expect."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.errors import NotImportable

Activation = Literal["relu", "none", "sigmoid", "tanh"]


@dataclass(frozen=True)
class DenseLayer:
    """One dense layer: activation(inputs @ weight + bias).

    Attributes:
        weight: [inputs, units] float64.
        bias: [units] float64.
        activation: Its activation.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    activation: Activation = "none"


@dataclass(frozen=True)
class DenseNetwork:
    """Dense layers from input to logits.

    Attributes:
        layers: From input to output; the last has no activation.
        labels: Names of the classes; None if the file has none.
        source: The library, for the manifest.
    """

    layers: tuple[DenseLayer, ...]
    labels: tuple[str, ...] | None
    source: str


@dataclass(frozen=True)
class Scaling:
    """How a network's input follows from pixels or numbers: (x / scale - mean) / std.

    Attributes:
        scale: Divisor of all numbers; None if it is not known.
        mean: One number, one per channel, or one per number of a row.
        std: As `mean`.
    """

    scale: float | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def affine(self, shape: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return factor and offset of each number of an input: x * factor + offset.

        Args:
            shape: Shape of one input; a mean or std of several numbers belongs to its last axis.

        Raises:
            NotImportable: Mean or std have another number of values, or a std is 0.
        """
        scale = 1.0 if self.scale is None else self.scale
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, shape[-1]):
                expected = f"--{name} should be one number or {shape[-1]}, one per channel or column"
                raise NotImportable(f"{expected}; got {len(values)}.")
        if scale == 0 or 0 in self.std or not np.isfinite([scale, *self.mean, *self.std]).all():
            raise NotImportable("--scale and --std should be finite and not 0.")
        mean = np.broadcast_to(np.array(self.mean), shape).reshape(-1)
        std = np.broadcast_to(np.array(self.std), shape).reshape(-1)
        return 1 / (scale * std), -mean / std


def fold_input(
    network: DenseNetwork, factor: NDArray[np.float64], offset: NDArray[np.float64]
) -> DenseNetwork:
    """Return a network whose first layer includes a scaling of its inputs, x * factor + offset."""
    first, *others = network.layers
    scaled = replace(first, weight=first.weight * factor[:, None], bias=first.bias + offset @ first.weight)
    return replace(network, layers=(scaled, *others))


def with_two_classes(weight: NDArray[np.float64], bias: NDArray[np.float64]) -> DenseLayer:
    """Return a last layer of two logits, -z/2 and z/2, whose softmax equals the sigmoid of the logit z.

    Args:
        weight: [inputs, 1].
        bias: [1].
    """
    return DenseLayer(np.hstack([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2]))
