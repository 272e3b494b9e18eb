"""Convolutional network, used as a teacher only; it is never published."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from training.model.dropout import dropout
from training.model.initialisation import INITIALISATIONS


class CNN(nn.Module):
    """3 x 3 convolutions with batch normalisation and ReLU, average pooling, and a dense output layer.

    Source of batch normalisation: Ioffe, Szegedy, "Batch normalization", 2015.
    """

    def __init__(
        self,
        colours: int,
        channels: Sequence[int],
        strides: Sequence[int],
        pooled: int,
        classes: int,
        initialisation: str,
        generator: Generator,
        dropout: float,
    ) -> None:
        """Create a network with random weights.

        Args:
            colours: Colour channels of the input.
            channels: Output channels of each convolution.
            strides: Stride of each convolution.
            pooled: Side of the feature map after average pooling.
            classes: Number of classes.
            initialisation: A name in `INITIALISATIONS`, for the convolutions. The output layer, which no
                ReLU follows, is initialised as Keras's dense layers.
            generator: Source of randomness, of dropout too; the same state gives the same bits.
            dropout: Probability that an input of the output layer is dropped in a training step.
        """
        super().__init__()
        self._colours = colours
        self._pooled = pooled
        self._dropout = dropout
        self._generator = generator
        widths = [colours, *channels]
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        for fan_in, fan_out, stride in zip(widths[:-1], widths[1:], strides, strict=True):
            # meta: as in MLP, nothing is drawn from torch's global generator
            layer = nn.Conv2d(fan_in, fan_out, 3, stride, 1, bias=False, device="meta")
            layer = layer.to_empty(device="cpu")
            INITIALISATIONS[initialisation](layer.weight, generator)
            self.convolutions.append(layer)
            self.norms.append(nn.BatchNorm2d(fan_out))
        self.output = nn.Linear(widths[-1] * pooled**2, classes, device="meta").to_empty(device="cpu")
        INITIALISATIONS["glorot-uniform"](self.output.weight, generator)
        nn.init.zeros_(self.output.bias)

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute logits.

        Args:
            pixels: (B, H, W) or (B, H, W, colours), 0 to 255, uint8 or float32.

        Returns:
            (B, classes) float32, or the precision of an enclosing autocast.
        """
        signal = pixels.reshape(*pixels.shape[:3], self._colours).to(torch.float32) / 255
        signal = signal.permute(0, 3, 1, 2)  # (B, colours, H, W)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            signal = torch.relu(norm(convolution(signal)))  # (B, channels, h, w)
        signal = adaptive_avg_pool2d(signal, self._pooled).flatten(1)  # (B, channels * pooled²)
        if self.training and self._dropout:
            signal = dropout(signal, self._dropout, self._generator)
        logits: Tensor = self.output(signal)
        return logits
