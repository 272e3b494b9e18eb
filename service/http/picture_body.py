"""Picture files and forms of them to greys or photographs, and pixels to PNG."""

import binascii
import io
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFile, PngImagePlugin, UnidentifiedImageError
from python_multipart.multipart import parse_options_header

from service.core import colours, photo
from service.core.errors import (
    BrokenPicture,
    MalformedRequest,
    PayloadTooLarge,
    RequestError,
    TensorMismatch,
    TooManyBytes,
)
from service.core.trace import Trace
from service.http.drawings import Drawing, Limits, by, check_count, quote
from service.inference import costs
from service.inference.budget import Budget

_FORMATS = ("PNG", "JPEG", "WEBP")

_GREY_MODES = ("1", "L", "I", "I;16", "I;16B", "F")

_JPEG, _JPEG_SCAN = b"\xff\xd8", b"\xff\xda"
_JPEG_MARKERS = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # not the restart markers within a scan

_LONGEST_BOUNDARY = 256
"""Bytes; RFC 2046 allows 70."""

_LONGEST_PADDING = 64
"""Spaces and tabs that may follow a boundary on its line."""

_MOST_HEADERS, _LONGEST_HEADERS = 8, 4096
"""Headers of a part of a form, and bytes of them all; programs send two or three of about a hundred."""

_HEADER_NAME = re.compile(rb"[!#-'*+.^_`|~0-9A-Za-z-]+")

_STEP_BYTES = 2**20
"""Bytes of a form that are searched at once: a millisecond or two, however nearly they are boundaries."""

_WEBP_PIXELS = (b"VP8 ", b"VP8L", b"ALPH", b"ANMF")
"""Kinds of chunks of a WebP that are of its pixels."""

_MOST_PARTS = 20_000
_MOST_SCANS = 100
"""The most scans that libjpeg-turbo's manual advises to accept from strangers."""

_LARGE = 1024
"""Side in pixels above which a picture is reduced: a digit on it is drawn with many more than 20 x 20."""

_DRAFT = 500
"""Smallest side in pixels at which a large JPEG is decoded: most of its cost is saved."""

_JPEG_PIXELS = 4
"""Pixels of a JPEG of one scan that count as one: 24 million are decoded at an eighth of the size in 70 ms
and 2 MB of memory, 16 million of a PNG in 250 ms and 68 MB."""

_BAND_PIXELS = 2**18
"""Pixels that are converted and reduced at once."""

_LONGEST = 20_000
"""Side in pixels above which a picture is refused: each of a million rows costs far more than its pixel."""

PngImagePlugin.MAX_TEXT_MEMORY = 4 * 2**20  # remarks of a PNG, unpacked; 64 MB otherwise

Image.MAX_IMAGE_PIXELS = None  # ours is checked instead, before decoding, with an error of ours


def read_form(content_type: str, body: bytes, limits: Limits) -> list[Drawing]:
    """Read `multipart/form-data`: one picture file or more, whatever their fields are called.

    The body is searched for its boundary by a regular expression, and each part is a slice of it: a parser
    that is called back byte by byte takes half a minute for 16 MB of almost-boundaries.

    Args:
        content_type: The header as it came, with the boundary.
        body: The whole body.
        limits: How much one request may hold.

    Returns:
        One picture file a drawing, in order.

    Raises:
        MalformedRequest: It is no form, holds no file or something that is no file; or a part's headers are
            too long.
        PayloadTooLarge: More images than the limit.
    """
    boundary = parse_options_header(content_type.encode("latin-1", "replace"))[1].get(b"boundary", b"")
    if not 1 <= len(boundary) <= _LONGEST_BOUNDARY:
        raise _no_form(f"a boundary of {len(boundary):,} bytes" if boundary else "no boundary")
    files: list[Drawing] = []
    for headers, where in _parts(body, boundary):
        check_count(len(files) + 1, limits)
        name, content = _file(headers, body, where)
        files.append(Drawing(f"Part {quote(name)}", content))
    if not files:
        raise MalformedRequest("Body", "at least one file", "none")
    return files


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[bytes, slice]]:
    """Yield the headers of each part of a form, and where its content is in the body.

    What stands before the first boundary and after the last one is ignored, as RFC 2046 has it.
    """
    line = rb"--%b(?:(--)|[ \t]{0,%d}\r\n)" % (re.escape(boundary), _LONGEST_PADDING)
    border = re.compile(rb"\r\n" + line)
    longest = len(boundary) + _LONGEST_PADDING + 6
    found = re.compile(line).match(body) or _search(border, body, 0, longest)
    while found is not None and found[1] is None:
        start = found.end()
        end = body.find(b"\r\n\r\n", start, start + _LONGEST_HEADERS)
        if end < 0:
            raise _no_form(f"a part without the end of its headers within {_LONGEST_HEADERS:,} bytes")
        found = _search(border, body, end + 4, longest)
        if found is not None:
            yield body[start:end], slice(end + 4, found.start())
    if found is None:
        raise _no_form("none with this boundary, or half of it")


