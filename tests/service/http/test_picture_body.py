"""`service/http/picture_body.py`: picture files and forms to greys, and pixels to PNG."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image, ImageChops

from service.core import ink
from service.core.errors import BrokenPicture, MalformedRequest, PayloadTooLarge, RequestError
from service.http import picture_body
from tests import digits
from tests.examples import examples
from tests.service.http.bodies import LIMITS, check_images_or_refusal, check_sentence, form, picture, read

EXAMPLES = examples(60, HealthCheck.data_too_large)
GREYS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)))

SEVEN = digits.canvas(digits.DIGITS["7"][0], size=60, pen=6)
"""Black on white."""


def greys(data: bytes) -> NDArray[np.uint8]:
    found, _ = picture_body.read_picture(data, "Body", LIMITS.picture_pixels)
    assert found.mode == "L"
    return np.asarray(found)


def refusal(data: bytes, kind: type[RequestError] = BrokenPicture) -> str:
    with pytest.raises(kind) as caught:
        picture_body.read_picture(data, "Part 'a'", LIMITS.picture_pixels)
    assert type(caught.value) is kind
    check_sentence(str(caught.value))
    return str(caught.value)


def png_header(width: int, height: int, colour: int = 0) -> bytes:
    """A PNG that declares a size and holds next to nothing."""

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
def test_grey_pixels_come_back_from_a_file_without_loss(
    pixels: NDArray[np.uint8], mode: str, form: str
) -> None:
    """
    With or without colours, with or without an opaque alpha channel.
    """
    options = {"lossless": True} if form == "WEBP" else {}
    file = picture(Image.fromarray(pixels).convert(mode), form, **options)

    np.testing.assert_array_equal(greys(file), pixels)


@EXAMPLES
@given(pixels=GREYS)
def test_sixteen_bits_a_pixel_are_scaled_to_eight(pixels: NDArray[np.uint8]) -> None:
    """
    The upper eight of them: they are neither cut off at 255 nor are the lower ones taken.
    """
    file = picture(Image.fromarray(pixels.astype(np.uint16) * 256 + (255 - pixels)))

    np.testing.assert_array_equal(greys(file), pixels)


@EXAMPLES
@given(pixels=GREYS)
def test_one_bit_a_pixel_is_black_and_white(pixels: NDArray[np.uint8]) -> None:
    """
    0 and 255, nothing else.
    """
    wanted = np.where(pixels > 127, 255, 0)
    file = picture(Image.fromarray(pixels > 127))

    np.testing.assert_array_equal(greys(file), wanted)


@EXAMPLES
@given(pixels=GREYS)
def test_a_palette_is_looked_up(pixels: NDArray[np.uint8]) -> None:
    """
    A number in the palette is not taken for a grey.
    """
    image = Image.fromarray(pixels).convert("P")
    image.putpalette([255 - i // 3 for i in range(768)])
    file = picture(image)

    np.testing.assert_array_equal(greys(file), 255 - pixels)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_is_read_up_to_its_loss(mode: str) -> None:
    """
    Grey, coloured, and for printers.
    """
    found = greys(picture(SEVEN.convert(mode), "JPEG", quality=95))

    difference = np.abs(found.astype(int) - np.asarray(SEVEN))
    assert difference.mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_photograph_is_turned_as_its_camera_says(orientation: int, form: str) -> None:
    """
    The orientation in the EXIF data is followed, as every viewer follows it.
    """
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


def clear_canvas(ink: int, clear: int, mode: str = "RGBA") -> bytes:
    """A digit in one grey on a transparent canvas whose hidden colour is another."""
    alpha = Image.fromarray(255 - np.asarray(SEVEN))
    hidden = np.where(np.asarray(alpha) > 0, ink, clear).astype(np.uint8)
    image = Image.fromarray(hidden).convert(mode)
    image.putalpha(alpha)
    return picture(image)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("ink", [0, 60, 200, 255])
@pytest.mark.parametrize("clear", [0, 128, 255])
def test_ink_on_a_transparent_canvas_is_seen_whatever_its_colour(ink: int, clear: int, mode: str) -> None:
    """
    Dark or light ink, whatever colour the transparent pixels hide: the same digit as black on white.
    """
    plain = read("image/png", picture(SEVEN))

    found = read("image/png", clear_canvas(ink, clear, mode))

    assert np.abs(found.astype(int) - plain).mean() < 3


def test_a_transparent_colour_of_a_palette_or_a_file_without_alpha_is_paper() -> None:
    """
    PNG's second way of transparency: one colour, or one entry of the palette, is declared clear.
    """
    plain = read("image/png", picture(SEVEN))
    ink = np.asarray(SEVEN) < 128
    palette = Image.fromarray(ink.astype(np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 10, 10, 10])
    files = [
        picture(palette, transparency=0),
        picture(Image.fromarray(np.where(ink, 10, 0).astype(np.uint8)), transparency=0),
        picture(
            Image.fromarray(np.where(ink, 10, 0).astype(np.uint8)).convert("RGB"), transparency=(0, 0, 0)
        ),
    ]

    found = [read("image/png", file) for file in files]

    for image in found:
        assert np.abs(image.astype(int) - plain).mean() < 6


@pytest.mark.parametrize(("form", "share"), [("PNG", 0.5), ("JPEG", 0.1), ("WEBP", 0.5), ("PNG", 0.05)])
def test_a_truncated_file_is_refused(form: str, share: float) -> None:
    """
    Half a picture is not guessed at.
    """
    file = picture(SEVEN.convert("RGB"), form)

    message = refusal(file[: int(len(file) * share)])

    assert message.startswith("Part 'a' should be a PNG, JPEG or WebP picture; got ")


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "ICO", "PPM", "TGA", "PCX", "PDF", "EPS"])
def test_other_formats_are_refused(form: str) -> None:
    """
    Pillow could read most of them; nobody needs their parsers here.
    """
    file = picture(SEVEN, form)

    assert refusal(file) == "Part 'a' should be a PNG, JPEG or WebP picture; got something else."


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
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    """
    Empty bodies, magic numbers alone, and drawings in XML.
    """
    refusal(data)


@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 28), (28, 0), (2**31, 28), (2**32 - 1, 2**32 - 1)])
def test_an_impossible_size_is_refused(width: int, height: int) -> None:
    """
    No width, no height, or more than the format has.
    """
    with pytest.raises((BrokenPicture, PayloadTooLarge)):
        picture_body.read_picture(png_header(width, height), "Body", LIMITS.picture_pixels)


def test_a_picture_that_declares_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    """
    100,000 x 100,000 in a file of a hundred bytes costs nothing.
    """
    file = png_header(100_000, 100_000)

    tracemalloc.start()
    message = refusal(file, PayloadTooLarge)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert message == "Part 'a' should be at most 250,000 pixels; got 100000 x 100000."
    assert peak < 1_000_000


def test_the_limit_of_pixels_is_exact() -> None:
    """
    500 x 500 is taken with a limit of 250,000, one row more is not.
    """
    taken = greys(picture(Image.new("1", (500, 500))))

    refusal(picture(Image.new("1", (500, 501))), PayloadTooLarge)

    assert taken.shape == (500, 500)


def test_the_pixels_of_all_pictures_in_a_request_are_counted_together() -> None:
    """
    Two that are each within the limit are refused if they are not together.
    """
    half = picture(digits.canvas(digits.DIGITS["1"][0], size=350))  # 122,500 of 250,000 pixels

    taken = read(*form(("a", half), ("b", half)))
    with pytest.raises(PayloadTooLarge, match=r"^Part 'c' should be at most "):
        read(*form(("a", half), ("b", half), ("c", half)))

    assert len(taken) == 2


@pytest.mark.parametrize("kind", ["dark on light", "light on dark", "transparent", "jpeg", "16 bits"])
def test_a_large_picture_shows_the_same_digit_as_a_small_one(kind: str) -> None:
    """
    Whatever is done to keep its memory small, the network sees the same.
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

    found, pixels = picture_body.read_picture(picture(large, **options), "Body", 16_000_000)

    prepared = ink.from_picture(found).astype(int)
    assert pixels == 2800 * 2800 // (4 if kind == "jpeg" else 1)
    assert np.abs(prepared - ink.from_picture(np.asarray(small))).mean() < 4


