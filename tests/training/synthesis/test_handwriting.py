from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.core.drawing.mnist import from_strokes
from tests.digits import DIGITS, arrays
from training.synthesis.handwriting import POINTS, add_variants, join, render, to_path, vary_shape

each_digit = pytest.mark.parametrize("label", DIGITS)


def _generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _paths(label: str, count: int) -> Tensor:
    return torch.tensor(to_path(arrays(DIGITS[label][0]))).expand(count, -1, -1)


@each_digit
def test_a_path_has_a_bounding_box_of_one(label: str) -> None:
    """
    144 points, larger side 1, centre at 0, for strokes of any unit and position.
    """
    strokes = arrays(DIGITS[label][0])

    points = to_path(strokes)

    assert points.shape == (POINTS, 2)
    assert points.dtype == np.float32
    low, high = points.min(0), points.max(0)
    assert (high - low).max() == pytest.approx(1, abs=0.03)  # a corner may lie between two points
    np.testing.assert_allclose(low + high, 0, atol=0.04)
    np.testing.assert_allclose(to_path([7 * stroke - 300 for stroke in strokes]), points, atol=1e-5)


def test_points_of_a_path_are_evenly_spaced() -> None:
    """
    At any speed of the pen; each stroke has points in proportion to its length.
    """
    slow = np.concatenate((np.linspace(0, 10, 200), np.linspace(10, 90, 3)[1:]))
    strokes = [np.stack((slow, 0 * slow), 1), np.array([[0.0, 30.0], [30.0, 30.0]])]

    points = to_path(strokes)

    is_first = points[:, 1] < 0
    assert is_first.sum() == pytest.approx(POINTS * 3 / 4, abs=2)
    for stroke in (points[is_first], points[~is_first]):
        steps = np.hypot(*np.diff(stroke, axis=0).T)
        np.testing.assert_allclose(steps, steps.mean(), rtol=1e-3)


@pytest.mark.parametrize(
    "strokes",
    [
        [np.zeros((1, 2))],
        [np.full((4, 2), 7.0)],
        [np.zeros((1, 2)), np.array([[0.0, 9.0], [5.0, 9.0]])],
        [np.array([[float(place), 0.0]]) for place in range(2 * POINTS)],
    ],
    ids=["a dot", "a pen that rested", "a dot and a line", "more dots than points"],
)
def test_dots_have_a_path(strokes: list[NDArray[np.float64]]) -> None:
    """
    144 finite points within the bounding box, which leave ink.
    """
    points = to_path(strokes)

    assert points.shape == (POINTS, 2)
    assert np.abs(points).max() <= 0.5
    assert render(torch.tensor(points)[None], _generator(), 1.0).max() > 100


@each_digit
def test_renderings_have_shape_range_and_ink(label: str) -> None:
    """
    (B, 28, 28) float32 from 0 to 255 with full ink, all different, with a margin around the ink.
    """
    images = render(_paths(label, 30), _generator(), 1.0)

    assert (images.shape, images.dtype) == ((30, 28, 28), torch.float32)
    assert images.min() == 0
    assert images.max() <= 255
    assert (images.amax((1, 2)) > 150).all()
    assert len({image.numpy().tobytes() for image in images}) == 30
    edge = images.clone()
    edge[:, 1:-1, 1:-1] = 0
    assert edge.sum() < 0.02 * images.sum()


@each_digit
def test_renderings_of_strength_zero_match_the_service(label: str) -> None:
    """
    Only pens differ: one of many equals the service's rendering within a few per cent, and on average ink
    and position are equal.
    """
    expected = torch.tensor(from_strokes(arrays(DIGITS[label][0]))).float()

    images = render(_paths(label, 120), _generator(), 0.0)

    assert (images - expected).abs().mean((1, 2)).min() < 2.5
    mean = images.mean(0)
    assert float(torch.corrcoef(torch.stack((mean.ravel(), expected.ravel())))[0, 1]) > 0.97


def test_a_larger_strength_gives_larger_differences() -> None:
    """
    Renderings of one path differ more from each other.
    """
    spreads = [float(render(_paths("5", 80), _generator(), much).std(0).mean()) for much in (0.0, 0.5, 1.5)]

    assert spreads[0] < 0.8 * spreads[1] < 0.8 * spreads[2]


@pytest.mark.parametrize(
    "vary",
    [
        lambda generator: render(_paths("3", 8), generator, 1.0),
        lambda generator: add_variants(_paths("1", 30), torch.ones(30, dtype=torch.int64), generator),
    ],
    ids=["draw", "restyle"],
)
def test_renderings_depend_on_the_generator_alone(vary: Callable[[torch.Generator], Tensor]) -> None:
    """
    The same state gives the same bits, another one others; torch's global generator is unchanged.
    """
    before = torch.get_rng_state()

    once, again, other = (vary(_generator(seed)) for seed in (1, 1, 2))

    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert torch.equal(before, torch.get_rng_state())


def test_an_empty_batch_is_rendered() -> None:
    """
    The result is an empty batch.
    """
    nothing = torch.empty(0, POINTS, 2)

    assert render(nothing, _generator(), 1.0).shape == (0, 28, 28)
    assert add_variants(nothing, torch.empty(0, dtype=torch.int64), _generator()).shape == (0, POINTS, 2)


