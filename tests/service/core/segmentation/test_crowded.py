"""`service/core/segmentation/crowded.py`: the digit is found on pictures that show more than paper and ink.

Each picture is the least that shows a difficulty. The measure is the likeness to the same digit alone on its
paper: different digits have at most 0.8.
"""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from service.core.drawing import mnist
from service.core.drawing.steps import StepRecorder
from service.core.errors import BlankImage
from service.core.segmentation import crowded
from tests import digits

Grey = NDArray[np.uint8]

SIZE = 400
PAPER, INK = 250, 20
ALIKE = 0.9

EVERY = [(label, way) for label, ways in digits.DIGITS.items() for way in ways]
each_digit = pytest.mark.parametrize("way", [way for _, way in EVERY], ids=[label for label, _ in EVERY])


def drawn(
    way: digits.Strokes, scale: float = 2.0, left: float = 130, top: float = 110, pen: int = 16
) -> Image.Image:
    """Return a digit on a sheet of 400 x 400 pixels; 100 of its units are `scale` times as many pixels."""
    picture = Image.new("L", (SIZE, SIZE), PAPER)
    brush = ImageDraw.Draw(picture)
    for stroke in way:
        points = [(left + x * scale, top + y * scale) for x, y in stroke]
        brush.line(points, fill=INK, width=pen, joint="curve")
        for x, y in points:
            brush.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=INK)
    return picture


def likeness(one: Grey, other: Grey) -> float:
    a, b = one.ravel().astype(float), other.ravel().astype(float)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def brush_of(picture: Image.Image) -> ImageDraw.ImageDraw:
    return ImageDraw.Draw(picture)


def table_on_the_left(picture: Image.Image) -> Image.Image:
    brush_of(picture).rectangle((0, 0, 99, SIZE), fill=60)
    return picture


def thin_table_on_the_right(picture: Image.Image) -> Image.Image:
    brush_of(picture).rectangle((SIZE - 9, 0, SIZE, SIZE), fill=90)
    return picture


def table_below(picture: Image.Image) -> Image.Image:
    brush_of(picture).polygon([(0, 350), (SIZE, 330), (SIZE, SIZE), (0, SIZE)], fill=70)
    return picture


def table_all_round(picture: Image.Image) -> Image.Image:
    outside = Image.new("L", picture.size, 255)
    brush_of(outside).polygon([(50, 60), (360, 40), (375, 350), (35, 365)], fill=0)
    picture.paste(70, mask=outside)
    return picture