def _search(pattern: re.Pattern[bytes], body: bytes, start: int, longest: int) -> re.Match[bytes] | None:
    """Search a body step by step, so that other threads run in between.

    Args:
        pattern: What to search for.
        body: Where.
        start: From where on.
        longest: Bytes that a match has at most.
    """
    while start < len(body):
        found = pattern.search(body, start, start + _STEP_BYTES + longest)
        if found is not None:
            return found
        start += _STEP_BYTES
    return None


def _file(headers: bytes, body: bytes, where: slice) -> tuple[str, bytes]:
    """Return the name of a part and the file that it holds."""
    fields: dict[bytes, bytes] = {}
    for line in headers.split(b"\r\n", _MOST_HEADERS)[:_MOST_HEADERS]:
        name, colon, value = line.partition(b":")
        if not colon or not _HEADER_NAME.fullmatch(name):
            raise _no_form("a part with something that is no header")
        fields[name.lower()] = value.strip(b" \t")
    options = parse_options_header(fields.get(b"content-disposition"))[1]
    if b"name" not in options:
        raise _no_form("a part without Content-Disposition and a name in it")
    part = _decoded(options[b"name"])
    if b"filename" not in options:
        raise MalformedRequest(f"Part {quote(part)}", "a file with a filename", "a text")
    coding = fields.get(b"content-transfer-encoding", b"").lower()
    if coding not in (b"base64", b"quoted-printable"):
        return part, body[where]
    with memoryview(body)[where] as content:
        try:
            decode = binascii.a2b_base64 if coding == b"base64" else binascii.a2b_qp
            return part, decode(content)
        except binascii.Error as error:
            raise MalformedRequest(
                f"Part {quote(part)}", "base64, as its headers say", "other text"
            ) from error


def _no_form(got: str) -> MalformedRequest:
    return MalformedRequest("Body", "multipart/form-data with a boundary", got)


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def read_picture(data: bytes, field: str, room: int, budget: Budget | None = None) -> tuple[Image.Image, int]:
    """Decode a PNG, JPEG or WebP file.

    Args:
        data: The whole file.
        field: How the caller knows it, for messages.
        room: How many pixels it may have.
        budget: Where the memory that decoding takes is acquired; None for nowhere.

    Returns:
        A picture of greys (mode L), a large one reduced; what is transparent becomes paper. And how many
        pixels the file has.

    Raises:
        PayloadTooLarge: Its header declares more pixels than there is room for, or a side that is too long,
            or decoding it would take more memory than the whole budget; nothing was decoded.
        TooManyBytes: So much memory is not there now.
        BrokenPicture: It cannot be read.
    """
    with _opened(data, field, room) as picture:
        pixels, channels = picture.width * picture.height, len(picture.getbands())
        counted = _draft(picture, data)
        with _acquired(picture, pixels, channels, data, field, budget, as_photo=False):
            picture.load()
            return _greys(picture), counted


