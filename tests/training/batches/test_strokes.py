from dataclasses import replace

import numpy as np
import torch

from tests.digits import DIGITS, arrays
from training.batches.source import NO_CLASS
from training.batches.strokes import StrokeBatches
from training.recipes.recipe import Recipe

DRAWINGS = [arrays(DIGITS[digit][0]) for digit in "0147"]
LABELS = np.array([3, 2, 1, 0])


def test_every_drawing_is_rendered_anew(recipe: Recipe) -> None:
    """
    Its label stays; the same state of the generator gives the same bits.
    """
    source = StrokeBatches(recipe, DRAWINGS, LABELS)
    rows = torch.tensor([2, 0])

    first, again, other = (source.batch(1, rows, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))

    assert len(source) == 4
    assert first.labels.tolist() == [1, 3]
    assert first.images.shape == (2, 28, 28)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)


def test_rows_after_the_drawings_show_no_class(recipe: Recipe) -> None:
    """
    As many as the recipe asks for.
    """
    source = StrokeBatches(replace(recipe, nondigits=3), DRAWINGS, LABELS)

    batch = source.batch(1, torch.tensor([5, 0, 6]), torch.Generator().manual_seed(1))

    assert len(source) == 7
    assert batch.labels.tolist() == [3, NO_CLASS, NO_CLASS]
    assert (batch.images.amax((1, 2)) > 100).all()
