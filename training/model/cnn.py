"""The convolutional network, which only teaches: none is ever published."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from training.model.mlp import INITIALISATIONS, drop


class ConvolutionalNet(nn.Module):
    """3 x 3 convolutions, each normalised over the batch and followed by a ReLU, and a dense layer.

    Source of the normalisation: Ioffe, Szegedy, "Batch normalization", 2015.
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
        """Make a network with fresh weights.

        Args:
            colours: Numbers of a pixel.
            channels: Of each convolution.
            strides: Of each convolution.
            pooled: The last convolution's grid is averaged to this side before the dense layer.
            classes: Numbers that come out.
            initialisation: Of the convolutions, a name in `INITIALISATIONS`; the dense layer, which
                no ReLU follows, begins as `Net`'s do in Keras.
            generator: Source of randomness, of dropout too; the same state gives the same bits.
            dropout: Share of the dense layer's inputs that a training step leaves out.
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
            # meta: as in Net, nothing is drawn from torch's global generator
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
            signal = drop(signal, self._dropout, self._generator)
        logits: Tensor = self.output(signal)
        return logits
