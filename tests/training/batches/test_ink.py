from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.digits import DIGITS, arrays
from training.batches.ink import InkBatches
from training.batches.source import NO_CLASS
from training.data.examples import Examples
from training.data.ink import InkData
from training.data.pen_digits import PenDigit
from training.data.pen_letters import PenLetter
from training.recipes.recipe import Recipe

MNIST, DRAWN, CANVASES, NONDIGITS = 6, 5, 4, 3
"""Rows of an epoch, by kind."""


class _Teacher(nn.Module):
    """A teacher with constant logits."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self._logits = torch.tensor(logits)

    def forward(self, pixels: Tensor) -> Tensor:
        return self._logits.expand(len(pixels), -1)


def _pen_digit(label: int, donor: str) -> PenDigit:
    return PenDigit(label, donor, f"{donor}/one", tuple(arrays(DIGITS[str(label)][0])))


@pytest.fixture
def ink() -> InkData:
    """Sixteen threes of one donor and a five of another, one canvas each; all MNIST images are labelled 8."""
    digits = (*(_pen_digit(3, "many") for _ in range(16)), _pen_digit(5, "one"))
    places = np.arange(17)
    shades = np.full((17, 28, 28), 40, np.uint8)  # canvases: evenly grey
    return InkData(
        mnist=Examples(np.full((MNIST, 28, 28), 240, np.uint8), np.full(MNIST, 8)),
        digits=digits,
        canvases=Examples(shades, np.array([digit.label for digit in digits])),
        canvas_digits=places,
        canvas_kinds=np.array(["clean"] * 17),
        nondigits=((np.zeros((1, 2)),),),
    )


@pytest.fixture
def inky(recipe: Recipe) -> Recipe:
    return replace(
        recipe, epochs=10, strength=1.0, drawn=DRAWN, canvases=CANVASES, nondigits=NONDIGITS, data="ink"
    )


def _generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_epoch_has_the_recipes_rows_of_each_kind(ink: InkData, inky: Recipe) -> None:
    """
    All MNIST images, and as many rows of the other kinds as the recipe has; non-digits have label NO_CLASS.
    """
    source = InkBatches(inky, ink)

    batch = source.batch(1, torch.randperm(len(source), generator=_generator()), _generator())

    assert len(source) == MNIST + DRAWN + CANVASES + NONDIGITS
    assert (batch.images.shape, batch.images.dtype) == ((len(source), 28, 28), torch.float32)
    assert batch.images.min() >= 0
    assert batch.images.max() <= 255
    counts = Counter(batch.labels.tolist())
    assert (counts[8], counts[NO_CLASS]) == (MNIST, NONDIGITS)
    assert counts[3] + counts[5] == DRAWN + CANVASES
    assert batch.labels.dtype == torch.int64
    assert batch.teacher is None


def test_images_belong_to_their_labels(ink: InkData, inky: Recipe) -> None:
    """
    Images match their labels: MNIST's are bright here, canvases uniform grey, the non-digit is a dot with
    less ink than any digit.
    """
    batch = InkBatches(replace(inky, strength=0.0), ink).batch(1, torch.arange(18), _generator())

    ink_of = batch.images.mean((1, 2))
    assert (ink_of[batch.labels == 8] > 100).all()
    assert ink_of[batch.labels == NO_CLASS].max() < ink_of[batch.labels != NO_CLASS].min()


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (torch.arange(0, 6), {8}),
        (torch.arange(6, 11), {3, 5}),
        (torch.arange(11, 15), {3, 5}),
        (torch.arange(15, 18), {NO_CLASS}),
        (torch.tensor([0, 16]), {8, NO_CLASS}),
    ],
    ids=["MNIST", "drawn", "canvases", "non-digits", "neither strokes nor canvases"],
)
def test_a_batch_may_lack_kinds(ink: InkData, inky: Recipe, rows: Tensor, labels: set[int]) -> None:
    """
    A small batch has the kinds of its rows only.
    """
    batch = InkBatches(inky, ink, [_Teacher([0.0] * 10)]).batch(1, rows, _generator())

    assert len(batch.images) == len(batch.labels) == len(rows)
    assert set(batch.labels.tolist()) <= labels
    assert batch.teacher is not None
    assert batch.teacher.shape == (len(rows), 10)


def test_a_recipe_may_leave_kinds_out(ink: InkData, inky: Recipe) -> None:
    """
    Without strokes, canvases and non-digits an epoch is MNIST.
    """
    source = InkBatches(replace(inky, drawn=0, canvases=0, nondigits=0), ink)

    assert len(source) == MNIST
    assert set(source.batch(1, torch.arange(MNIST), _generator()).labels.tolist()) == {8}


@pytest.mark.parametrize("kind", ["drawn", "canvases"])
def test_donors_are_weighted_by_the_square_root_of_their_digits(
    ink: InkData, inky: Recipe, kind: str
) -> None:
    """
    A donor of sixteen digits is drawn four times as often as a donor of one.
    """
    counts = {"drawn": 0, "canvases": 0, "nondigits": 0} | {kind: 600}
    recipe = replace(inky, drawn=counts["drawn"], canvases=counts["canvases"], nondigits=0)

    labels = InkBatches(recipe, ink).batch(1, torch.arange(MNIST, MNIST + 600), _generator()).labels

    assert set(labels.tolist()) == {3, 5}
    assert float((labels == 3).float().mean()) == pytest.approx(0.8, abs=0.05)  # of 600 draws


def test_teacher_probabilities_are_averaged(ink: InkData, inky: Recipe) -> None:
    """
    Mean at the recipe's temperature; uniform for non-digits.
    """
    first, second = [0.0] * 10, [0.0] * 10
    first[3], second[7] = 8.0, 4.0
    recipe = replace(inky, teacher_temperature=2.0)

    batch = InkBatches(recipe, ink, [_Teacher(first), _Teacher(second)]).batch(
        1, torch.arange(18), _generator()
    )

    assert batch.teacher is not None
    expected = (torch.tensor([first, second]) / 2).softmax(1).mean(0)
    is_none = batch.labels == NO_CLASS
    torch.testing.assert_close(batch.teacher[~is_none], expected.expand(15, 10))
    torch.testing.assert_close(batch.teacher[is_none], torch.full((3, 10), 0.1))


def test_a_batch_depends_on_the_generator_alone(ink: InkData, inky: Recipe) -> None:
    """
    The same generator state gives the same bits, another state gives others.
    """
    source = InkBatches(inky, ink)

    once, again, other = (source.batch(1, torch.arange(18), _generator(seed)) for seed in (1, 1, 2))

    assert torch.equal(once.images, again.images)
    assert torch.equal(once.labels, again.labels)
    assert not torch.equal(once.images, other.images)


def test_augmentation_is_weaker_in_the_final_phase(ink: InkData, inky: Recipe) -> None:
    """
    In the last fifth of the epochs renderings of one digit differ less.
    """
    source = InkBatches(replace(inky, drawn=200), ink)
    rows = torch.arange(MNIST, MNIST + 200)

    spreads = []
    for epoch in (8, 9):
        batch = source.batch(epoch, rows, _generator())
        spreads.append(float(batch.images[batch.labels == 3].std(0).mean()))

    assert spreads[1] < 0.95 * spreads[0]


def test_styles_letters_and_joined_digits_are_rows_of_their_own(ink: InkData, inky: Recipe) -> None:
    """
    Digits in rare styles have their label; letters, joined and turned digits have none. Rows of other kinds
    stay.
    """
    stroke = (np.array([[0.0, 0.0], [300.0, 1000.0]]),)
    more = replace(
        ink,
        letters=(PenLetter("k", "many", "1b/many/one", stroke),),
        styled=(PenDigit(7, "rule", "rule/seven", stroke),),
    )
    source = InkBatches(replace(inky, styled=7, letters=2, joined=4, turned=3), more)

    batch = source.batch(1, torch.randperm(len(source), generator=_generator()), _generator())

    assert len(source) == MNIST + DRAWN + CANVASES + NONDIGITS + 7 + 2 + 4 + 3
    assert batch.images.shape == (len(source), 28, 28)
    counts = Counter(batch.labels.tolist())
    assert (counts[8], counts[7], counts[NO_CLASS]) == (MNIST, 7, NONDIGITS + 2 + 4 + 3)
    assert counts[3] + counts[5] == DRAWN + CANVASES


def test_joined_digits_are_wider_than_one(ink: InkData, inky: Recipe) -> None:
    """
    Two digits side by side fill the image's width, so each is drawn smaller.
    """
    source = InkBatches(replace(inky, joined=40, strength=0.0), ink)
    first = MNIST + DRAWN + CANVASES + NONDIGITS

    joined = source.batch(1, torch.arange(first, first + 40), _generator()).images
    single = source.batch(1, torch.arange(MNIST, MNIST + DRAWN), _generator()).images

    def heights(images: Tensor) -> Tensor:
        return (images.amax(2) > 60).sum(1).float()

    assert heights(joined).mean() < 0.85 * heights(single).mean()


def test_turned_digits_lie_on_their_side(ink: InkData, inky: Recipe) -> None:
    """
    A drawing that is higher than wide becomes wider than high.
    """
    source = InkBatches(replace(inky, turned=40, strength=0.0), ink)
    first = MNIST + DRAWN + CANVASES + NONDIGITS

    images = source.batch(1, torch.arange(first, first + 40), _generator()).images > 60

    assert (images.any(1).sum(1) > images.any(2).sum(1)).all()