def read_photo(
    data: bytes,
    field: str,
    room: int,
    scaled: bool,
    trace: Trace | None = None,
    budget: Budget | None = None,
) -> tuple[NDArray[np.uint8], int]:
    """Decode and prepare a photograph in a PNG, JPEG or WebP file.

    Args:
        data: The whole file.
        field: How the caller knows it, for messages.
        room: How many pixels it may have.
        scaled: Whether it may have another size than the prepared photograph.
        trace: Where to show the steps, as `photo.prepare` does.
        budget: As `read_picture`.

    Returns:
        As `photo.prepare`; and how many pixels the file has.

    Raises:
        PayloadTooLarge, TooManyBytes, BrokenPicture: As `read_picture`.
        TensorMismatch: It has another size and may not; nothing was decoded.
    """
    with _opened(data, field, room) as picture:
        width, height = picture.size
        if not scaled and (width, height) != (photo.SIDE, photo.SIDE):
            raise TensorMismatch(field, f"{by((photo.SIDE, photo.SIDE))} pixels", by((width, height)))
        channels = len(picture.getbands())
        counted = _draft(picture, data)
        with _acquired(picture, width * height, channels, data, field, budget, as_photo=True):
            return photo.prepare(picture, trace), counted


@contextmanager
def _opened(data: bytes, field: str, room: int) -> Iterator[ImageFile.ImageFile]:
    """Open a picture whose header declares no more pixels than there is room for; decode nothing yet."""
    _check_parts(data, field)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            room *= _JPEG_PIXELS if _is_baseline(picture, data) else 1
            if picture.width * picture.height > room:
                raise PayloadTooLarge(field, room, "pixels", by(picture.size))
            if max(picture.size) > _LONGEST:
                raise PayloadTooLarge(field, _LONGEST, "pixels a side", by(picture.size))
            try:
                yield picture
            except BaseException as error:  # whose traceback would hold the pixels until it is told
                picture.close()
                traceback.clear_frames(error.__traceback__)
                raise
    except (RequestError, TooManyBytes):
        raise
    except Exception as error:  # Pillow's readers raise whatever their parsing runs into
        got = "a broken one" if not isinstance(error, UnidentifiedImageError) else "something else"
        raise BrokenPicture(field, "a PNG, JPEG or WebP picture", got) from error


def _is_baseline(picture: ImageFile.ImageFile, data: bytes) -> bool:
    """Return whether a picture is a JPEG of one scan, which needs little memory if it is decoded reduced."""
    return picture.format == "JPEG" and data.count(_JPEG_SCAN) == 1


