"""Multilayer perceptron.

The input is pixels from 0 to 255; scaling is part of the network, in training as in the exported file.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from service.core.network.dense_layers import Dense
from training.model.dropout import dropout
from training.model.initialisation import INITIALISATIONS

OUTPUT = "output"
"""Name of the last layer; the layers before it are hidden1, hidden2, ..."""


class MLP(nn.Module):
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
        batch_norm: bool = False,
    ) -> None:
        """Create a network with random weights and zero biases.

        Args:
            inputs: Values per image.
            hidden: Units of each hidden layer; may be empty.
            classes: Number of classes.
            initialisation: A name in `INITIALISATIONS`.
            generator: Source of randomness; the same state gives the same bits. Dropout continues to use it.
            dropout: Probability that a hidden unit is dropped in a training step.
            mean: Subtracted from the pixels in 0 to 1; folded into the first layer by `fold`.
            spread: Divisor of the pixels after that; folded in likewise.
            batch_norm: Batch normalisation of each hidden layer before its ReLU, until `fold`.

        Source of batch normalisation: Ioffe, Szegedy, "Batch normalization", 2015.
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
            # meta: without it Linear would initialise itself from torch's global generator
            layer = nn.Linear(fan_in, fan_out, device="meta").to_empty(device="cpu")
            INITIALISATIONS[initialisation](layer.weight, generator)
            nn.init.zeros_(layer.bias)
            self.dense[name] = layer
            self.add_module(name, layer)  # the parameters are named hidden1.weight, ...
            if batch_norm and name != OUTPUT:
                self._norms[name] = nn.BatchNorm1d(fan_out)
                self.add_module(f"{name}-norm", self._norms[name])

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute logits.

        Args:
            pixels: (B, ...) 0 to 255, uint8 or float32.

        Returns:
            (B, classes) float32.
        """
        # reshape, not flatten: its shape is static, so the exported graph does not compute it
        signal = pixels.reshape(-1, self._inputs).to(torch.float32) / 255  # (B, inputs), 0 to 1
        if (self._mean, self._spread) != (0.0, 1.0):  # the graph of a folded network has no such step
            signal = (signal - self._mean) / self._spread
        for name, layer in self.dense.items():
            signal = layer(signal)  # (B, units)
            if name in self._norms:
                signal = self._norms[name](signal)
            if name != OUTPUT:
                signal = torch.relu(signal)
                if self.training and self._dropout:
                    signal = dropout(signal, self._dropout, self._generator)
        return signal  # (B, classes)

    @torch.no_grad()
    def fold(self) -> None:
        """Fold input normalisation and batch normalisation into the dense layers.

        Input normalisation goes into the first layer: W (x - mean) / spread + b is
        (W / spread) x + (b - sum of W / spread times mean). Batch normalisation goes into the layer before
        it: g (W x + b - m) / s + c is (g / s) W x + (g / s) (b - m) + c, with s the square root of the
        running variance.
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

    def numpy_layers(self) -> dict[str, Dense]:
        """Return the dense layers as NumPy arrays in the service's form; the network must be folded."""
        return {
            name: Dense(
                weight=layer.weight.detach().numpy().T,
                bias=layer.bias.detach().numpy(),
                is_rectified=name != OUTPUT,
            )
            for name, layer in self.dense.items()
        }
