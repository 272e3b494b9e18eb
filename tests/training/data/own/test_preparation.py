"""Own data is preprocessed as the service preprocesses what it is sent."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from service.core.drawing import mnist
from tests.digits import DIGITS, arrays
from training.data.own.preparation import Target, choose, prepare
from training.data.own.records import Content, RawPart

DRAWN = Target("mnist", (28, 28), "")


def _part(content: Content) -> RawPart:
    count = len(content)
    return RawPart(content, ["a"] * count, [f"row {row}" for row in range(count)])


def _ignore(done: int, total: int) -> None:
    pass


def _sheet(side: int = 200) -> Image.Image:
    sheet = Image.new("RGB", (side, side), (240, 235, 220))
    ImageDraw.Draw(sheet).line([(60, 50), (140, 50), (90, 160)], fill=(30, 30, 90), width=10)
    return sheet


def _leaf() -> Image.Image:
    leaf = Image.new("RGB", (160, 120), (250, 250, 240))
    ImageDraw.Draw(leaf).ellipse((20, 30, 140, 90), fill=(40, 140, 60))
    return leaf


def _save(picture: Image.Image, path: Path) -> Path:
    picture.save(path)
    return path


def test_strokes_are_drawings() -> None:
    """
    Prepared by the service's own function.
    """
    strokes = tuple(arrays(DIGITS["3"][0]))
    part = _part([strokes])

    target = choose([part])
    prepared = prepare(part, target, _ignore)

    assert (target.preprocessing, target.shape) == ("mnist", (28, 28))
    np.testing.assert_array_equal(prepared.pixels[0], mnist.from_strokes(list(strokes)))


def test_sheets_with_thin_strokes_are_drawings(tmp_path: Path) -> None:
    """
    They are cropped and centred, whatever their colours.
    """
    part = _part([_save(_sheet(), tmp_path / "sheet.png")])

    assert choose([part]).preprocessing == "mnist"
    assert choose([part], "resize").shape == (64, 64, 3)


def test_everything_else_is_resized(tmp_path: Path) -> None:
    """
    Pictures of one size keep their proportions, others become squares; colour stays.
    """
    alone = _part([_save(_leaf(), tmp_path / "leaf.png")])
    mixed = _part([tmp_path / "leaf.png", _save(_leaf().resize((300, 300)), tmp_path / "large.png")])

    assert choose([alone]).shape == (48, 64, 3)
    assert choose([mixed]).shape == (64, 64, 3)
    assert choose([_part([_save(_leaf().convert("L"), tmp_path / "grey.png")])]).shape == (48, 64)


def test_small_arrays_are_not_enlarged() -> None:
    """
    8 x 8 pixels, and filled shapes such as clothes of 28 x 28, are used as they are.
    """
    small = _part(np.pad(np.full((5, 2, 4), 255, np.uint8), ((0, 0), (3, 3), (2, 2))))
    filled = np.zeros((5, 28, 28), np.uint8)
    filled[:, 6:26, 5:23] = 200

    assert choose([small]).shape == (8, 8)
    assert choose([_part(filled)]).preprocessing == "resize"
    np.testing.assert_array_equal(
        prepare(_part(filled), Target("resize", (28, 28), ""), _ignore).pixels, filled
    )


def test_images_as_mnist_are_used_unchanged() -> None:
    """
    Bit for bit; dark ones on light paper are inverted, as the service does.
    """
    image = mnist.from_strokes(arrays(DIGITS["7"][0]))
    part = _part(np.stack([image, 255 - image]))

    assert choose([part]).preprocessing == "mnist"
    np.testing.assert_array_equal(prepare(part, DRAWN, _ignore).pixels, np.stack([image, image]))


def test_what_cannot_be_prepared_is_left_out(tmp_path: Path) -> None:
    """
    A broken file and an empty sheet are named; the others keep their rows.
    """
    (tmp_path / "broken.png").write_bytes(b"no picture")
    blank = _save(Image.new("L", (90, 90), 255), tmp_path / "blank.png")
    part = _part([tmp_path / "broken.png", _save(_sheet(), tmp_path / "sheet.png"), blank])

    prepared = prepare(part, DRAWN, _ignore)

    assert prepared.kept.tolist() == [1]
    assert [each.name for each in prepared.left_out] == ["row 0", "row 2"]
    assert "a picture file" in prepared.left_out[0].reason
    assert "something drawn" in prepared.left_out[1].reason


@pytest.mark.parametrize("mode", ["RGBA", "P", "1", "LA", "I;16", "CMYK"])
def test_pictures_of_every_mode_are_read(tmp_path: Path, mode: str) -> None:
    """
    Grey, palettes, transparency, 16 bit.
    """
    sheet = _sheet().convert("L").convert("LA" if mode == "LA" else "L")
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(sheet, np.uint16) * 257)
    else:
        picture = (_sheet() if mode in ("RGBA", "P", "CMYK") else sheet).convert(mode)
    path = _save(picture, tmp_path / ("x.tif" if mode == "CMYK" else "x.png"))

    assert choose([_part([path])]).preprocessing == "mnist"
    assert prepare(_part([path]), DRAWN, _ignore).pixels.shape == (1, 28, 28)
    assert prepare(_part([path]), Target("resize", (64, 64, 3), ""), _ignore).pixels.shape == (1, 64, 64, 3)
