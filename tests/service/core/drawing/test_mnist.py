import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from PIL import Image

from service.core.drawing import mnist
from service.core.errors import BlankImage
from tests import digits
from tests.digits import Strokes
from tests.examples import examples

Grey = NDArray[np.uint8]

ALL = [(label, way) for label, ways in digits.DIGITS.items() for way in ways]
WAYS = [way for _, way in ALL]
NAMES = [label for label, _ in ALL]

each_digit = pytest.mark.parametrize("strokes", WAYS, ids=NAMES)

FAINT = 64
"""Less than a quarter of full ink: the soft edge of a stroke, which may lie outside the 20 x 20."""

MOST_LARGEST_SIDE, LEAST_LARGEST_SIDE = 21, 17
"""Of what is darker than faint, in pixels: 20, with what rounding and soft edges add or take away."""

MIDDLE = 14.5
"""Where the MNIST images have their centre of mass, on average: in the middle of pixel 14."""

OFF_MIDDLE = 0.75
"""Pixels that the centre of mass may lie off the middle: half of one for whole-pixel moves, and rounding."""

SAME = 0.95
"""Least similarity of two pictures of one drawing: of 4,000 at random, many of them small, it was 0.957;
different digits have at most 0.8."""

ALIKE = 0.90
"""The same where the pen differs: that of strokes has one width, that of a canvas has the person's."""

COORDINATES = st.floats(-1e9, 1e9)
"""What the interface takes; subnormal ones too."""


def picture(strokes: Strokes, size: int = 280, pen: int = 18, dark_on_light: bool = True) -> Grey:
    """Draw strokes as a picture's greys."""
    return np.asarray(digits.canvas(strokes, size, pen, dark_on_light))


def similarity(one: Grey, other: Grey) -> float:
    """Return the cosine of the angle between two images: 1 for the same, 0 for no ink in common."""
    a, b = one.astype(float).ravel(), other.astype(float).ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def extent(image: Grey) -> tuple[int, int]:
    """Return height and width of what is darker than faint."""
    rows, columns = np.nonzero(image >= FAINT)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def centre_of_mass(image: Grey) -> tuple[float, float]:
    """Return (x, y) in pixels from the upper left corner, pixel by pixel."""
    total = float(image.sum(dtype=np.int64))
    y, x = (np.arange(28) + 0.5 for _ in range(2))
    return (
        float((image.sum(axis=0, dtype=np.int64) * x).sum()) / total,
        float((image.sum(axis=1, dtype=np.int64) * y).sum()) / total,
    )


def is_prepared(image: Grey) -> bool:
    """Tell whether an image has the form that every prepared image has."""
    return image.shape == (28, 28) and image.dtype == np.uint8 and int(image.max()) == 255


def prepared_both_ways(strokes: Strokes) -> Iterator[Grey]:
    """Prepare a digit from its strokes, and from a picture of it."""
    yield mnist.from_strokes(digits.arrays(strokes))
    yield mnist.from_picture(picture(strokes))


# --- What the MNIST images have in common


@each_digit
def test_digit_is_fitted_into_twenty_pixels(strokes: Strokes) -> None:
    """
    Its larger side is about 20 pixels, from strokes and from a picture: nothing is cut off.
    """
    for image in prepared_both_ways(strokes):
        height, width = extent(image)

        assert is_prepared(image)
        assert LEAST_LARGEST_SIDE <= max(height, width) <= MOST_LARGEST_SIDE


@each_digit
def test_digit_is_centred_by_its_mass(strokes: Strokes) -> None:
    """
    Where most of the ink is, is the middle; the box round a 7 or a 9 is not.
    """
    for image in prepared_both_ways(strokes):
        assert np.abs(np.array(centre_of_mass(image)) - MIDDLE).max() <= OFF_MIDDLE


@each_digit
def test_sides_keep_their_proportion(strokes: Strokes) -> None:
    """
    A one stays slim and an eight keeps its waist: nothing is stretched.
    """
    points = np.concatenate(digits.arrays(strokes))
    x, y = np.ptp(points, axis=0)

    for image in prepared_both_ways(strokes):
        height, width = extent(image)
        pen = 3  # both sides are wider than the middle of the strokes by about this
        assert (width - pen) / (height - pen) == pytest.approx(x / y, abs=0.2)