def test_a_photograph_of_24_megapixels_is_read() -> None:
    """
    A JPEG counts as a quarter of its pixels, and is decoded at an eighth of its size; a PNG is not.
    """
    page = Image.new("RGB", (6000, 4000), (235, 230, 220))
    page.paste((40, 40, 60), (0, 0, 900, 4000))  # a table
    seven = digits.canvas(digits.DIGITS["7"][0], 2400, 150)
    page.paste(seven.convert("RGB"), (2400, 900))
    file = picture(page, "JPEG", quality=85)

    found, counted = picture_body.read_picture(file, "Body", 16_000_000)

    assert (found.size, counted) == ((750, 500), 6_000_000)
    prepared = ink.from_picture(found).astype(int)
    assert np.abs(prepared - ink.from_picture(np.asarray(SEVEN))).mean() < 12
    with pytest.raises(PayloadTooLarge):
        picture_body.read_picture(picture(page), "Body", 16_000_000)


def test_a_jpeg_of_several_scans_counts_in_full() -> None:
    """
    All its coefficients are kept in memory.
    """
    file = picture(Image.new("L", (1000, 800), 255), "JPEG", progressive=True)

    with pytest.raises(PayloadTooLarge):
        picture_body.read_picture(file, "Body", 799_999)


SEEDS = {
    **{f"png {mode}": picture(SEVEN.convert(mode)) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")},
    **{f"jpeg {mode}": picture(SEVEN.convert(mode), "JPEG") for mode in ("L", "RGB", "CMYK")},
    **{f"webp {mode}": picture(SEVEN.convert(mode), "WEBP") for mode in ("RGB", "RGBA")},
}


@examples(200, HealthCheck.data_too_large)
@given(data=st.data(), seed=st.sampled_from(sorted(SEEDS)))
def test_a_mutated_picture_gives_an_image_or_a_request_error(data: st.DataObject, seed: str) -> None:
    """
    Bytes of a good file are replaced, cut out and put in, most of them near its head.
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
def test_arbitrary_bytes_are_no_picture(data: bytes) -> None:
    """
    With and without the magic number of a PNG.
    """
    refusal(data)


@EXAMPLES
@example(names=[".py", "0x/tmp"], boundary="0")
@given(
    names=st.lists(
        st.text(st.characters(exclude_characters='"\\\r\n', exclude_categories=["Cs", "Cc"]), max_size=20),
        min_size=1,
        max_size=4,
    ),
    boundary=st.text("abcXYZ0189-", min_size=1, max_size=60),
)
def test_a_form_gives_its_files_in_order_whatever_their_fields_are_called(
    names: list[str], boundary: str
) -> None:
    """
    The same name twice is two files; long names come back cut.
    """
    contents = [f"content {index}\r\n--".encode() for index in range(len(names))]
    content_type, body = form(*zip(names, contents, strict=True), boundary=boundary)

    found = picture_body.read_form(content_type, body, LIMITS)

    assert [drawing.content for drawing in found] == contents
    for drawing, name in zip(found, names, strict=True):
        assert drawing.field.startswith(f"Part {repr(name)[:36]}")
        check_sentence(drawing.field)


def test_a_picture_in_a_form_is_named_by_its_part() -> None:
    """
    So that the caller knows which of several files is broken.
    """
    content_type, body = form(("good", picture(SEVEN)), ("bad", b"no picture"))

    with pytest.raises(BrokenPicture) as caught:
        read(content_type, body)

    assert str(caught.value) == "Part 'bad' should be a PNG, JPEG or WebP picture; got something else."


def test_a_text_in_a_form_is_refused_by_name_and_not_repeated() -> None:
    """
    Only files are taken.
    """
    body = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\nmy secret\r\n--b--\r\n'

    with pytest.raises(MalformedRequest) as caught:
        picture_body.read_form("multipart/form-data; boundary=b", body, LIMITS)

    assert str(caught.value) == "Part 'image' should be a file with a filename; got a text."


def test_more_files_than_the_limit_are_refused() -> None:
    """
    While the form is read, not after it.
    """
    content_type, body = form(*[("image", b"x")] * (LIMITS.images + 1))

    with pytest.raises(PayloadTooLarge) as caught:
        picture_body.read_form(content_type, body, LIMITS)

    assert str(caught.value) == "Batch should be at most 64 images; got 65."


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary="',
        "multipart/form-data; boundary=another",
        "multipart/form-data; charset=utf-8",
        "multipart/form-data; boundary=\xff",
        "multipart/form-data; boundary=" + "b" * 5000,
    ],
)
def test_a_form_with_another_boundary_or_none_is_refused(content_type: str) -> None:
    """
    Without its boundary a form is only bytes.
    """
    _, body = form(("image", picture(SEVEN)))

    with pytest.raises(MalformedRequest) as caught:
        picture_body.read_form(content_type, body, LIMITS)

    check_sentence(str(caught.value))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b--\r\n",
        b"--b\r\n",
        b"--b\r\n\r\n\r\n--b--",
        b"--b\r\n:\r\n\r\nx\r\n--b--",
        b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nthe end is missing',
        b"no form at all",
    ],
)
def test_a_broken_form_is_refused(body: bytes) -> None:
    """
    Missing ends, headers without names, no parts at all.
    """
    with pytest.raises(MalformedRequest) as caught:
        picture_body.read_form("multipart/form-data; boundary=b", body, LIMITS)

    check_sentence(str(caught.value))


@examples(150, HealthCheck.data_too_large)
@given(data=st.data(), encoding=st.sampled_from(["", "base64", "quoted-printable", "binary"]))
@example(data=None, encoding="base64")
def test_a_mutated_form_gives_images_or_a_request_error(data: st.DataObject | None, encoding: str) -> None:
    """
    Bytes of a good form are replaced, cut out and put in.
    """
    content_type, good = form(("a", picture(SEVEN)), ("b", picture(SEVEN)))
    if encoding:
        head = f"Content-Transfer-Encoding: {encoding}\r\nContent-Type".encode()
        good = good.replace(b"Content-Type", head)
    body = bytearray(good)
    for _ in range(data.draw(st.integers(0, 4)) if data else 0):
        assert data is not None
        start = data.draw(st.integers(0, 150))
        end = start + data.draw(st.sampled_from([0, 1, 1, 2, 20]))
        body[start:end] = data.draw(
            st.binary(max_size=5) | st.sampled_from([b"\r\n", b"--", b";", b'"', b"="])
        )

    check_images_or_refusal(lambda: read(content_type, bytes(body)))


@EXAMPLES
@given(pixels=arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(4))))
def test_a_written_png_holds_every_pixel_and_its_transparency(pixels: NDArray[np.uint8]) -> None:
    """
    Read again by Pillow: the same four bytes a pixel.
    """
    file = picture_body.write_png(pixels)

    with Image.open(io.BytesIO(file)) as image:
        assert image.format == "PNG"
        assert image.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_a_jpeg_of_hundreds_of_scans_is_refused() -> None:
    """
    Each scan is a few bytes, and a pass over all pixels.
    """
    whole = picture(Image.new("L", (64, 64)), "JPEG", progressive=True)
    at = whole.rindex(b"\xff\xda")
    bomb = whole[:at] + whole[at:-2] * 200 + whole[-2:]

    with pytest.raises(BrokenPicture, match="at most 20,000 segments and 100 scans; got more"):
        picture_body.read_picture(bomb, "Body", 1_000_000)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_picture_of_very_many_parts_is_refused(form: str) -> None:
    """
    Reading a million empty parts takes seconds.
    """
    whole = picture(Image.new("L", (64, 64)), form)
    empty = b"\x00\x00\x00\x00teXt" + b"\x3b\x5f\x00\x00" if form == "PNG" else b"\xff\xfe\x00\x02"
    at = 33 if form == "PNG" else 2  # after a PNG's first chunk, after a JPEG's first marker
    bomb = whole[:at] + empty * 30_000 + whole[at:]

    with pytest.raises(BrokenPicture, match="at most 20,000 "):
        picture_body.read_picture(bomb, "Body", 1_000_000)
