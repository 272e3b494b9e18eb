"""Recorder of preprocessing steps: the intermediate images of a drawing, for display.

Preprocessing adds the steps; the API adds their titles.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LARGEST = 280
"""Longest side of a recorded image, in pixels."""


@dataclass(frozen=True)
class Step:
    """Image after one preprocessing step.

    Attributes:
        name: `drawn`, `ink`, `cropped`, `pen`, `fitted`, `centred` or `taken`.
        picture: (H, W) uint8, 0 for background to 255 for ink, except `drawn`, which is the unprocessed
            image; or (H, W, 3) uint8 RGB. H and W are at most `LARGEST`.
    """

    name: str
    picture: NDArray[np.uint8]


class StepRecorder:
    """Records the preprocessing steps of one drawing, in order."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def add(self, name: str, picture: NDArray[np.uint8]) -> None:
        """Record a step; a large image is reduced.

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
    """Return the width and height of a recorded image: at most `LARGEST`, never enlarged."""
    unit = max(width, height, LARGEST) / LARGEST
    return max(1, round(width / unit)), max(1, round(height / unit))