def test_drawings_far_from_the_middle_of_their_box_are_not_cut_off() -> None:
    """
    Nearly all ink at one end, and a hair to the other: both ends are still there.
    """
    heap = [[[0.0, y], [6.0, y]] for y in range(0, 40, 2)]
    hair = [[[0.0, 20.0], [100.0, 20.0]]]

    image = mnist.from_strokes(digits.arrays(heap + hair))

    assert extent(image)[1] >= LEAST_LARGEST_SIDE


# --- The same digit, drawn differently


@examples(60)
@given(
    way=st.sampled_from(WAYS),
    scale=st.floats(0.01, 1000),
    left=st.floats(-1000, 1000),
    top=st.floats(-1000, 1000),
)
def test_strokes_give_the_same_image_at_any_place_and_size(
    way: Strokes, scale: float, left: float, top: float
) -> None:
    """
    The unit and the origin of the page's coordinates have no meaning.
    """
    rounding = 12  # grey levels: a length on the edge of a step may be given one print of the pen more
    strokes = digits.arrays(way)

    moved = mnist.from_strokes([stroke * scale + [left, top] for stroke in strokes])

    difference = moved.astype(int) - mnist.from_strokes(strokes).astype(int)
    assert np.abs(difference).max() <= rounding


@examples(40)
@given(
    way=st.sampled_from(WAYS),
    size=st.integers(112, 500),
    left=st.integers(0, 200),
    top=st.integers(0, 200),
    right=st.integers(0, 200),
    bottom=st.integers(0, 200),
    dark_on_light=st.booleans(),
)
def test_pictures_give_nearly_the_same_image_at_any_place_and_size(
    way: Strokes, size: int, left: int, top: int, right: int, bottom: int, dark_on_light: bool
) -> None:
    """
    However large the canvas, wherever on it the digit, and whichever of the two is dark.
    """
    pen = round(size * 18 / 280)
    drawn = picture(way, size, pen, dark_on_light)
    paper = 255 if dark_on_light else 0
    moved = np.pad(drawn, ((top, bottom), (left, right)), constant_values=paper)

    image = mnist.from_picture(moved)

    assert is_prepared(image)
    assert similarity(image, mnist.from_picture(picture(way))) >= SAME


@each_digit
def test_dark_on_light_and_light_on_dark_are_the_same(strokes: Strokes) -> None:
    """
    Chalk and ink give one image: paper becomes 0.
    """
    dark = mnist.from_picture(picture(strokes, dark_on_light=True))
    light = mnist.from_picture(picture(strokes, dark_on_light=False))

    assert similarity(dark, light) >= 0.999
    assert dark[0, 0] == light[0, 0] == 0


@each_digit
def test_grey_pencil_on_grey_paper_is_seen_like_ink(strokes: Strokes) -> None:
    """
    Brightness and contrast of a picture have no meaning.
    """
    drawn = picture(strokes).astype(float)
    grey = (90 + drawn * 80 / 255).astype(np.uint8)

    assert similarity(mnist.from_picture(grey), mnist.from_picture(picture(strokes))) >= SAME


@each_digit
def test_strokes_and_canvas_of_one_digit_are_alike(strokes: Strokes) -> None:
    """
    The page sends strokes and other programs send pictures; the network sees nearly the same.
    """
    from_strokes, from_picture = prepared_both_ways(strokes)

    assert similarity(from_strokes, from_picture) >= ALIKE


def test_every_digit_is_more_like_itself_than_like_another() -> None:
    """
    The measure of likeness can tell digits apart, or the tests above would say nothing.
    """
    pictures = [mnist.from_picture(picture(way)) for way in WAYS]
    drawings = [mnist.from_strokes(digits.arrays(way)) for way in WAYS]

    nearest = [int(np.argmax([similarity(one, other) for other in drawings])) for one in pictures]
    unlike = [
        similarity(one, other)
        for one, label in zip(pictures, NAMES, strict=True)
        for other, other_label in zip(drawings, NAMES, strict=True)
        if label != other_label
    ]

    assert nearest == list(range(len(WAYS)))
    assert max(unlike) < ALIKE


@pytest.mark.parametrize("pen", [6, 12, 24, 34])
@each_digit
def test_width_of_the_pen_matters_little(strokes: Strokes, pen: int) -> None:
    """
    A fine pen and a broad one give images that are still of the same digit.
    """
    usual = mnist.from_picture(picture(strokes))

    image = mnist.from_picture(picture(strokes, pen=pen))

    assert similarity(image, usual) >= 0.8
    assert max(extent(image)) >= LEAST_LARGEST_SIDE - 1


