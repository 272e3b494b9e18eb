"""What a network loses when it is rounded: its answers before and after, beside each other.

How it is rounded is `rounding`'s work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from service.core.certainty import energy
from service.core.network import Layer
from training.errors import AccuracyLossTooLarge

MOST = 0.0005
"""Of the accuracy that may be lost on images of a gate, as a share: 0.05 points."""

_AT_ONCE = 1000
"""Images that go through the layers together; bounds memory."""


@dataclass(frozen=True)
class Answers:
    """What a network said of images before it was rounded, and after.

    Attributes:
        before: (N, classes) float32 logits.
        after: (N, classes) float32 logits.
    """

    before: NDArray[np.float32]
    after: NDArray[np.float32]


@dataclass(frozen=True)
class Loss:
    """What rounding did to the answers about some images, as shares of them.

    Attributes:
        images: What they are and which network was asked.
        examples: How many.
        before: Right answers before; None where no answer is right.
        after: Right answers after; None likewise.
        otherwise: Answered otherwise than before.
        sure_before: Sure answers before; None for a network that cannot tell.
        sure_after: Sure answers after; None likewise.
        is_gate: Whether the network is refused if it loses too much here.
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
    def lost(self) -> float:
        """Share of right answers that are lost; below 0 where some were won."""
        return 0.0 if self.before is None or self.after is None else self.before - self.after

    @property
    def told(self) -> dict[str, object]:
        """All that is known, as a manifest has it."""
        return {
            name: round(value, 6) if isinstance(value, float) else value
            for name, value in asdict(self).items()
            if value is not None
        }


@dataclass(frozen=True)
class Sureness:
    """From where on an answer is sure.

    Attributes:
        threshold: Of the energy.
        temperature: Of the network.
    """

    threshold: float
    temperature: float

    def share(self, logits: NDArray[np.float32]) -> float:
        """Return the share of answers that are sure."""
        return float((energy(logits, self.temperature) >= self.threshold).mean())


def ask(layers: Mapping[str, Layer], pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the logits of images, (N, classes), in single precision as the network runs."""
    said = []
    for begin in range(0, len(pixels), _AT_ONCE):
        batch = pixels[begin : begin + _AT_ONCE]
        signal = np.asarray(batch.reshape(len(batch), -1) / np.float32(255), np.float32)
        for layer in layers.values():
            signal = layer.answer(layer.sums(signal))
        said.append(signal)
    return np.concatenate(said)


def both(before: Mapping[str, Layer], after: Mapping[str, Layer], pixels: NDArray[np.uint8]) -> Answers:
    """Ask the network before and after."""
    return Answers(ask(before, pixels), ask(after, pixels))


def joined(found: Sequence[Answers]) -> Answers:
    """Return all answers as one."""
    return Answers(
        np.concatenate([one.before for one in found]), np.concatenate([one.after for one in found])
    )


def compare(
    images: str,
    answers: Answers,
    labels: NDArray[np.int64] | None,
    sureness: Sureness | None,
    is_gate: bool = False,
) -> Loss:
    """Compare the answers of a network before and after.

    Args:
        images: What they are and which network was asked.
        answers: What it said.
        labels: (N,), what is right; None where nothing is.
        sureness: None for a network that cannot tell.
        is_gate: Whether the network is refused if it loses too much here.
    """
    before, after = answers.before.argmax(1), answers.after.argmax(1)
    return Loss(
        images=images,
        examples=len(before),
        before=None if labels is None else float((before == labels).mean()),
        after=None if labels is None else float((after == labels).mean()),
        otherwise=float((before != after).mean()),
        sure_before=sureness.share(answers.before) if sureness else None,
        sure_after=sureness.share(answers.after) if sureness else None,
        is_gate=is_gate,
    )


def check(name: str, losses: Sequence[Loss]) -> None:
    """Refuse a network that lost too much.

    Raises:
        AccuracyLossTooLarge: More than `MOST` of the images of a gate.
    """
    for loss in losses:
        if loss.is_gate and loss.lost > MOST:
            raise AccuracyLossTooLarge(name, loss.images, MOST, loss.lost)
