"""The multilayer perceptron and how its weights begin.

Scaling belongs to the network: it takes pixels, in training as in service.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Generator, Tensor, nn

OUTPUT = "output"
"""Name of the last layer; those before it are hidden1, hidden2, ..."""


def glorot_uniform_(weight: Tensor, generator: Generator) -> None:
    """Fill a weight matrix in place, as Keras's dense layers begin.

    Values are uniform between -a and a with a = sqrt(6 / (fan_in + fan_out)).

    Args:
        weight: (fan_out, fan_in) float32.
        generator: Source of randomness; the same state gives the same bits.

    Source: Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", 2010, equation 16.
    """
    nn.init.xavier_uniform_(weight, generator=generator)


def glorot_normal_(weight: Tensor, generator: Generator) -> None:
    """Fill a weight matrix in place: normal with variance 2 / (fan_in + fan_out).

    Args:
        weight: (fan_out, fan_in) float32.
        generator: Source of randomness; the same state gives the same bits.

    Source: as for `glorot_uniform_`, equation 12. (Keras cuts the draw off at two deviations.)
    """
    nn.init.xavier_normal_(weight, generator=generator)


def he_normal_(weight: Tensor, generator: Generator) -> None:
    """Fill weights that a ReLU follows in place: normal with variance 2 / fan_in.

    Args:
        weight: (fan_out, fan_in, ...) float32; what follows the first two counts as inputs.
        generator: Source of randomness; the same state gives the same bits.

    Source: He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015, section 2.2.
    """
    nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)


INITIALISATIONS: Mapping[str, Callable[[Tensor, Generator], None]] = {
    "glorot-uniform": glorot_uniform_,
    "glorot-normal": glorot_normal_,
    "he-normal": he_normal_,
}


def drop(signal: Tensor, share: float, generator: Generator) -> Tensor:
    """Leave out a random share of the units and scale the others up, so that sums keep their mean.

    Args:
        signal: (B, units) float.
        share: Probability of a unit to be left out, below 1.
        generator: Source of randomness; torch's own dropout would draw from the global one.

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
    2014.
    """
    kept = torch.empty_like(signal).bernoulli_(1 - share, generator=generator)
    return signal * kept / (1 - share)


class Net(nn.Module):
    """Dense layers from pixels to logits, with a ReLU after each but the last.

    Attributes:
        dense: The layers by name, from input to output.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        classes: int,
        initialisation: str,
        generator: Generator,
        dropout: float = 0.0,
        mean: float = 0.0,
        spread: float = 1.0,
        normalised: bool = False,
    ) -> None:
        """Make a network with fresh weights and biases of zero.

        Args:
            inputs: Numbers of an image.
            hidden: Units of each hidden layer; may be empty.
            classes: Numbers that come out.
            initialisation: A name in `INITIALISATIONS`.
            generator: Source of randomness; the same state gives the same bits. Dropout goes on
                drawing from it.
            dropout: Share of each hidden layer's units that a training step leaves out.
            mean: Subtracted from pixels that were scaled to 0 to 1, until `settle` is called: it is
                easier to learn from numbers around zero.
            spread: What they are divided by then.
            normalised: Normalise each hidden layer's sums over the batch, until `settle` is called.

        Source of the normalisation: Ioffe, Szegedy, "Batch normalization", 2015.
        """
        super().__init__()
        self._inputs = inputs
        self._dropout = dropout
        self._mean, self._spread = mean, spread
        self._generator = generator
        names = [*(f"hidden{number}" for number in range(1, len(hidden) + 1)), OUTPUT]
        widths = [inputs, *hidden, classes]
        self.dense: dict[str, nn.Linear] = {}
        self._norms: dict[str, nn.BatchNorm1d] = {}
        for name, fan_in, fan_out in zip(names, widths[:-1], widths[1:], strict=True):
            # meta: without it Linear would fill itself from torch's global generator
            layer = nn.Linear(fan_in, fan_out, device="meta").to_empty(device="cpu")
            INITIALISATIONS[initialisation](layer.weight, generator)
            nn.init.zeros_(layer.bias)
            self.dense[name] = layer
            self.add_module(name, layer)  # so that its weights are called hidden1.weight, ...
            if normalised and name != OUTPUT:
                self._norms[name] = nn.BatchNorm1d(fan_out)
                self.add_module(f"{name}-norm", self._norms[name])

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute logits.

        Args:
            pixels: (B, ...) 0 to 255, uint8 or, augmented, float32.

        Returns:
            (B, classes) float32.
        """
        # reshape, not flatten: its shape is known, so the exported graph need not work it out
        signal = pixels.reshape(-1, self._inputs).to(torch.float32) / 255  # (B, inputs), 0 to 1
        if (self._mean, self._spread) != (0.0, 1.0):  # a settled network's graph has no such step
            signal = (signal - self._mean) / self._spread
        for name, layer in self.dense.items():
            signal = layer(signal)  # (B, units)
            if name in self._norms:
                signal = self._norms[name](signal)
            if name != OUTPUT:
                signal = torch.relu(signal)
                if self.training and self._dropout:
                    signal = drop(signal, self._dropout, self._generator)
        return signal  # (B, classes)

    @torch.no_grad()
    def settle(self) -> None:
        """Fold what only helped to learn into the layers, so that each takes plain sums.

        Mean and spread of the input go into the first layer: W (x - mean) / spread + b is
        (W / spread) x + (b - sum of W / spread times mean). A normalisation goes into the layer before
        it: g (W x + b - m) / s + c is (g / s) W x + (g / s) (b - m) + c, with s the root of the running
        variance.
        """
        first = next(iter(self.dense.values()))
        first.weight.div_(self._spread)
        first.bias.sub_(self._mean * first.weight.sum(1))
        self._mean, self._spread = 0.0, 1.0
        for name, norm in self._norms.items():
            layer = self.dense[name]
            assert norm.running_mean is not None
            assert norm.running_var is not None
            factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            layer.weight.mul_(factor[:, None])
            layer.bias.sub_(norm.running_mean).mul_(factor).add_(norm.bias)
            delattr(self, f"{name}-norm")
        self._norms = {}
