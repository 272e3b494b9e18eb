"""`service/codecs/pictures/header.py`: decoded size of image files, from their first bytes."""

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


def comment(text: str, *, is_compressed: bool = False) -> PngInfo:
    info = PngInfo()
    info.add_text("Comment", text, zip=is_compressed)
    return info


PLAIN: list[tuple[str, str, int, dict[str, Any]]] = [
    ("PNG", "1", 1, {}),
    ("PNG", "L", 1, {}),
    ("PNG", "I;16", 2, {}),
    ("PNG", "P", 4, {}),
    ("PNG", "LA", 4, {}),
    ("PNG", "RGB", 4, {"dpi": (72, 72)}),
    ("PNG", "RGBA", 4, {"pnginfo": comment("drawn by hand")}),
    ("JPEG", "L", 1, {}),
    ("JPEG", "RGB", 4, {"comment": "drawn by hand"}),
    ("JPEG", "CMYK", 4, {"restart_marker_rows": 1}),
    ("WEBP", "RGB", 4, {}),
    ("WEBP", "RGB", 4, {"lossless": True}),
    ("WEBP", "RGBA", 4, {"lossless": True}),
]


@pytest.mark.parametrize(("form", "mode", "pixel", "options"), PLAIN)
def test_decoded_size_of_plain_files(form: str, mode: str, pixel: int, options: dict[str, Any]) -> None:
    """
    One byte per pixel for grey, two for 16-bit grey, four for all other modes.
    """
    file = picture(SEVEN.convert(mode), form, **options)

    assert header.decoded_bytes(file) == WIDTH * HEIGHT * pixel


UNUSUAL = {
    "no file": b"",
    "a signature alone": b"\x89PNG\r\n\x1a\n",
    "another format": picture(SEVEN, "GIF"),
    "EXIF in PNG": picture(SEVEN, exif=orientation()),
    "EXIF in JPEG": picture(SEVEN, "JPEG", exif=orientation()),
    "EXIF in WebP": picture(SEVEN, "WEBP", exif=orientation()),
    "colour profile in PNG": picture(SEVEN, icc_profile=bytes(100)),
    "colour profile in JPEG": picture(SEVEN, "JPEG", icc_profile=bytes(100)),
    "packed text": picture(SEVEN, pnginfo=comment("a" * 9, is_compressed=True)),
    "long text": picture(SEVEN, pnginfo=comment("a" * 3000)),
    "long comment": picture(SEVEN, "JPEG", comment="a" * 3000),
    "moving PNG": picture(SEVEN, save_all=True, append_images=[SEVEN.rotate(90)]),
    "moving WebP": picture(SEVEN, "WEBP", save_all=True, append_images=[SEVEN.rotate(90)]),
    "many scans": picture(SEVEN, "JPEG", progressive=True),
    "a JPEG without pixels": picture(SEVEN, "JPEG").partition(b"\xff\xda")[0],
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_decoded_size_of_unusual_files_is_unknown(name: str) -> None:
    """
    Metadata parsed entry by entry, compressed text, animations, several scans.
    """
    assert header.decoded_bytes(UNUSUAL[name]) is None


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_files_with_two_headers_are_unknown() -> None:
    """
    Pillow uses the second of two PNG headers or JPEG frames.
    """
    large = chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 0, 0, 0, 0))
    png = picture(SEVEN)
    jpeg = picture(SEVEN, "JPEG")
    start = jpeg.index(b"\xff\xc0")
    frame = jpeg[start : start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big")]

    assert header.decoded_bytes(png[:33] + large + png[33:]) is None
    assert header.decoded_bytes(large + png) is None
    assert header.decoded_bytes(jpeg[:start] + frame + jpeg[start:]) is None


def test_files_with_many_chunks_are_unknown() -> None:
    """
    Each chunk takes 12 bytes, and microseconds of parsing.
    """
    png = picture(SEVEN)

    assert header.decoded_bytes(png[:33] + chunk(b"IDAT", b"") * 100 + png[33:]) is None


SEEDS = [picture(SEVEN.convert(mode), form, **options) for form, mode, _, options in PLAIN]


@pytest.mark.parametrize("file", SEEDS)
def test_truncated_files_raise_nothing(file: bytes) -> None:
    whole = header.decoded_bytes(file)

    assert {header.decoded_bytes(file[:size]) for size in range(min(len(file), 800))} <= {None, whole}


@examples(400)
@given(data=st.data(), seed=st.integers(0, len(SEEDS) - 1))
def test_decoded_size_of_mutated_files_is_never_too_small(data: st.DataObject, seed: int) -> None:
    body = bytearray(SEEDS[seed])
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, min(700, len(body))))
        body[start : start + data.draw(st.sampled_from([0, 1, 1, 2]))] = data.draw(st.binary(max_size=3))
    decoded = header.decoded_bytes(bytes(body))
    if decoded is None:
        return

    try:
        _, pixels, _ = image_files.read_grey(bytes(body), "Body", 10_000_000)
    except RequestError:
        return
    assert pixels <= decoded


def test_decoded_size_is_that_of_pillow() -> None:
    for form, mode, pixel, options in PLAIN:
        with Image.open(io.BytesIO(picture(SEVEN.convert(mode), form, **options))) as image:
            bands = np.asarray(image.convert("RGB") if image.mode == "P" else image)

        assert bands[0, 0].nbytes <= pixel
