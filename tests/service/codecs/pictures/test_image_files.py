"""`service/codecs/pictures/image_files.py`: image files to greyscale."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image, ImageChops

from service.codecs.pictures import image_files
from service.core.drawing import mnist
from service.core.errors import BrokenPicture, PayloadTooLarge, RequestError
from tests import digits
from tests.examples import examples
from tests.service.http.bodies import LIMITS, check_sentence, form, picture, read

EXAMPLES = examples(60, HealthCheck.data_too_large)
GREYS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)))

SEVEN = digits.canvas(digits.DIGITS["7"][0], size=60, pen=6)
"""Black on white."""


def greys(data: bytes) -> NDArray[np.uint8]:
    found, _, _ = image_files.read_grey(data, "Body", LIMITS.picture_pixels)
    assert found.mode == "L"
    return np.asarray(found)


def refusal(data: bytes, kind: type[RequestError] = BrokenPicture) -> str:
    with pytest.raises(kind) as caught:
        image_files.read_grey(data, "Part 'a'", LIMITS.picture_pixels)
    assert type(caught.value) is kind
    check_sentence(str(caught.value))
    return str(caught.value)


def png_header(width: int, height: int, colour: int = 0) -> bytes:
    """Return a PNG that declares a size and has almost no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


@EXAMPLES
@given(pixels=GREYS, mode=st.sampled_from(["L", "LA", "RGB", "RGBA"]), form=st.sampled_from(["PNG", "WEBP"]))
def test_grey_pixels_are_decoded_without_loss(pixels: NDArray[np.uint8], mode: str, form: str) -> None:
    """
    With or without colours, and an opaque alpha channel.
    """
    options = {"lossless": True} if form == "WEBP" else {}
    file = picture(Image.fromarray(pixels).convert(mode), form, **options)

    np.testing.assert_array_equal(greys(file), pixels)


@EXAMPLES
@given(pixels=GREYS)
def test_sixteen_bit_pixels_are_scaled_to_eight_bits(pixels: NDArray[np.uint8]) -> None:
    """
    The upper eight bits are used, without clipping.
    """
    file = picture(Image.fromarray(pixels.astype(np.uint16) * 256 + (255 - pixels)))

    np.testing.assert_array_equal(greys(file), pixels)


@EXAMPLES
@given(pixels=GREYS)
def test_one_bit_pixels_become_0_and_255(pixels: NDArray[np.uint8]) -> None:
    expected = np.where(pixels > 127, 255, 0)
    file = picture(Image.fromarray(pixels > 127))

    np.testing.assert_array_equal(greys(file), expected)


