import pytest
import torch

from training.augment import AUGMENTATIONS, digits, photographs

_BATCH = 12

_SHAPES = {"digits": (28, 28), "photographs": (32, 32, 3)}


def _pixels(name: str = "digits") -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (_BATCH, *_SHAPES[name]), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_keeps_shape_and_range(name: str) -> None:
    """
    What comes out is float32 of the same shape, from 0 to 255, and not what went in.
    """
    pixels = _pixels(name)

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
    pixels = _pixels(name)
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


def test_a_strength_of_zero_only_mirrors_photographs() -> None:
    """
    With no strength each is as it was or its mirror image, and both happen.
    """
    pixels = _pixels("photographs").float()

    varied = photographs(pixels.to(torch.uint8), torch.Generator().manual_seed(1), 0.0)

    same = (varied - pixels).abs().amax((1, 2, 3)) < 0.01
    mirrored = (varied - pixels.flip(2)).abs().amax((1, 2, 3)) < 0.01
    assert (same ^ mirrored).all()
    assert 0 < int(same.sum()) < _BATCH


def test_a_photograph_keeps_its_colour_nearly() -> None:
    """
    Of one colour, it stays of one colour, within a third of each channel on average.
    """
    colour = torch.tensor([200, 100, 50], dtype=torch.uint8)
    pixels = colour.expand(200, 16, 16, 3)

    varied = photographs(pixels, torch.Generator().manual_seed(1), 1.0)

    assert varied.std((1, 2)).max() < 0.01
    changes = (varied.mean((1, 2)) / colour - 1).abs().mean(0)
    assert (changes > 0.05).all()
    assert (changes < 1 / 3).all()