@each_digit
def test_points_on_the_way_change_nothing(strokes: Strokes) -> None:
    """
    A slow hand gives more points of the same line; the drawing is the line.
    """
    arrays = digits.arrays(strokes)
    slow = [
        np.stack([np.interp(np.linspace(0, len(it) - 1, 12 * len(it)), range(len(it)), xy) for xy in it.T], 1)
        for it in arrays
    ]

    assert similarity(mnist.from_strokes(slow), mnist.from_strokes(arrays)) >= SAME


@each_digit
def test_direction_and_order_of_strokes_change_nothing(strokes: Strokes) -> None:
    """
    A left-handed eight is an eight.
    """
    rounding = 12  # grey levels: the pen is set down at other places of the same line
    arrays = digits.arrays(strokes)

    backwards = mnist.from_strokes([stroke[::-1] for stroke in arrays[::-1]])

    assert np.abs(backwards.astype(int) - mnist.from_strokes(arrays)).max() <= rounding


# --- Nothing drawn


@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
@pytest.mark.parametrize("shape", [(1, 1), (28, 28), (1, 300), (300, 1), (400, 300)])
def test_even_picture_is_blank(level: int, shape: tuple[int, int]) -> None:
    """
    Paper of any grey, and nothing on it.
    """
    with pytest.raises(BlankImage):
        mnist.from_picture(np.full(shape, level, np.uint8))


@pytest.mark.parametrize("level", [2, 128, 253])
def test_nearly_even_picture_is_blank(level: int) -> None:
    """
    The grain of a scanner is no drawing.
    """
    grain = np.random.default_rng(1).integers(-1, 2, (200, 200))

    with pytest.raises(BlankImage):
        mnist.from_picture((level + grain).astype(np.uint8))


def test_message_names_what_is_blank() -> None:
    """
    Of several pictures, the caller hears which one.
    """
    with pytest.raises(BlankImage, match=r"^Image 3 should show something drawn"):
        mnist.from_picture(np.zeros((28, 28), np.uint8), "Image 3")
    with pytest.raises(BlankImage, match=r"^Drawing 2 should show something drawn"):
        mnist.from_strokes([], "Drawing 2")


@pytest.mark.parametrize("strokes", [[], [np.zeros((0, 2))], [np.zeros((0, 2))] * 3])
def test_drawing_without_points_is_blank(strokes: list[NDArray[np.float64]]) -> None:
    """
    No strokes, or strokes of no points.
    """
    with pytest.raises(BlankImage):
        mnist.from_strokes(strokes)


# --- Whatever comes


def test_single_point_is_a_dot_in_the_middle() -> None:
    """
    A tap of the pen is something drawn.
    """
    image = mnist.from_strokes([np.array([[123.0, -4.0]])])

    assert is_prepared(image)
    assert np.abs(np.array(centre_of_mass(image)) - MIDDLE).max() <= OFF_MIDDLE


def test_stroke_without_length_is_a_dot() -> None:
    """
    A pen that goes down and up again at one place, however often it is reported.
    """
    point = np.array([[50.0, 50.0]])

    often = mnist.from_strokes([np.repeat(point, 100, axis=0)])

    np.testing.assert_array_equal(often, mnist.from_strokes([point]))


def test_stroke_of_no_points_among_others_is_passed_over() -> None:
    """
    It changes nothing.
    """
    seven = digits.arrays(digits.DIGITS["7"][0])

    image = mnist.from_strokes([np.zeros((0, 2)), *seven, np.zeros((0, 2))])

    np.testing.assert_array_equal(image, mnist.from_strokes(seven))


@examples(200)
@given(
    st.lists(
        npst.arrays(np.float64, st.tuples(st.integers(0, 6), st.just(2)), elements=COORDINATES), max_size=4
    )
)
@example([np.array([[0.0, 0.0], [5e-324, 0.0]])])
@example([np.array([[1.0, 0.0], [1.0, 1e-320]])])
@example([np.array([[1e9, 1e9], [1e9 + 1e-7, 1e9]])])
@example([np.array([[-1e9, 0.0], [1e9, 1e-300]])])
@example([np.array([[0.0, 0.0], [1e-12, 1e9]])])
def test_any_strokes_give_an_image_or_are_blank(strokes: list[NDArray[np.float64]]) -> None:
    """
    Points on top of each other, lines of no length, hairs of any length: never another error.
    """
    if not any(len(stroke) for stroke in strokes):
        with pytest.raises(BlankImage):
            mnist.from_strokes(strokes)
        return

    assert is_prepared(mnist.from_strokes(strokes))


