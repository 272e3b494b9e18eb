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


INITIALISATIONS: Mapping[str, Callable[[Tensor, Generator], None]] = {
    "glorot-uniform": glorot_uniform_,
}


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
    ) -> None:
        """Make a network with fresh weights and biases of zero.

        Args:
            inputs: Numbers of an image.
            hidden: Units of each hidden layer; may be empty.
            classes: Numbers that come out.
            initialisation: A name in `INITIALISATIONS`.
            generator: Source of randomness; the same state gives the same bits.
        """
        super().__init__()
        self._inputs = inputs
        names = [*(f"hidden{number}" for number in range(1, len(hidden) + 1)), OUTPUT]
        widths = [inputs, *hidden, classes]
        self.dense: dict[str, nn.Linear] = {}
        for name, fan_in, fan_out in zip(names, widths[:-1], widths[1:], strict=True):
            # meta: without it Linear would fill itself from torch's global generator
            layer = nn.Linear(fan_in, fan_out, device="meta").to_empty(device="cpu")
            INITIALISATIONS[initialisation](layer.weight, generator)
            nn.init.zeros_(layer.bias)
            self.dense[name] = layer
            self.add_module(name, layer)  # so that its weights are called hidden1.weight, ...

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute logits.

        Args:
            pixels: (B, ...) uint8, 0 to 255.

        Returns:
            (B, classes) float32.
        """
        # reshape, not flatten: its shape is known, so the exported graph need not work it out
        signal = pixels.reshape(-1, self._inputs).to(torch.float32) / 255  # (B, inputs), 0 to 1
        for name, layer in self.dense.items():
            signal = layer(signal)  # (B, units)
            if name != OUTPUT:
                signal = torch.relu(signal)
        return signal  # (B, classes)