def _draft(picture: ImageFile.ImageFile, data: bytes) -> int:
    """Let a large JPEG be decoded at a half, a quarter or an eighth of its size.

    Returns:
        How many pixels the picture counts as.
    """
    pixels = picture.width * picture.height
    picture.draft(None, (_DRAFT, _DRAFT))
    if not _is_baseline(picture, data):
        return pixels
    return max(picture.width * picture.height, pixels // _JPEG_PIXELS)


@contextmanager
def _acquired(
    picture: ImageFile.ImageFile,
    pixels: int,
    channels: int,
    data: bytes,
    field: str,
    budget: Budget | None,
    as_photo: bool,
) -> Iterator[None]:
    """Acquire the memory that decoding an opened picture takes, until the context is left."""
    if budget is None:
        yield
        return
    kind = picture.format or ""
    cost = costs.picture_cost(
        kind,
        picture.mode,
        picture.has_transparency_data,
        pixels,
        picture.width * picture.height,
        scans=data.count(_JPEG_SCAN) if kind == "JPEG" else 1,
        channels=channels,
        metadata=_metadata_bytes(data),
        size=len(data),
        as_photo=as_photo,
    )
    if cost > budget.max_bytes:
        expected = f"bytes of memory to decode as a {kind} of its pixels"
        raise PayloadTooLarge(field, budget.max_bytes, expected, f"{cost:,} for {by(picture.size)}")
    with budget.acquired(cost):
        yield


def _metadata_bytes(data: bytes) -> int:
    """Return how many bytes of a file are not of its pixels: EXIF data, colour profiles, remarks."""
    if data[:2] == _JPEG:
        return max(0, data.find(_JPEG_SCAN))
    is_png = data[1:4] == b"PNG"  # length, kind, content, checksum; WebP's are kind, length, content
    found, at = 0, 8 if is_png else 12
    while at + 8 <= len(data):
        first, second = data[at : at + 4], data[at + 4 : at + 8]
        if is_png:
            size = int.from_bytes(first, "big")
            found += 0 if second == b"IDAT" else size
            at += size + 12
        else:
            size = int.from_bytes(second, "little")
            found += 0 if first in _WEBP_PIXELS else size
            at += size + size % 2 + 8
    return min(found, len(data))


def _check_parts(data: bytes, field: str) -> None:
    """Refuse files of so many small parts that reading them takes seconds, whatever their size."""
    markers = sum(1 for _ in islice(_JPEG_MARKERS.finditer(data), _MOST_PARTS)) if data[:2] == _JPEG else 0
    if markers == _MOST_PARTS or (markers and data.count(_JPEG_SCAN) > _MOST_SCANS):
        expected = f"a JPEG of at most {_MOST_PARTS:,} segments and {_MOST_SCANS} scans"
        raise BrokenPicture(field, expected, "more")
    at, chunks = 8, 0  # after a PNG's signature: length, type, content and checksum of each chunk
    while data[1:4] == b"PNG" and at < len(data):
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        chunks += 1
        if chunks > _MOST_PARTS:
            raise BrokenPicture(field, f"a PNG of at most {_MOST_PARTS:,} chunks", "more")


def _greys(picture: Image.Image) -> Image.Image:
    """Return a decoded picture as greys, a large one reduced, and turn it upright."""
    times = max(1, max(picture.size) // _LARGE)
    if picture.has_transparency_data:
        grey = _on_paper(_reduced(picture, "RGBA", times))
    elif picture.mode in _GREY_MODES:
        grey = _reduced(picture, "L", times)
    else:
        grey = colours.grey(_reduced(picture, "RGB", times))
    if picture.info:  # EXIF data would be there
        grey.info = picture.info
        photo.turn_upright(grey)
    return grey


def _reduced(picture: Image.Image, mode: str, times: int) -> Image.Image:
    """Return a picture converted to a mode and reduced, each pixel the mean of `times` x `times`.

    Band by band: converting and reducing the whole takes up to twice the memory that the picture does.
    """
    if picture.mode == mode and times == 1:
        return picture
    width, height = picture.size
    small = Image.new(mode, (-(-width // times), -(-height // times)))
    rows = max(1, _BAND_PIXELS // (width * times)) * times
    for top in range(0, height, rows):
        band = picture.crop((0, top, width, min(top + rows, height)))
        if band.mode.startswith("I"):  # 16 bits a pixel: Pillow would clip instead of scaling
            band = Image.fromarray((np.asarray(band) >> 8).astype(np.uint8))
        band = band if band.mode == mode else band.convert(mode)
        small.paste(band.reduce(times) if times > 1 else band, (0, top // times))
    return small


def _on_paper(picture: Image.Image) -> Image.Image:
    """Return the greys of a picture with alpha: what is transparent becomes paper."""
    alpha = picture.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return colours.grey(picture)
    grey = picture.convert("L")
    # Paper shines through where nothing is drawn, so it is whatever the ink is not: always shown as light
    # ink on black paper, as the networks see it.
    levels, weights = (np.asarray(band).ravel() for band in (grey, alpha))
    excess = 0.0
    for start in range(0, len(levels), _BAND_PIXELS):
        part = slice(start, start + _BAND_PIXELS)
        excess += float((levels[part].astype(np.float32) - 128) @ weights[part].astype(np.float32))
    if excess < 0:
        grey = ImageChops.invert(grey)
    return ImageChops.multiply(grey, alpha)


def write_png(image: NDArray[np.uint8]) -> bytes:
    """Write uint8 as a PNG file: (H, W) grey, (H, W, 3) red, green, blue, or (H, W, 4) with alpha."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
