"""`service/core/reading/image.py`: candidates of a picture."""

import time

import numpy as np
import pytest
from PIL import Image, ImageDraw

from service.core.reading import image
from service.core.reading.candidates import Lattice, TooManyCandidates
from service.core.segmentation.paper import Blank

MOST = 512


def rings(gap: int, tops: tuple[int, ...] = (20,), size: tuple[int, int] = (200, 140)) -> Image.Image:
    """Two rings side by side in each line, `gap` pixels apart; they touch if it is negative."""
    picture = Image.new("L", size, 255)
    draw = ImageDraw.Draw(picture)
    for top in tops:
        for left in (20, 80 + gap):
            draw.ellipse((left, top, left + 60, top + 100), outline=0, width=10)
    return picture


def boxes_of(lattice: Lattice) -> list[tuple[int, ...]]:
    return [tuple(round(side) for side in one.box) for one in lattice.candidates]


def test_components_are_candidates_with_boxes_in_pixels() -> None:
    """
    Two rings, each whole, and both together.
    """
    lattice = image.cut(rings(20), MOST)

    whole = [one for one in lattice.candidates if one.cut == 0 and one.start == 0]
    assert whole[0].box == pytest.approx((20, 20, 81, 121), abs=3)
    assert whole[0].gap == 0
    assert whole[-1].gap == pytest.approx(0.2, abs=0.03)
    assert whole[-1].joins == 1
    assert lattice.images.shape == (len(lattice.candidates), 28, 28)


@pytest.mark.parametrize("gap", [-2, -6, -10])
def test_rings_that_touch_are_cut_between_them(gap: int) -> None:
    """
    Some candidate is the first ring, another the second.
    """
    found = np.array(boxes_of(image.cut(rings(gap), MOST)))

    for ring in ((20, 20, 81, 121), (80 + gap, 20, 141 + gap, 121)):
        assert (np.abs(found - ring).max(axis=1) <= 8).any()


@pytest.mark.parametrize("dark", [False, True])
def test_lines_are_from_top_to_bottom(dark: bool) -> None:
    """
    Light on dark as well.
    """
    picture = np.asarray(rings(20, tops=(20, 160), size=(200, 300)))

    lattice = image.cut(255 - picture if dark else picture, MOST)

    assert len(lattice.cuts) == 2
    bottoms = [max(one.box[3] for one in lattice.candidates if one.line == line) for line in (0, 1)]
    assert bottoms == pytest.approx([121, 261], abs=3)


def test_neighbouring_cuts_always_have_a_candidate() -> None:
    """
    So that a path exists, even through a scribble.
    """
    generator = np.random.default_rng(1)
    picture = Image.new("L", (400, 120), 255)
    draw = ImageDraw.Draw(picture)
    draw.line(
        [(float(x), float(generator.uniform(10, 110))) for x in np.linspace(10, 390, 60)], fill=0, width=5
    )

    lattice = image.cut(picture, MOST)

    steps = {(one.start, one.end) for one in lattice.candidates}
    assert {(cut, cut + 1) for cut in range(lattice.cuts[0])} <= steps


def test_few_candidates_leave_costly_cuts_out() -> None:
    """
    Rings that do not touch are still apart; fewer than those are an error.
    """
    lattice = image.cut(rings(20), 3)

    assert len(lattice.candidates) == 3
    with pytest.raises(TooManyCandidates):
        image.cut(rings(20), 2)


def test_a_picture_without_ink_is_blank() -> None:
    """
    As for one digit.
    """
    with pytest.raises(Blank):
        image.cut(Image.new("L", (100, 100), 255), MOST)


def noise(share: float, side: int = 600) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Black pixels on white."""
    return np.where(np.random.default_rng(3).random((side, side)) < share, 0, 255).astype(np.uint8)


def specks() -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """A thousand specks of 6 pixels."""
    picture = np.full((1000, 1000), 255, np.uint8)
    for place in np.random.default_rng(2).permutation(10_000)[:1000].tolist():
        y, x = place // 100 * 10, place % 100 * 10
        picture[y : y + 6, x : x + 6] = 0
    return picture


def stroke(side: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """One stroke across a large picture."""
    picture = Image.new("L", (4096, side), 255)
    ImageDraw.Draw(picture).line((0, side // 2, 4095, side // 2), fill=0, width=6)
    return np.asarray(picture)


@pytest.mark.parametrize(
    "picture",
    [
        *(noise(share) for share in (0.02, 0.2, 0.5)),
        noise(0.5, 28),
        specks(),
        stroke(16),
        stroke(4096),
        np.tile(np.array([0, 255], np.uint8), (400, 300)),
        np.kron(np.indices((60, 60)).sum(axis=0) % 2, np.ones((8, 8), np.int64)).astype(np.uint8) * 255,
        np.eye(500, dtype=np.uint8) * 255,
        np.pad(np.zeros((1, 1), np.uint8), 20, constant_values=255),
    ],
    ids=[
        "noise-2",
        "noise-20",
        "noise-50",
        "noise-28",
        "specks",
        "long",
        "large",
        "stripes",
        "board",
        "line",
        "dot",
    ],
)
def test_no_picture_takes_long(picture: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> None:
    """
    Candidates within the limit, or an error; a second of processor time is ten times what a number takes.
    """
    start = time.process_time()
    try:
        lattice = image.cut(picture, MOST)
    except (TooManyCandidates, Blank):
        pass
    else:
        assert len(lattice.candidates) <= MOST
        assert lattice.images.max(axis=(1, 2)).min() == 255
    assert time.process_time() - start < 3
