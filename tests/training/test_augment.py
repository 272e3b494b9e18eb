import pytest
import torch

from training.augment import AUGMENTATIONS, digits

_BATCH = 12


def _pixels() -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (_BATCH, 28, 28), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_keeps_shape_and_range(name: str) -> None:
    """
    What comes out is float32 of the same shape, from 0 to 255, and not what went in.
    """
    pixels = _pixels()

    varied = AUGMENTATIONS[name](pixels, torch.Generator().manual_seed(1), 1.0)

    assert varied.shape == pixels.shape
    assert varied.dtype == torch.float32
    assert varied.min() >= 0
    assert varied.max() <= 255
    assert not torch.equal(varied, pixels.float())


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_generator_decides_the_variation(name: str) -> None:
    """
    The same state gives the same bits, another one others; torch's global generator is not moved.
    """
    pixels = _pixels()
    torch.manual_seed(1)
    before = torch.get_rng_state()

    once, again, other = (
        AUGMENTATIONS[name](pixels, torch.Generator().manual_seed(seed), 1.0) for seed in (1, 1, 2)
    )

    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert torch.equal(before, torch.get_rng_state())


def test_a_strength_of_zero_leaves_drawings_as_they_are() -> None:
    """
    With no strength every pixel is looked up at its own place.
    """
    pixels = _pixels()

    varied = digits(pixels, torch.Generator().manual_seed(1), 0.0)

    torch.testing.assert_close(varied, pixels.float(), atol=0.01, rtol=0)


def test_some_drawings_stay_as_they_are() -> None:
    """
    About one in six of many comes out bit by bit as it went in.
    """
    pixels = _pixels()[:1].expand(600, 28, 28)

    varied = digits(pixels, torch.Generator().manual_seed(1), 1.0)

    same = (varied == pixels).all(2).all(1).float().mean()
    assert same == pytest.approx(1 / 6, abs=0.05)  # of 600 draws


def test_a_drawing_stays_near_its_place() -> None:
    """
    A dot in the middle is found within two pixels of the middle, on average over many variations.
    """
    dot = torch.zeros(200, 28, 28, dtype=torch.uint8)
    dot[:, 13:15, 13:15] = 255

    varied = digits(dot, torch.Generator().manual_seed(1), 1.0)

    places = torch.arange(28) - 13.5
    total = varied.sum((1, 2))
    for axis in (1, 2):
        centre = (varied.sum(3 - axis) * places).sum(1) / total
        assert centre.abs().mean() < 2