@pytest.mark.parametrize(("label", "share"), [(0, 0.25), (7, 0.15), (1, 0.35)])
def test_some_zeros_sevens_and_ones_get_a_stroke(label: int, share: float) -> None:
    """
    About the documented share; their own strokes keep their position with fewer points, and all other
    digits keep every point.
    """
    paths = _paths(str(label), 1000)

    styled = add_variants(paths, torch.full((1000,), label), _generator())

    changed = (styled != paths).any(2).any(1)
    assert float(changed.float().mean()) == pytest.approx(share, abs=0.05)  # of 1,000 draws
    own = styled[changed][:, :112]
    assert torch.cdist(own, paths[changed]).amin(2).max() < 1e-3


def test_other_digits_get_no_stroke() -> None:
    """
    In a mixed batch only zeros, ones and sevens change.
    """
    labels = torch.arange(10).repeat(40)
    paths = torch.cat([_paths(str(int(label)), 1) for label in labels])

    styled = add_variants(paths, labels, _generator())

    changed = (styled != paths).any(2).any(1)
    assert set(labels[changed].tolist()) == {0, 1, 7}
    assert torch.equal(paths[0], _paths("0", 1)[0])  # and nothing is changed in place


def _added(label: str) -> Tensor:
    """Return the points that a variant adds to a digit, (changed, 32, 2)."""
    paths = _paths(label, 200)
    styled = add_variants(paths, torch.full((200,), int(label)), _generator())
    return styled[(styled != paths).any(2).any(1)][:, 112:]


def test_a_slash_runs_from_lower_left_to_upper_right() -> None:
    """
    Straight through the middle of the zero.
    """
    slash = _added("0")

    assert (slash[:, 0, 0] < slash[:, -1, 0]).all()
    assert (slash[:, 0, 1] > slash[:, -1, 1]).all()  # y points downwards
    assert slash.mean(1).abs().max() < 0.25
    torch.testing.assert_close(slash[:, 8], slash[:, 0].lerp(slash[:, -1], 8 / 31))


def test_a_bar_crosses_the_stem_of_the_seven() -> None:
    """
    Nearly horizontal at about half the height, with ink of the seven between its ends.
    """
    stem = _paths("7", 1)[0]

    for bar in _added("7"):
        begin, end = bar[0], bar[-1]
        assert 0.2 < end[0] - begin[0] < 0.7
        assert abs(end[1] - begin[1]) < 0.25
        level = (begin[1] + end[1]) / 2
        assert -0.2 < level < 0.25
        crossed = stem[(stem[:, 1] - level).abs() < 0.02][:, 0].mean()
        assert begin[0] < crossed < end[0]


def test_a_flag_begins_at_the_top_of_the_one() -> None:
    """
    It falls to the left; about one in four has a foot at the bottom.
    """
    one = _paths("1", 1)[0]
    top, bottom = one[one[:, 1].argmin()], one[one[:, 1].argmax()]

    flags = _added("1")

    torch.testing.assert_close(flags[:, 0], top.expand(len(flags), 2))
    has_foot = (flags[:, 16:, 1] - bottom[1]).abs().amax(1) < 1e-5
    assert 0.1 < has_foot.float().mean() < 0.45  # of some 70 draws
    tips = flags[~has_foot][:, -1]
    assert (tips[:, 0] < top[0]).all()
    assert (tips[:, 1] > top[1]).all()
    feet = flags[has_foot][:, 16:]
    assert (feet[:, 0, 0] < bottom[0]).all()
    assert (feet[:, -1, 0] > bottom[0]).all()


def test_some_digits_are_narrow_but_no_ones() -> None:
    """
    About the documented share; heights stay.
    """
    paths, ones = _paths("3", 1000), _paths("1", 200)

    varied = vary_shape(paths, torch.full((1000,), 3), _generator())

    changed = (varied != paths).any(2).any(1)
    assert float(changed.float().mean()) == pytest.approx(0.12, abs=0.04)
    assert torch.equal(varied[..., 1], paths[..., 1])
    width = varied[changed][..., 0].abs().amax(1) / paths[changed][..., 0].abs().amax(1)
    assert 0.35 <= width.min() <= width.max() <= 0.8
    assert torch.equal(vary_shape(ones, torch.ones(200, dtype=torch.int64), _generator()), ones)


def test_some_eights_lose_their_ends() -> None:
    """
    Their first and last points move along the path; the middle stays.
    """
    paths = _paths("8", 1000)

    varied = vary_shape(paths, torch.full((1000,), 8), _generator())

    same_height = (varied[..., 1] != paths[..., 1]).any(1)
    assert float(same_height.float().mean()) == pytest.approx(0.12, abs=0.04)
    assert torch.equal(varied[:, 12:-12, 1], paths[:, 12:-12, 1])
    opened = varied[same_height]
    assert (opened[:, 0] == opened[:, 1]).all()
    assert (opened[:, -1] == opened[:, -2]).all()


@pytest.mark.parametrize(("may_stack", "axis"), [(False, 0), (True, 1)])
def test_joined_drawings_do_not_overlap(may_stack: bool, axis: int) -> None:
    """
    Side by side with a gap; where allowed some are stacked. The first half of the points are the first's.
    """
    first, second = _paths("5", 300), _paths("2", 300)

    joined = join(first, second, torch.full((300,), may_stack), _generator())

    assert joined.shape == first.shape
    assert torch.equal(joined[:, : POINTS // 2], first[:, ::2])
    own, other = joined[:, : POINTS // 2], joined[:, POINTS // 2 :]
    gaps = other.amin(1) - own.amax(1)  # (300, 2)
    stacked = gaps[:, 0] < 0.09
    assert float(stacked.float().mean()) == pytest.approx(may_stack / 3, abs=0.08)
    apart = gaps[stacked if axis else ~stacked][:, axis]
    assert 0.09 < apart.min() <= apart.max() < 0.71