@pytest.mark.parametrize(
    "strokes",
    [
        [[-5e307, 0.0], [5e307, 1.0]],
        [[1.7e308, 1.7e308]],
        [[1.7e308, 0.0], [1.7e308, 1.0]],
        [[0.0, 0.0], [1e-310, 2e-310]],
    ],
)
def test_finite_coordinates_of_any_size_give_an_image(strokes: list[list[float]]) -> None:
    """
    In any unit, as long as their differences are finite.
    """
    assert is_prepared(mnist.from_strokes([np.array(strokes)]))


@examples(200)
@given(
    npst.arrays(
        np.uint8,
        npst.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.sampled_from([0, 255]) | st.integers(0, 255),
    ),
    st.sampled_from([1, 1, 5, 30]),
)
def test_any_picture_gives_an_image_or_is_blank(grey: Grey, scale: int) -> None:
    """
    Of one pixel, one row, one column, or any other size; noise, frames and halves.
    """
    grey = grey.repeat(scale, axis=0).repeat(scale, axis=1)

    try:
        image = mnist.from_picture(grey)
    except BlankImage:
        return
    assert is_prepared(image)


@pytest.mark.parametrize(
    "shape", [(1, 2), (2, 1), (1, 28), (28, 1), (2, 2), (3, 3), (1, 5000), (5000, 1), (2, 9000)]
)
@pytest.mark.parametrize("at", [0.0, 0.5, 1.0])
def test_dot_on_a_picture_of_an_odd_shape_gives_an_image_or_is_blank(
    shape: tuple[int, int], at: float
) -> None:
    """
    A strip of paper with one dark pixel: at its beginning, in its middle, at its end.
    """
    grey = np.full(shape, 255, np.uint8)
    grey.flat[round(at * (grey.size - 1))] = 0

    try:
        image = mnist.from_picture(grey)
    except BlankImage:
        return
    assert is_prepared(image)


@pytest.mark.parametrize("shape", [(100, 3000), (3000, 100), (5, 2000), (2000, 5)])
def test_line_on_a_very_wide_or_tall_picture_is_a_line(shape: tuple[int, int]) -> None:
    """
    Nearly from end to end of the paper: about 20 pixels long, and no thicker than a pen.
    """
    thickest = 5
    grey = np.full(shape, 255, np.uint8)
    inner = [slice(side // 3, side - side // 3) if side == min(shape) else slice(100, -100) for side in shape]
    grey[tuple(inner)] = 0

    image = mnist.from_picture(grey)

    assert is_prepared(image)
    height, width = extent(image)
    assert max(height, width) >= LEAST_LARGEST_SIDE
    assert min(height, width) <= thickest
    assert (width > height) == (shape[1] > shape[0])


def test_picture_is_not_changed() -> None:
    """
    Preparing makes a new image and leaves the given one alone, even where it must not be written to.
    """
    grey = picture(digits.DIGITS["5"][0])
    before = grey.copy()
    grey.setflags(write=False)

    mnist.from_picture(grey)

    np.testing.assert_array_equal(grey, before)


def test_same_drawing_gives_the_same_bytes() -> None:
    """
    Nothing in the preparation is left to chance.
    """
    way = digits.DIGITS["8"][0]

    once, again = (list(prepared_both_ways(way)) for _ in range(2))

    assert [image.tobytes() for image in once] == [image.tobytes() for image in again]


def test_large_drawing_needs_little_memory() -> None:
    """
    Ten thousand points to and fro, the most that a request may send, in fewer than a few hundred MB.
    """
    corners = np.array([[0.0, 0.0], [1.0, 1.0]] * 5_000)
    allowed = 300 * 2**20
    tracemalloc.start()
    try:
        image = mnist.from_strokes([corners])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert is_prepared(image)
    assert peak < allowed


def test_picture_of_a_small_digit_on_a_large_sheet_is_found() -> None:
    """
    A digit of 60 pixels on a sheet of 1500: as if the sheet were cut to size.
    """
    way = digits.DIGITS["3"][0]
    digit = digits.canvas(way, 84, 6)
    sheet = Image.new("L", (1500, 1500), 255)
    sheet.paste(digit, (900, 300))

    image = mnist.from_picture(np.asarray(sheet))

    assert similarity(image, mnist.from_picture(picture(way))) >= ALIKE
