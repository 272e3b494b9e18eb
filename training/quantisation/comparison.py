"""Comparison of a network before and after quantisation: accuracy, changed predictions, OOD detection."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from service.core.network.dense_layers import Layer
from service.core.network.ood_score import negative_energy
from training.errors import AccuracyLossTooLarge

MAX_ACCURACY_LOSS = 0.0005
"""Largest loss of accuracy on a gate's images: 0.05 points."""

_BATCH_SIZE = 1000
"""Bounds memory."""


@dataclass(frozen=True)
class LogitPair:
    """Logits before and after quantisation.

    Attributes:
        before: (N, classes) float32.
        after: (N, classes) float32.
    """

    before: NDArray[np.float32]
    after: NDArray[np.float32]


@dataclass(frozen=True)
class Comparison:
    """Effect of quantisation on some images, as shares of them.

    Attributes:
        images: Name of the images and of the network.
        examples: Number of images.
        before: Accuracy before; None for images without a class.
        after: Accuracy after; None for images without a class.
        otherwise: Share of changed predictions.
        sure_before: Share above the OOD threshold before; None without a threshold.
        sure_after: Share above the OOD threshold after; None without a threshold.
        is_gate: Whether a loss here above `MAX_ACCURACY_LOSS` prevents publication.
    """

    images: str
    examples: int
    before: float | None
    after: float | None
    otherwise: float
    sure_before: float | None
    sure_after: float | None
    is_gate: bool

    @property
    def accuracy_loss(self) -> float:
        """Accuracy before minus accuracy after; 0 for images without a class."""
        return 0.0 if self.before is None or self.after is None else self.before - self.after

    def to_dict(self) -> dict[str, object]:
        """Return the known fields as in a manifest."""
        return {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in asdict(self).items()
            if value is not None
        }


@dataclass(frozen=True)
class EnergyThreshold:
    """OOD threshold of a network.

    Attributes:
        threshold: Smallest energy of a sure prediction.
        temperature: Temperature of the network.
    """

    threshold: float
    temperature: float

    def share(self, logits: NDArray[np.float32]) -> float:
        """Return the share of (N, classes) logits that reach the threshold."""
        return float((negative_energy(logits, self.temperature) >= self.threshold).mean())


def layer_logits(layers: Mapping[str, Layer], pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the logits of images, (N, classes), in single precision as the runtime computes them."""
    logits = []
    for begin in range(0, len(pixels), _BATCH_SIZE):
        batch = pixels[begin : begin + _BATCH_SIZE]
        signal = np.asarray(batch.reshape(len(batch), -1) / np.float32(255), np.float32)
        for layer in layers.values():
            signal = layer.activate(layer.linear(signal))
        logits.append(signal)
    return np.concatenate(logits)


def logit_pair(
    before: Mapping[str, Layer], after: Mapping[str, Layer], pixels: NDArray[np.uint8]
) -> LogitPair:
    """Return the logits of images before and after quantisation."""
    return LogitPair(layer_logits(before, pixels), layer_logits(after, pixels))


def concatenate(pairs: Sequence[LogitPair]) -> LogitPair:
    """Return the logits of several networks, in order."""
    return LogitPair(
        np.concatenate([pair.before for pair in pairs]), np.concatenate([pair.after for pair in pairs])
    )


def compare(
    images: str,
    logits: LogitPair,
    labels: NDArray[np.int64] | None,
    threshold: EnergyThreshold | None,
    is_gate: bool = False,
) -> Comparison:
    """Compare the predictions of a network before and after quantisation.

    Args:
        images: Name of the images and of the network.
        logits: Logits of the images.
        labels: (N,), class indices; None for images without a class.
        threshold: OOD threshold; None for a network without one.
        is_gate: Whether a loss here can prevent publication.
    """
    before, after = logits.before.argmax(1), logits.after.argmax(1)
    return Comparison(
        images=images,
        examples=len(before),
        before=None if labels is None else float((before == labels).mean()),
        after=None if labels is None else float((after == labels).mean()),
        otherwise=float((before != after).mean()),
        sure_before=threshold.share(logits.before) if threshold else None,
        sure_after=threshold.share(logits.after) if threshold else None,
        is_gate=is_gate,
    )


def check_gates(name: str, comparisons: Sequence[Comparison]) -> None:
    """Check that no gate exceeds the largest loss of accuracy.

    Raises:
        AccuracyLossTooLarge: A gate exceeds `MAX_ACCURACY_LOSS`.
    """
    for each in comparisons:
        if each.is_gate and each.accuracy_loss > MAX_ACCURACY_LOSS:
            raise AccuracyLossTooLarge(name, each.images, MAX_ACCURACY_LOSS, each.accuracy_loss)