@EXAMPLES
@given(pixels=GREYS)
def test_palette_indices_are_converted_to_their_colours(pixels: NDArray[np.uint8]) -> None:
    image = Image.fromarray(pixels).convert("P")
    image.putpalette([255 - i // 3 for i in range(768)])
    file = picture(image)

    np.testing.assert_array_equal(greys(file), 255 - pixels)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_modes_are_decoded(mode: str) -> None:
    """
    Grey, RGB and CMYK, within the loss of the compression.
    """
    found = greys(picture(SEVEN.convert(mode), "JPEG", quality=95))

    difference = np.abs(found.astype(int) - np.asarray(SEVEN))
    assert difference.mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(orientation: int, form: str) -> None:
    upright = np.zeros((24, 40), np.uint8)
    upright[:8, :16] = 255
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: upright.T[::-1],
        7: upright[::-1, ::-1].T,
        8: upright.T[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = picture(
        Image.fromarray(np.ascontiguousarray(turned)).convert("RGB"),
        form,
        exif=exif,
        quality=95,
        lossless=True,
    )

    found = greys(file)

    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).max() < 60


def transparent_canvas(ink: int, hidden: int, mode: str = "RGBA") -> bytes:
    """Return a digit in one grey on a transparent canvas, with another grey under its transparent pixels."""
    alpha = Image.fromarray(255 - np.asarray(SEVEN))
    greys = np.where(np.asarray(alpha) > 0, ink, hidden).astype(np.uint8)
    image = Image.fromarray(greys).convert(mode)
    image.putalpha(alpha)
    return picture(image)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("ink", [0, 60, 200, 255])
@pytest.mark.parametrize("hidden", [0, 128, 255])
def test_transparent_backgrounds_are_recognised_under_any_colour(ink: int, hidden: int, mode: str) -> None:
    """
    Dark or light digit, any colour under the transparent pixels: the result equals that of black on white.
    """
    plain = read("image/png", picture(SEVEN))

    found = read("image/png", transparent_canvas(ink, hidden, mode))

    assert np.abs(found.astype(int) - plain).mean() < 3


def test_colours_declared_transparent_are_background() -> None:
    """
    PNG chunk tRNS: one colour or one palette entry is transparent.
    """
    plain = read("image/png", picture(SEVEN))
    is_ink = np.asarray(SEVEN) < 128
    palette = Image.fromarray(is_ink.astype(np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 10, 10, 10])
    files = [
        picture(palette, transparency=0),
        picture(Image.fromarray(np.where(is_ink, 10, 0).astype(np.uint8)), transparency=0),
        picture(
            Image.fromarray(np.where(is_ink, 10, 0).astype(np.uint8)).convert("RGB"), transparency=(0, 0, 0)
        ),
    ]

    found = [read("image/png", file) for file in files]

    for image in found:
        assert np.abs(image.astype(int) - plain).mean() < 6


@pytest.mark.parametrize(("form", "share"), [("PNG", 0.5), ("JPEG", 0.1), ("WEBP", 0.5), ("PNG", 0.05)])
def test_truncated_files_are_refused(form: str, share: float) -> None:
    file = picture(SEVEN.convert("RGB"), form)

    message = refusal(file[: int(len(file) * share)])

    assert message.startswith("Part 'a' should be a PNG, JPEG or WebP picture; got ")


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("GIF", "a GIF"),
        ("BMP", "a BMP"),
        ("TIFF", "a TIFF"),
        ("PDF", "a PDF"),
        *((form, "something else") for form in ("ICO", "PPM", "TGA", "PCX", "EPS")),
    ],
)
def test_other_formats_are_refused(form: str, name: str) -> None:
    """
    Formats that Pillow could decode are disabled; the message names the frequent ones.
    """
    file = picture(SEVEN, form)

    assert refusal(file) == f"Part 'a' should be a PNG, JPEG or WebP picture; got {name}."


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"RIFF\0\0\0\0WEBP",
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY a 'b'>]><svg/>",
        b"%PDF-1.7",
    ],
)
def test_bytes_that_are_no_image_file_are_refused(data: bytes) -> None:
    """
    Empty bodies, signatures alone, SVG and PDF.
    """
    refusal(data)


@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 28), (28, 0), (2**31, 28), (2**32 - 1, 2**32 - 1)])
def test_invalid_sizes_are_refused(width: int, height: int) -> None:
    """
    Zero, or more than the format allows.
    """
    with pytest.raises((BrokenPicture, PayloadTooLarge)):
        image_files.read_grey(png_header(width, height), "Body", LIMITS.picture_pixels)


def test_image_files_with_too_many_declared_pixels_are_refused_before_decoding() -> None:
    """
    100,000 x 100,000 pixels in a file of 100 bytes.
    """
    file = png_header(100_000, 100_000)

    tracemalloc.start()
    message = refusal(file, PayloadTooLarge)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert message == "Part 'a' should be at most 250,000 pixels; got 100000 x 100000."
    assert peak < 1_000_000


def test_pixel_limit_is_inclusive() -> None:
    """
    500 x 500 is accepted with a limit of 250,000, 500 x 501 is refused.
    """
    taken = greys(picture(Image.new("1", (500, 500))))

    refusal(picture(Image.new("1", (500, 501))), PayloadTooLarge)

    assert taken.shape == (500, 500)


def test_pixels_of_all_image_files_in_a_request_are_limited_together() -> None:
    """
    Files within the limit are refused if their sum exceeds it.
    """
    half = picture(digits.canvas(digits.DIGITS["1"][0], size=350))  # 122,500 of 250,000 pixels

    taken = read(*form(("a", half), ("b", half)))
    with pytest.raises(PayloadTooLarge, match=r"^Part 'c' should be at most "):
        read(*form(("a", half), ("b", half), ("c", half)))

    assert len(taken) == 2


