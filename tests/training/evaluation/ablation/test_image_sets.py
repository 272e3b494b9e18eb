import numpy as np

from tests.digits import DIGITS
from training.data.examples import Examples
from training.data.pen_digits import PenDigit
from training.evaluation.ablation import steps
from training.evaluation.ablation.image_sets import SIZES, all_sets, choose_digits
from training.synthesis.canvases import client, pictures


def digits(count: int) -> list[PenDigit]:
    """The tests' own digits, of two donors in job."""
    return [
        PenDigit(
            row % 10,
            "ab"[row % 2],
            f"{'ab'[row % 2]}/{row}",
            tuple(np.array(stroke) * 10 for stroke in DIGITS[str(row % 10)][0]),
        )
        for row in range(count)
    ]


def test_equally_many_digits_of_every_donor_are_chosen() -> None:
    """
    Always the same ones; all digits of a donor with fewer.
    """
    found = choose_digits(digits(30), 4)

    assert [digit.donor for digit in found] == list("aaaabbbb")
    assert [digit.writer for digit in found] == [digit.writer for digit in choose_digits(digits(30), 4)]
    assert len(choose_digits(digits(30), 100)) == 30


def test_every_set_has_its_steps() -> None:
    """
    Centred drawings are also rendered from their strokes; MNIST images are preprocessed like canvases.
    """
    test = Examples(np.full((2, 28, 28), 9, np.uint8), np.array([0, 1]))

    mnist, tidy, sizes, *others = all_sets(test, digits(4))

    assert tuple(tidy.by_step) == (*steps.STEPS, steps.DRAWN)
    assert [each.name for each in others] == [
        *("clean canvases", "tools canvases", "scan canvases"),
        *(f"scaled down by the client, {kind}" for kind in client.KINDS),
        "pictures of more than a digit",
    ]
    assert len(sizes.by_step) == len(SIZES)
    assert tuple(others[-1].by_step) == tuple(pictures.KINDS)
    for images in (tidy, sizes, *others, mnist):
        assert all(found.shape == (len(images.labels), 28, 28) for found in images.by_step.values())
    assert tidy.donors.tolist() == list("abab")
    assert mnist.donors.size == 0
