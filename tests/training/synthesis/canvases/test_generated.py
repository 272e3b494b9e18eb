import numpy as np
import pytest
from PIL import Image

from tests.digits import DIGITS, arrays
from training.synthesis.canvases.generated import KINDS, MAX_SIDE, MIN_SIDE, Kind, render

SEVEN = arrays(DIGITS["7"][0])

each_kind = pytest.mark.parametrize("kind", KINDS)


def pages(kind: Kind, count: int = 40, seed: int = 1) -> list[Image.Image]:
    generator = np.random.default_rng(seed)
    return [render(SEVEN, generator, kind) for _ in range(count)]


@each_kind
def test_a_canvas_has_sides_within_the_range(kind: Kind) -> None:
    """
    Greyscale, 200 to 1,000 pixels per side, most of them square.
    """
    found = pages(kind)

    assert all(
        page.mode == "L" and min(page.size) >= MIN_SIDE and max(page.size) <= MAX_SIDE for page in found
    )
    assert 5 < sum(page.width == page.height for page in found) < 40


@each_kind
def test_the_same_seed_draws_the_same_canvas(kind: Kind) -> None:
    """
    And another seed another one.
    """
    first, again, other = (pages(kind, 3, seed) for seed in (5, 5, 6))

    assert [page.tobytes() for page in first] == [page.tobytes() for page in again]
    assert [page.tobytes() for page in first] != [page.tobytes() for page in other]


@each_kind
def test_ink_is_dark_on_light_or_light_on_dark(kind: Kind) -> None:
    """
    Both are frequent; the drawing covers less than the background, so the median is background.
    """
    dark = sum(bool(np.median(np.asarray(page)) > 127) for page in pages(kind))

    assert 10 < dark < 35


def test_a_clean_canvas_shows_the_whole_drawing() -> None:
    """
    The outermost pixels are background on all four sides, and the drawing's size is in its range.
    """
    for page in pages("clean"):
        grey = np.asarray(page).astype(int)
        frame = np.concatenate((grey[0], grey[-1], grey[:, 0], grey[:, -1]))
        ink = np.argwhere(np.abs(grey - grey[0, 0]) > 60)

        assert np.ptp(frame) == 0
        assert 0.2 < np.ptp(ink, axis=0).max() / min(page.size) < 0.95


@each_kind
@pytest.mark.parametrize("points", [[[5.0, 5.0]], [[5.0, 5.0], [5.0, 5.0]], [[0.0, 3.0], [9.0, 3.0]]])
def test_dots_and_flat_lines_are_drawn_too(kind: Kind, points: list[list[float]]) -> None:
    """
    A drawing without extent in one direction, or in both, leaves ink.
    """
    generator = np.random.default_rng(3)

    for _ in range(8):
        grey = np.asarray(render([np.array(points)], generator, kind)).astype(int)
        assert np.ptp(grey) > 60


def test_a_scan_is_lit_unevenly_and_noisy() -> None:
    """
    Its border has many greys, a clean canvas's has one.
    """
    scans = [np.asarray(page) for page in pages("scan", 10)]

    assert all(len(np.unique(np.concatenate((scan[0], scan[-1])))) > 5 for scan in scans)
