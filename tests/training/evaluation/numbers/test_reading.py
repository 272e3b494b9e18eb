"""`training/evaluation/numbers/`: samples, learned weights and figures, with a toy network."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from service.core.reading.candidates import Candidate, Lattice
from service.core.reading.lattice import Sizes, Weights
from training.evaluation.numbers import figures, groups, perceptron, tables
from training.evaluation.numbers.figures import Figures, edit_distance
from training.evaluation.numbers.groups import Group, Reader
from training.evaluation.numbers.samples import Network, Sample, as_pictures, as_strokes, numbers
from training.synthesis.numbers import Pools

ZERO = Weights(*[0.0] * 13)

START = Weights(*[1.0, 0, 0, -1, -1, -1, -1, -0.1, 1, 0, 0.1, 0.1, 0.1])


def pools() -> Pools:
    """A one, and a seven in two strokes."""
    one = [np.array([[0.0, 0.0], [0.0, 1000.0]])]
    seven = [
        np.array([[0.0, 0.0], [600.0, 0.0], [200.0, 1000.0]]),
        np.array([[100.0, 500.0], [500.0, 500.0]]),
    ]
    return {1: [one], 7: [seven]}


def is_seven(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Logits: a seven has ink in the upper left corner, a one has not."""
    logits = np.full((len(images), 10), -9.0)
    logits[:, 1] = 3
    logits[:, 7] = np.where(images[:, :10, :11].max(axis=(1, 2)) > 100, 9, 0)
    return logits


NETWORK = Network(is_seven, temperature=1.0, threshold=None)


def sample(text: str, texts: dict[tuple[int, int], str]) -> Sample:
    """A line whose parts are 10 wide; label by start and end."""
    candidates = tuple(
        Candidate(0, start, end, (10.0 * start, 0, 10.0 * end, 10), end - start, 1, 1, 0, end - start - 1)
        for start, end in texts
    )
    boxes = np.array([(10.0 * place, 0, 10.0 * place + 10, 10) for place in range(len(text))])
    lattice = Lattice(candidates, (max(end for _, end in texts),), np.zeros((0, 28, 28), np.uint8))
    count = len(candidates)
    terms = np.array([[0.0] * 7 + [end - start - 1, 0, 1, 0, 0, 0] for start, end in texts])
    probabilities = np.full((count, 10), 0.1, np.float32)
    return Sample(text, boxes, False, lattice, tuple(texts.values()), probabilities, np.zeros(count), terms)


def test_the_true_path_reads_the_text_where_it_stands() -> None:
    """
    Not a wide candidate with the same label, and none if no candidate reads a digit.
    """
    found = sample("17", {(0, 1): "1", (1, 2): "7", (0, 2): "1"})

    assert perceptron.true_path(found, np.zeros(3)) == [0, 1]
    assert perceptron.true_path(replace(found, text="18"), np.zeros(3)) is None


def test_weights_are_learned_from_wrong_paths() -> None:
    """
    Candidates of two parts win at first, and lose after learning.
    """
    samples = [sample("17", {(0, 1): "1", (1, 2): "7", (0, 2): "4"}) for _ in range(3)]
    start = ZERO._replace(joins=0.5)
    assert figures.measure(samples, start).numbers_right == 0

    learned = perceptron.learn(samples, start, seed=1)

    assert figures.measure(samples, learned).numbers_right == 1
    assert learned.joins < start.joins


def test_figures_count_digits_numbers_and_boxes() -> None:
    """
    Of two numbers one is read with a digit too few.
    """
    right = sample("177", {(0, 1): "1", (1, 2): "7", (2, 3): "7"})
    wrong = sample("17", {(0, 1): "1", (1, 2): "7", (0, 2): "1"})
    weights = ZERO._replace(joins=9.0)

    found = figures.measure([right, wrong], weights)

    assert found == Figures(2, digits_right=0.8, numbers_right=0.5, three_right=1.0, cut_right=0.5)
    assert "| x | strokes | 2 | 80.0% | 50.0% | 100.0% | 50.0% |" in tables.to_markdown(
        {("x", "strokes"): found}
    )


def test_without_numbers_of_three_digits_the_cell_is_empty() -> None:
    """
    As for two lines.
    """
    found = figures.measure([sample("1", {(0, 1): "1"})], START)

    assert tables.to_markdown({("x", "y"): found}).endswith("| x | y | 1 | 100.0% | 100.0% |  | 100.0% |")


@pytest.mark.parametrize(
    ("one", "two", "distance"),
    [("", "", 0), ("123", "13", 1), ("12", "21", 2), ("7", "", 1), ("38", "33", 1)],
)
def test_edit_distance(one: str, two: str, distance: int) -> None:
    """
    Either way.
    """
    assert edit_distance(one, two) == edit_distance(two, one) == distance


@pytest.mark.parametrize("lines", [1, 2])
def test_numbers_are_read_as_strokes_and_as_pictures(lines: int) -> None:
    """
    True boxes are in the units of the drawing.
    """
    written = numbers({"me": pools()}, 12, seed=2, lines=lines)
    drawn = as_strokes(written, NETWORK, {})
    seen = as_pictures(written, NETWORK, {}, seed=1)

    for samples, least in ((drawn, 0.8), (seen, 0.6)):  # the network takes two ones for one
        found = figures.measure(samples, START)
        assert found.digits_right > least
        assert found.cut_right > 0.3
        assert samples[0].text == written[0].text


def test_sizes_change_the_terms_of_their_class_only() -> None:
    """
    The last three of a candidate that is read as this class.
    """
    (found,) = as_strokes(numbers({"me": {1: pools()[1]}}, 1, seed=3), NETWORK, {})

    resized = found.resized({"1": Sizes((9.0, 1.0), (0.0, 1.0), (0.0, 1.0))})

    is_one = np.array(found.labels) == "1"
    assert is_one.any()
    assert (resized.terms[is_one, 10] < found.terms[is_one, 10]).all()
    np.testing.assert_array_equal(resized.terms[~is_one], found.terms[~is_one])
    np.testing.assert_array_equal(resized.terms[:, :10], found.terms[:, :10])


def test_a_group_is_measured_apart_where_digits_touch() -> None:
    """
    And in two lines; learned sizes are of the digits that the writers have.
    """
    group = Group("me", {"me": pools()}, NETWORK)

    reader = groups.learn(group, "strokes", 20, Reader(START, {}))
    found = groups.measure(group, "strokes", 20, reader)

    assert set(reader.sizes) == {"1", "7"}
    assert ("me", "strokes, two lines") in found
    parts = [found.get(("me", f"strokes, {kind}")) for kind in ("digits touch", "no digits touch")]
    assert sum(part.numbers for part in parts if part) == found["me", "strokes"].numbers == 20
