"""Whether a network knows the like of an image: one number from its logits, held against a threshold.

Where the threshold lies is measured by the trainer and stands in the manifest.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def energy(logits: NDArray[Any], temperature: float) -> NDArray[np.float64]:
    """Return temperature * log(sum(exp(logits / temperature))): the higher, the more familiar the image.

    Args:
        logits: (B, classes), any range.
        temperature: What they are divided by before the softmax, > 0.

    Returns:
        (B,) float64: in double precision, so that the same logits always fall on the same side of a
        threshold.

    Source: Liu, Wang, Owens, Li, "Energy-based Out-of-distribution Detection", NeurIPS 2020, with the sign
    turned.
    """
    tempered = logits.astype(np.float64) / temperature
    return np.asarray(temperature * np.logaddexp.reduce(tempered, 1))
