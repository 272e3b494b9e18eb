"""What a preparation made of a drawing, step by step, for people who want to see it.

The preparations fill it on their way; what the steps are called in an answer is the edge's work.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LARGEST = 280
"""Side in pixels that no picture of a step exceeds."""


@dataclass(frozen=True)
class Step:
    """What a preparation had made of a drawing at one point.

    Attributes:
        name: `drawn`, `ink`, `cropped`, `pen`, `fitted`, `centred` or `taken`.
        picture: (H, W) uint8, 0 paper to 255 ink but for `drawn` pictures, which are as they came; or
            (H, W, 3) uint8, red, green, blue. Neither side is larger than `LARGEST`.
    """

    name: str
    picture: NDArray[np.uint8]


class Trace:
    """The steps of one drawing, in order."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def add(self, name: str, picture: NDArray[np.uint8]) -> None:
        """Keep a step; of a large picture only a reduced one is kept.

        Args:
            name: As in `Step`.
            picture: (H, W) or (H, W, 3) uint8, any size.
        """
        height, width = picture.shape[:2]
        size = reduced(width, height)
        if size != (width, height):
            picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
        self.steps.append(Step(name, picture))


def reduced(width: int, height: int) -> tuple[int, int]:
    """Return the width and height at which a picture is kept: at most `LARGEST`, never enlarged."""
    unit = max(width, height, LARGEST) / LARGEST
    return max(1, round(width / unit)), max(1, round(height / unit))
