"""Weight initialisation from an explicit generator."""

from collections.abc import Callable, Mapping

from torch import Generator, Tensor, nn


def glorot_uniform_(weight: Tensor, generator: Generator) -> None:
    """Fill a weight matrix with Glorot uniform values, in place; the default of Keras's dense layers.

    Values are uniform between -a and a with a = sqrt(6 / (fan_in + fan_out)).

    Args:
        weight: (fan_out, fan_in) float32.
        generator: Source of randomness; the same state gives the same bits.

    Source: Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", 2010, equation 16.
    """
    nn.init.xavier_uniform_(weight, generator=generator)


def glorot_normal_(weight: Tensor, generator: Generator) -> None:
    """Fill a weight matrix with Glorot normal values, in place: variance 2 / (fan_in + fan_out).

    Args:
        weight: (fan_out, fan_in) float32.
        generator: Source of randomness; the same state gives the same bits.

    Source: as for `glorot_uniform_`, equation 12. (Keras truncates at two standard deviations.)
    """
    nn.init.xavier_normal_(weight, generator=generator)


def he_normal_(weight: Tensor, generator: Generator) -> None:
    """Fill the weights of a layer before a ReLU with He normal values, in place: variance 2 / fan_in.

    Args:
        weight: (fan_out, fan_in, ...) float32; the dimensions after the first two count as inputs.
        generator: Source of randomness; the same state gives the same bits.

    Source: He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015, section 2.2.
    """
    nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)


INITIALISATIONS: Mapping[str, Callable[[Tensor, Generator], None]] = {
    "glorot-uniform": glorot_uniform_,
    "glorot-normal": glorot_normal_,
    "he-normal": he_normal_,
}
"""By the name in a recipe."""