@pytest.mark.parametrize("kind", ["dark on light", "light on dark", "transparent", "jpeg", "16 bits"])
def test_large_images_give_the_same_digit_as_small_ones(kind: str) -> None:
    """
    Reduction before preprocessing does not change the result.
    """
    strokes = digits.DIGITS["2"][0]
    small, large = (
        digits.canvas(strokes, size, pen, dark_on_light=kind != "light on dark")
        for size, pen in ((280, 18), (2800, 180))
    )
    options: dict[str, str] = {"form": "JPEG"} if kind == "jpeg" else {}
    if kind == "transparent":
        alpha = ImageChops.invert(large)
        large = Image.new("RGB", large.size, (255, 255, 255))
        large.paste((0, 0, 0), mask=alpha)
        large.putalpha(alpha)
    if kind == "16 bits":
        large = Image.fromarray(np.asarray(large).astype(np.uint16) * 257)

    found, pixels, _ = image_files.read_grey(picture(large, **options), "Body", 16_000_000)

    prepared = mnist.from_picture(found).astype(int)
    assert pixels == 2800 * 2800 // (4 if kind == "jpeg" else 1)
    assert np.abs(prepared - mnist.from_picture(np.asarray(small))).mean() < 4


def test_a_photograph_of_24_megapixels_is_read() -> None:
    """A JPEG counts as a quarter of its pixels, and is decoded at an eighth of its size; a PNG is not."""
    page = Image.new("RGB", (6000, 4000), (235, 230, 220))
    page.paste((40, 40, 60), (0, 0, 900, 4000))  # a table
    seven = digits.canvas(digits.DIGITS["7"][0], 2400, 150)
    page.paste(seven.convert("RGB"), (2400, 900))
    file = picture(page, "JPEG", quality=85)

    found, counted, reduction = image_files.read_grey(file, "Body", 16_000_000)

    assert (found.size, counted, reduction) == ((750, 500), 6_000_000, 8)
    prepared = mnist.from_picture(found).astype(int)
    assert np.abs(prepared - mnist.from_picture(np.asarray(SEVEN))).mean() < 12
    with pytest.raises(PayloadTooLarge):
        image_files.read_grey(picture(page), "Body", 16_000_000)


def test_a_jpeg_of_several_scans_counts_in_full() -> None:
    """All its coefficients are kept in memory."""
    file = picture(Image.new("L", (1000, 800), 255), "JPEG", progressive=True)

    with pytest.raises(PayloadTooLarge):
        image_files.read_grey(file, "Body", 799_999)


SEEDS = {
    **{f"png {mode}": picture(SEVEN.convert(mode)) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")},
    **{f"jpeg {mode}": picture(SEVEN.convert(mode), "JPEG") for mode in ("L", "RGB", "CMYK")},
    **{f"webp {mode}": picture(SEVEN.convert(mode), "WEBP") for mode in ("RGB", "RGBA")},
}


@examples(200, HealthCheck.data_too_large)
@given(data=st.data(), seed=st.sampled_from(sorted(SEEDS)))
def test_mutated_files_give_an_image_or_a_request_error(data: st.DataObject, seed: str) -> None:
    """
    Bytes of a valid file are replaced, deleted and inserted, mostly near its header.
    """
    body = bytearray(SEEDS[seed])
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, min(80, len(body))) | st.integers(0, len(body)))
        end = start + data.draw(st.sampled_from([0, 1, 1, 2, 5]))
        body[start:end] = data.draw(st.binary(max_size=5))

    try:
        found = read("image/png", bytes(body))
    except RequestError as error:
        check_sentence(str(error))
    else:
        assert found.shape == (1, 28, 28)


@EXAMPLES
@given(data=st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: b"\x89PNG\r\n\x1a\n" + rest))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    """
    With and without the signature of PNG.
    """
    refusal(data)


def test_jpeg_files_with_hundreds_of_scans_are_refused() -> None:
    """
    Each scan is a few bytes but a pass over all pixels.
    """
    whole = picture(Image.new("L", (64, 64)), "JPEG", progressive=True)
    at = whole.rindex(b"\xff\xda")
    bomb = whole[:at] + whole[at:-2] * 200 + whole[-2:]

    with pytest.raises(BrokenPicture, match="at most 20,000 segments and 100 scans; got more"):
        image_files.read_grey(bomb, "Body", 1_000_000)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_files_with_too_many_chunks_are_refused(form: str) -> None:
    """
    Reading a million empty chunks takes seconds.
    """
    whole = picture(Image.new("L", (64, 64)), form)
    empty = b"\x00\x00\x00\x00teXt" + b"\x3b\x5f\x00\x00" if form == "PNG" else b"\xff\xfe\x00\x02"
    at = 33 if form == "PNG" else 2  # after a PNG's first chunk, after a JPEG's first marker
    bomb = whole[:at] + empty * 30_000 + whole[at:]

    with pytest.raises(BrokenPicture, match="at most 20,000 "):
        image_files.read_grey(bomb, "Body", 1_000_000)
