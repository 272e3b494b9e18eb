import numpy as np
import pytest
import torch

from training.data.examples import Examples
from training.fitting.scoring import evaluate
from training.model.mlp import MLP


def test_evaluation_counts_correct_predictions() -> None:
    """
    A network whose logits are its two pixels is correct if the brighter pixel is the label.
    """
    net = MLP(2, (), 2, "glorot-uniform", torch.Generator().manual_seed(0))
    net.load_state_dict({"output.weight": torch.eye(2), "output.bias": torch.zeros(2)})
    pixels = np.array([[255, 0], [0, 255], [255, 0], [0, 0]], np.uint8)

    score = evaluate(net, Examples(pixels, np.array([0, 1, 1, 0])))

    sure, wrong, torn = np.log1p(np.exp(-1)), np.log1p(np.exp(1)), np.log(2)
    assert (score.examples, score.accuracy) == (4, 0.75)
    assert score.loss == pytest.approx((2 * sure + wrong + torn) / 4)
