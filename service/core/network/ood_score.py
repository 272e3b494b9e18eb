"""Out-of-distribution score: the negative energy of the logits. The manifest holds its threshold."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def negative_energy(logits: NDArray[Any], temperature: float) -> NDArray[np.float64]:
    """Return the negative energy, temperature * log(sum(exp(logits / temperature))).

    The lower it is, the more likely the image is out of distribution.

    Args:
        logits: (B, classes), any range.
        temperature: Temperature of the softmax, > 0.

    Returns:
        (B,) float64, so that equal logits always fall on the same side of a threshold.

    Source: Liu, Wang, Owens, Li, "Energy-based Out-of-distribution Detection", NeurIPS 2020, negated.
    """
    tempered = logits.astype(np.float64) / temperature
    return np.asarray(temperature * np.logaddexp.reduce(tempered, 1))
