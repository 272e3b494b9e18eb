from collections.abc import Callable

import pytest
import torch

from training.synthesis.augmentations import (
    AUGMENTATIONS,
    augment_digits,
    augment_photographs,
    degrade,
    vary_stroke_width,
)

_BATCH = 12

_SHAPES = {"digits": (28, 28), "photographs": (32, 32, 3)}


def _pixels(name: str = "digits") -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (_BATCH, *_SHAPES[name]), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_keeps_shape_and_range(name: str) -> None:
    """
    The result is float32 of the same shape, from 0 to 255, and differs from the input.
    """
    pixels = _pixels(name)

    varied = AUGMENTATIONS[name](pixels, torch.Generator().manual_seed(1), 1.0)

    assert varied.shape == pixels.shape
    assert varied.dtype == torch.float32
    assert varied.min() >= 0
    assert varied.max() <= 255
    assert not torch.equal(varied, pixels.float())


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_depends_on_the_generator_alone(name: str) -> None:
    """
    The same state gives the same bits, another one others; torch's global generator is unchanged.
    """
    pixels = _pixels(name)
    torch.manual_seed(1)
    before = torch.get_rng_state()

    once, again, other = (
        AUGMENTATIONS[name](pixels, torch.Generator().manual_seed(seed), 1.0) for seed in (1, 1, 2)
    )

    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert torch.equal(before, torch.get_rng_state())


def test_a_strength_of_zero_keeps_drawings() -> None:
    """
    Every pixel is sampled at its own position.
    """
    pixels = _pixels()

    varied = augment_digits(pixels, torch.Generator().manual_seed(1), 0.0)

    torch.testing.assert_close(varied, pixels.float(), atol=0.01, rtol=0)


def test_some_drawings_are_unchanged() -> None:
    """
    About one in six, bit by bit.
    """
    pixels = _pixels()[:1].expand(600, 28, 28)

    varied = augment_digits(pixels, torch.Generator().manual_seed(1), 1.0)

    same = (varied == pixels).all(2).all(1).float().mean()
    assert same == pytest.approx(1 / 6, abs=0.05)  # of 600 draws


def test_a_drawing_stays_near_its_position() -> None:
    """
    A central dot stays within two pixels of the centre, on average.
    """
    dot = torch.zeros(200, 28, 28, dtype=torch.uint8)
    dot[:, 13:15, 13:15] = 255

    varied = augment_digits(dot, torch.Generator().manual_seed(1), 1.0)

    places = torch.arange(28) - 13.5
    total = varied.sum((1, 2))
    for axis in (1, 2):
        centre = (varied.sum(3 - axis) * places).sum(1) / total
        assert centre.abs().mean() < 2


def test_a_strength_of_zero_only_flips_photographs() -> None:
    """
    Each photograph is unchanged or flipped, and both occur.
    """
    pixels = _pixels("photographs").float()

    varied = augment_photographs(pixels.to(torch.uint8), torch.Generator().manual_seed(1), 0.0)

    same = (varied - pixels).abs().amax((1, 2, 3)) < 0.01
    mirrored = (varied - pixels.flip(2)).abs().amax((1, 2, 3)) < 0.01
    assert (same ^ mirrored).all()
    assert 0 < int(same.sum()) < _BATCH


def test_a_photograph_keeps_its_colour_nearly() -> None:
    """
    A uniform photograph stays uniform, within a third of each channel on average.
    """
    colour = torch.tensor([200, 100, 50], dtype=torch.uint8)
    pixels = colour.expand(200, 16, 16, 3)

    varied = augment_photographs(pixels, torch.Generator().manual_seed(1), 1.0)

    assert varied.std((1, 2)).max() < 0.01
    changes = (varied.mean((1, 2)) / colour - 1).abs().mean(0)
    assert (changes > 0.05).all()
    assert (changes < 1 / 3).all()


def _square(count: int) -> torch.Tensor:
    """A grey square of 6 x 6 pixels in the middle."""
    images = torch.zeros(count, 28, 28)
    images[:, 11:17, 11:17] = 200
    return images


each_change = pytest.mark.parametrize("change", [vary_stroke_width, degrade])

Change = Callable[[torch.Tensor, torch.Generator, float], torch.Tensor]


@each_change
def test_a_share_of_drawings_is_changed(change: Change) -> None:
    """
    About the requested share, also none or all. Values stay from 0 to 255.
    """
    images = _square(600)

    for share in (0.0, 0.3, 1.0):
        changed = change(images, torch.Generator().manual_seed(1), share)
        is_other = (changed != images).any(2).any(1).float().mean()
        assert is_other == pytest.approx(share, abs=0.05)  # of 600 draws
        assert (changed.shape, changed.dtype) == (images.shape, torch.float32)
        assert changed.min() >= 0
        assert changed.max() <= 255


@each_change
def test_changes_depend_on_the_generator_alone(change: Change) -> None:
    """
    The same state gives the same bits, another one others; an empty batch stays empty.
    """
    once, again, other = (change(_square(20), torch.Generator().manual_seed(seed), 0.5) for seed in (1, 1, 2))

    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert change(_square(0), torch.Generator().manual_seed(1), 0.5).shape == (0, 28, 28)


def test_ink_grows_and_shrinks_by_less_than_a_pixel() -> None:
    """
    Pixels outside an edge get up to 0.8 of the ink, pixels inside lose up to 0.6; nothing else changes.
    """
    images = _square(500)

    changed = vary_stroke_width(images, torch.Generator().manual_seed(1), 1.0)

    outside, inside = changed[:, 10, 13] / 200, changed[:, 11, 13] / 200
    assert 0.7 < outside.max() <= 0.8
    assert 0.4 <= inside.min() < 0.5
    assert ((outside > 0) ^ (inside < 1)).all()
    assert float((outside > 0).float().mean()) == pytest.approx(0.8 / 1.4, abs=0.07)  # of 500 draws
    assert (changed[:, 12:16, 12:16] == 200).all()
    assert changed[:, 9].max() == 0


def test_degraded_drawings_vary_in_sharpness_brightness_and_noise() -> None:
    """
    Some are darker and some brighter by up to a fifth and more; noise of at most 15 on average; edges are
    softened on some and sharpened on others.
    """
    changed = degrade(_square(500), torch.Generator().manual_seed(1), 1.0)

    middle = changed[:, 13:15, 13:15].mean((1, 2)) / 200
    assert middle.min() < 0.95
    assert middle.max() > 1.2
    specks = changed[:, :8].std((1, 2))
    assert 5 < specks.max() < 15
    assert specks.min() < 1
    step = (changed[:, 12:16, 11] - changed[:, 12:16, 10]).mean(1) / (200 * middle)
    assert step.min() < 0.8
    assert step.max() > 0.98
