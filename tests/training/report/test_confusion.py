from dataclasses import replace

import numpy as np

from training.data.examples import Examples, Split
from training.report.confusion import confusion


def test_counts_and_most_frequent_mistakes_are_of_all_fits(official: Split) -> None:
    """
    Six images, two fits: counted by hand.
    """
    labels = np.array([0, 0, 1, 1, 2, 2])
    split = replace(official, test=Examples(np.zeros((6, 6, 5), np.uint8), labels))
    answers = [np.array([0, 2, 1, 1, 2, 1]), np.array([0, 2, 1, 0, 2, 2])]

    found = confusion("lesson", split, "test", answers, (4, 5))

    assert found.counts == ((2, 0, 2), (1, 3, 0), (0, 1, 3))
    assert [(each.truth, each.answer, each.count) for each in found.confused] == [
        ("zero", "two", 2),
        ("one", "zero", 1),
        ("two", "one", 1),
    ]
    assert (found.fit, found.split, found.examples, found.seeds) == ("lesson", "test", 6, (4, 5))


def test_without_mistakes_none_is_listed(official: Split) -> None:
    """
    Diagonal counts are no mistakes.
    """
    found = confusion("published", official, "test", [official.parts["test"].labels], (1,))

    assert found.confused == ()
