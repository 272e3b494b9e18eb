"""Division into parts: by class, by donor or writer, and never through identical images."""

import numpy as np
import pytest

from training.data.own.splitting import folds, group, hold_out, named

LABELS = np.repeat(np.arange(3), 20)
IMAGES = [bytes([row]) for row in range(60)]


def test_a_test_part_has_its_share_of_every_class() -> None:
    """
    The same seed chooses the same examples.
    """
    grouping = group(IMAGES, (), ())

    chosen = hold_out(LABELS, grouping, 0.2, 1000, 1)

    assert np.bincount(LABELS[chosen]).tolist() == [4, 4, 4]
    np.testing.assert_array_equal(chosen, hold_out(LABELS, grouping, 0.2, 1000, 1))
    assert (chosen != hold_out(LABELS, grouping, 0.2, 1000, 2)).any()


def test_small_classes_keep_an_example_for_training() -> None:
    """
    Of three one is held out, of one none.
    """
    labels = np.array([0, 0, 0, 1])

    chosen = hold_out(labels, group([b"a", b"b", b"c", b"d"], (), ()), 0.2, 1000, 1)

    assert np.bincount(labels[chosen], minlength=2).tolist() == [1, 0]


def test_identical_images_stay_together() -> None:
    """
    Whatever the seed.
    """
    images = [bytes([row // 4]) for row in range(60)]
    grouping = group(images, (), ())

    for seed in range(5):
        chosen = hold_out(LABELS, grouping, 0.2, 1000, seed)
        numbers = folds(LABELS, grouping, 5, seed)
        for first in range(0, 60, 4):
            assert len(set(chosen[first : first + 4])) == 1
            assert len(set(numbers[first : first + 4])) == 1


@pytest.mark.parametrize(("writers", "kind"), [(10, "writer"), (9, "image")])
def test_enough_writers_are_held_out_whole(writers: int, kind: str) -> None:
    """
    With fewer than ten the division is by image.
    """
    names = [f"w{row % writers}" for row in range(60)]
    grouping = group(IMAGES, (), names)

    chosen = hold_out(LABELS, grouping, 0.2, 1000, 1)

    assert grouping.kind == kind
    assert 0.1 * 60 <= chosen.sum() <= 0.26 * 60 + 1
    if kind == "writer":
        inside = {name for name, is_chosen in zip(names, chosen, strict=True) if is_chosen}
        outside = {name for name, is_chosen in zip(names, chosen, strict=True) if not is_chosen}
        assert not inside & outside


def test_donors_go_before_writers() -> None:
    """
    A donor's writers share tablet and instructions.
    """
    donors = [f"d{row % 5}" for row in range(60)]

    assert group(IMAGES, donors, [f"w{row}" for row in range(60)]).kind == "donor"


def test_a_donor_with_the_only_examples_of_a_class_is_not_held_out() -> None:
    """
    Every class keeps a training example.
    """
    donors = [f"d{row // 12}" for row in range(60)]
    labels = np.array([9 if donor == "d2" else 0 for donor in donors])

    for seed in range(10):
        chosen = hold_out(labels, group(IMAGES, donors, ()), 0.2, 1000, seed)
        assert not chosen[labels == 9].any()


def test_folds_divide_every_class_evenly() -> None:
    """
    Five folds of twelve, four of each class.
    """
    numbers = folds(LABELS, group(IMAGES, (), ()), 5, 1)

    for fold in range(5):
        assert np.bincount(LABELS[numbers == fold]).tolist() == [4, 4, 4]


def test_donors_and_writers_are_chosen_by_name() -> None:
    """
    Either may be named.
    """
    chosen = named(["b", "w1"], ["a", "b", "c"], ["w1", "w2", "w3"])

    assert chosen.tolist() == [True, True, False]