def lighter_table(picture: Image.Image) -> Image.Image:
    grey = np.asarray(picture.point([level * 160 // 255 for level in range(256)])).copy()
    grey[:, :70] = 245
    return Image.fromarray(grey)


def shadow(picture: Image.Image) -> Image.Image:
    grey = np.asarray(picture, np.float32).copy()
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    grey[x + 0.4 * y > 330] *= 0.6
    return Image.fromarray(grey.astype(np.uint8))


def printed_box(picture: Image.Image) -> Image.Image:
    brush_of(picture).rectangle((105, 85, 340, 345), outline=90, width=4)
    return picture


def underline(picture: Image.Image) -> Image.Image:
    brush_of(picture).line((120, 345, 350, 340), fill=INK, width=12)
    return picture


def dark_frame(picture: Image.Image) -> Image.Image:
    brush_of(picture).rectangle((0, 0, SIZE - 1, SIZE - 1), outline=30, width=30)
    return picture


def axes(picture: Image.Image) -> Image.Image:
    brush = brush_of(picture)
    brush.line((60, 40, 60, 360, 370, 360), fill=0, width=3)
    for tick in range(60, 350, 40):
        brush.line((50, tick, 60, tick), fill=0, width=3)
        brush.line((tick, 360, tick, 370), fill=0, width=3)
    return picture


def page_edge(picture: Image.Image) -> Image.Image:
    brush_of(picture).line((60, 0, 70, SIZE), fill=120, width=4)
    return picture


def neighbour(picture: Image.Image) -> Image.Image:
    brush_of(picture).arc((-60, 120, 70, 300), -80, 80, fill=INK, width=16)
    return picture


def thumb(picture: Image.Image) -> Image.Image:
    brush_of(picture).ellipse((230, 345, 300, 480), fill=150)
    return picture


KINDS: list[Callable[[Image.Image], Image.Image]] = [
    table_on_the_left,
    thin_table_on_the_right,
    table_below,
    table_all_round,
    lighter_table,
    shadow,
    printed_box,
    underline,
    dark_frame,
    axes,
    page_edge,
    neighbour,
    thumb,
]


@pytest.mark.parametrize("kind", KINDS)
@each_digit
def test_what_lies_beside_the_digit_is_no_ink(
    kind: Callable[[Image.Image], Image.Image], way: digits.Strokes
) -> None:
    """
    The prepared image is the one of the digit alone.
    """
    alone = mnist.from_picture(drawn(way))

    assert likeness(mnist.from_picture(kind(drawn(way))), alone) >= ALIKE


@pytest.mark.parametrize("kind", KINDS)
def test_chalk_is_found_as_ink_is(kind: Callable[[Image.Image], Image.Image]) -> None:
    """
    The same pictures as negatives: light on dark.
    """
    way = digits.DIGITS["3"][0]
    alone = mnist.from_picture(drawn(way))

    negative = Image.fromarray(255 - np.asarray(kind(drawn(way))))

    assert likeness(mnist.from_picture(negative), alone) >= ALIKE


def test_a_seven_beside_a_table_is_no_one() -> None:
    """
    The picture that was answered "1", sure.
    """
    picture = Image.new("L", (SIZE, SIZE), PAPER)
    brush = ImageDraw.Draw(picture)
    brush.line([(170, 100), (320, 100), (220, 310)], fill=20, width=26)
    alone = mnist.from_picture(picture)

    found = mnist.from_picture(table_on_the_left(picture))

    assert likeness(found, alone) >= 0.97


@each_digit
def test_a_stroke_that_does_not_touch_the_others_belongs_to_the_digit(way: digits.Strokes) -> None:
    """
    The bar of a five, beside a table.
    """
    bar: digits.Strokes = [[[36, 14], [74, 14]], *[[[x, y + 8] for x, y in stroke] for stroke in way]]
    alone = mnist.from_picture(drawn(bar))

    found = mnist.from_picture(thin_table_on_the_right(drawn(bar)))

    assert likeness(found, alone) >= ALIKE


def test_a_digit_that_touches_the_edge_is_kept() -> None:
    """
    A stroke along the picture's edge or cut off by it is ink if there is nothing else.
    """
    way = digits.DIGITS["4"][0]
    whole = mnist.from_picture(drawn(way))

    cut = np.asarray(drawn(way))[134:, 178:]

    assert likeness(mnist.from_picture(cut), whole) >= 0.8


def test_a_sheet_on_a_table_without_a_digit_is_blank() -> None:
    """
    Neither the table nor the sheet's outline is one.
    """
    with pytest.raises(BlankImage):
        mnist.from_picture(table_on_the_left(Image.new("L", (SIZE, SIZE), PAPER)))


def test_the_steps_show_the_ink_without_what_was_left_out() -> None:
    """
    The step `ink` is of the whole picture.
    """
    way = digits.DIGITS["7"][0]
    recorder = StepRecorder()

    mnist.from_picture(table_on_the_left(drawn(way)), "Picture", recorder)

    steps = {step.name: step.picture for step in recorder.steps}
    assert steps["ink"][:, :60].max() < 40
    assert steps["ink"].max() > 200


@pytest.mark.parametrize("shape", [(112, 112), (60, 112), (112, 57), (20, 112)])
@pytest.mark.parametrize("seed", range(4))
def test_noise_is_segmented_or_refused(shape: tuple[int, int], seed: int) -> None:
    """
    Whatever the pixels: arrays of the right shape, and a box inside the picture.
    """
    rng = np.random.default_rng(seed)
    grey = rng.integers(0, 256, shape, np.uint8) if seed else np.full(shape, 90, np.uint8)

    found = crowded.segment(grey)

    if found is not None:
        left, top, right, bottom = found.box
        assert found.background.shape == found.keep.shape == shape
        assert 0 <= left < right <= shape[1]
        assert 0 <= top < bottom <= shape[0]


@pytest.mark.parametrize("seed", range(40))
def test_shapes_of_any_kind_give_an_image_or_are_blank(seed: int) -> None:
    """
    Rectangles, rings and polygons that overlap each other and the picture's edges.
    """
    rng = np.random.default_rng(seed)
    width, height = (int(side) for side in rng.integers(56, 300, 2))
    picture = Image.new("L", (width, height), int(rng.integers(0, 256)))
    brush = ImageDraw.Draw(picture)
    for kind in rng.integers(0, 3, 5):
        x0, x1 = sorted(rng.integers(-20, width + 20, 2).tolist())
        y0, y1 = sorted(rng.integers(-20, height + 20, 2).tolist())
        level = int(rng.integers(0, 256))
        if kind == 0:
            brush.rectangle((x0, y0, x1, y1), fill=level)
        elif kind == 1:
            brush.ellipse((x0, y0, x1, y1), outline=level, width=int(rng.integers(1, 20)))
        else:
            brush.polygon([(x0, y0), (x1, y0), (x0, y1), (x1, y1)], fill=level)

    try:
        found = mnist.from_picture(picture)
    except BlankImage:
        return
    assert found.shape == (28, 28)
    assert found.max() == 255


@pytest.mark.parametrize("kind", [table_on_the_left, table_below, table_all_round, dark_frame])
def test_a_table_on_a_picture_of_28_pixels_is_no_ink(kind: Callable[[Image.Image], Image.Image]) -> None:
    """
    As tutorials scale photographs down.
    """
    way = digits.DIGITS["3"][0]
    small = (kind(drawn(way)).resize((28, 28), Image.Resampling.BOX), drawn(way).resize((28, 28)))

    found, alone = (mnist.from_picture(picture) for picture in small)

    assert likeness(found, alone) >= 0.85
