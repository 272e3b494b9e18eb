"""`service/codecs/pictures/header.py`: what a picture file costs to decode, told from its first bytes."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from service.codecs.pictures import header, image_files
from service.core.errors import RequestError
from tests import digits
from tests.examples import examples
from tests.service.http.bodies import picture

WIDTH, HEIGHT = 61, 47
SEVEN = digits.canvas(digits.DIGITS["7"][0], size=80, pen=8).crop((10, 20, 10 + WIDTH, 20 + HEIGHT))


def orientation() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def remark(text: str, *, is_packed: bool = False) -> PngInfo:
    info = PngInfo()
    info.add_text("Comment", text, zip=is_packed)
    return info


PLAIN: list[tuple[str, str, int, dict[str, Any]]] = [
    ("PNG", "1", 1, {}),
    ("PNG", "L", 1, {}),
    ("PNG", "I;16", 2, {}),
    ("PNG", "P", 4, {}),
    ("PNG", "LA", 4, {}),
    ("PNG", "RGB", 4, {"dpi": (72, 72)}),
    ("PNG", "RGBA", 4, {"pnginfo": remark("drawn by hand")}),
    ("JPEG", "L", 1, {}),
    ("JPEG", "RGB", 4, {"comment": "drawn by hand"}),
    ("JPEG", "CMYK", 4, {"restart_marker_rows": 1}),
    ("WEBP", "RGB", 4, {}),
    ("WEBP", "RGB", 4, {"lossless": True}),
    ("WEBP", "RGBA", 4, {"lossless": True}),
]


@pytest.mark.parametrize(("form", "mode", "pixel", "options"), PLAIN)
def test_a_plain_file_weighs_what_its_pixels_take(
    form: str, mode: str, pixel: int, options: dict[str, Any]
) -> None:
    """
    One byte for grey, two if it has 16 bits, four for everything else.
    """
    file = picture(SEVEN.convert(mode), form, **options)

    assert header.weigh(file) == WIDTH * HEIGHT * pixel


UNUSUAL = {
    "no file": b"",
    "a signature alone": b"\x89PNG\r\n\x1a\n",
    "another format": picture(SEVEN, "GIF"),
    "EXIF in PNG": picture(SEVEN, exif=orientation()),
    "EXIF in JPEG": picture(SEVEN, "JPEG", exif=orientation()),
    "EXIF in WebP": picture(SEVEN, "WEBP", exif=orientation()),
    "colour profile in PNG": picture(SEVEN, icc_profile=bytes(100)),
    "colour profile in JPEG": picture(SEVEN, "JPEG", icc_profile=bytes(100)),
    "packed text": picture(SEVEN, pnginfo=remark("a" * 9, is_packed=True)),
    "long text": picture(SEVEN, pnginfo=remark("a" * 3000)),
    "long comment": picture(SEVEN, "JPEG", comment="a" * 3000),
    "moving PNG": picture(SEVEN, save_all=True, append_images=[SEVEN.rotate(90)]),
    "moving WebP": picture(SEVEN, "WEBP", save_all=True, append_images=[SEVEN.rotate(90)]),
    "many scans": picture(SEVEN, "JPEG", progressive=True),
    "a JPEG without pixels": picture(SEVEN, "JPEG").partition(b"\xff\xda")[0],
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_not_plain_is_unknown(name: str) -> None:
    """
    Metadata that are read entry by entry, what unpacks, what moves, what is passed over several times.
    """
    assert header.weigh(UNUSUAL[name]) is None


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_second_size_is_not_believed() -> None:
    """
    Pillow would take the second of two heads, and of two frames of a JPEG.
    """
    large = chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 0, 0, 0, 0))
    png = picture(SEVEN)
    jpeg = picture(SEVEN, "JPEG")
    start = jpeg.index(b"\xff\xc0")
    frame = jpeg[start : start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big")]

    assert header.weigh(png[:33] + large + png[33:]) is None
    assert header.weigh(large + png) is None
    assert header.weigh(jpeg[:start] + frame + jpeg[start:]) is None


def test_very_many_parts_are_unknown() -> None:
    """
    Each of them takes a reader a few microseconds, and none is longer than twelve bytes.
    """
    png = picture(SEVEN)

    assert header.weigh(png[:33] + chunk(b"IDAT", b"") * 100 + png[33:]) is None


SEEDS = [picture(SEVEN.convert(mode), form, **options) for form, mode, _, options in PLAIN]


@pytest.mark.parametrize("file", SEEDS)
def test_a_file_cut_anywhere_is_weighed_or_unknown(file: bytes) -> None:
    """
    Whatever is missing, nothing is raised.
    """
    whole = header.weigh(file)

    assert {header.weigh(file[:size]) for size in range(min(len(file), 800))} <= {None, whole}


@examples(400)
@given(data=st.data(), seed=st.integers(0, len(SEEDS) - 1))
def test_a_mutated_file_never_weighs_less_than_its_pixels(data: st.DataObject, seed: int) -> None:
    """
    Whatever can be decoded has at most as many pixels as were told.
    """
    body = bytearray(SEEDS[seed])
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, min(700, len(body))))
        body[start : start + data.draw(st.sampled_from([0, 1, 1, 2]))] = data.draw(st.binary(max_size=3))
    weight = header.weigh(bytes(body))
    if weight is None:
        return

    try:
        _, pixels = image_files.read_picture(bytes(body), "Body", 10_000_000)
    except RequestError:
        return
    assert pixels <= weight


def test_the_weight_is_that_of_the_decoded_picture() -> None:
    """
    As Pillow keeps it; a file's own depth says less.
    """
    for form, mode, pixel, options in PLAIN:
        with Image.open(io.BytesIO(picture(SEVEN.convert(mode), form, **options))) as image:
            bands = np.asarray(image.convert("RGB") if image.mode == "P" else image)

        assert bands[0, 0].nbytes <= pixel
