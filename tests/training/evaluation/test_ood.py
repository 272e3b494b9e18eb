import numpy as np
import pytest
from numpy.typing import NDArray

from service.core.network.ood_score import negative_energy
from training.evaluation.ood import choose_threshold


def _logits(count: int, seed: int = 1, mean: float = 0.0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(mean, 3, (count, 10)).astype(np.float32)


def test_a_threshold_keeps_99_percent_of_digits() -> None:
    """
    Each kind has the same weight at any number of images; a higher threshold would keep fewer.
    """
    digits = {"many": _logits(2000, 1, 4), "few": _logits(400, 2)}

    found = choose_threshold(digits, {"scrawls": _logits(500, 3, -4)}, 1.5)

    def kept(threshold: float) -> float:
        return float(np.mean([(negative_energy(each, 1.5) >= threshold).mean() for each in digits.values()]))

    scores = np.sort(np.concatenate([negative_energy(each, 1.5) for each in digits.values()]))
    assert found.score == "energy"
    assert kept(found.threshold) == pytest.approx(0.99, abs=0.002)
    assert kept(found.threshold - 1e-4) >= 0.99  # it is rounded
    assert kept(scores[scores > found.threshold + 1e-4][1]) < 0.99


def test_shares_are_those_of_the_threshold() -> None:
    """
    Kept and passed shares are counted at the published, rounded threshold.
    """
    digits, others = {"a": _logits(300, 1), "b": _logits(200, 2, 2)}, {"c": _logits(100, 3, -1)}

    found = choose_threshold(digits, others, 0.7)

    for shares, images in ((found.kept, digits), (found.passed, others)):
        assert [(each.images, each.examples) for each in shares] == [
            (name, len(logits)) for name, logits in images.items()
        ]
        for share, logits in zip(shares, images.values(), strict=True):
            counted = (negative_energy(logits, 0.7) >= found.threshold).mean()
            assert share.share == pytest.approx(counted, abs=1e-5)
    assert found.passed[0].share < min(share.share for share in found.kept)
