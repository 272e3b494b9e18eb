"""Picture files and forms of them to greys, and pixels to PNG."""

import io
from typing import Any

import numpy as np
import python_multipart
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from python_multipart.exceptions import FormParserError

from service.core.errors import BrokenPicture, MalformedRequest, PayloadTooLarge
from service.http.drawings import Drawing, Limits, check_count, quote

_FORMATS = ("PNG", "JPEG", "WEBP")

Image.MAX_IMAGE_PIXELS = None  # ours is checked instead, before decoding, with an error of ours


def read_form(content_type: str, body: bytes, limits: Limits) -> list[Drawing]:
    """Read `multipart/form-data`: one picture file or more, whatever their fields are called.

    Args:
        content_type: The header as it came, with the boundary.
        body: The whole body.
        limits: How much one request may hold.

    Returns:
        One drawing a file, in order.

    Raises:
        MalformedRequest: It is no form, holds no file or something that is no file.
        BrokenPicture: A file cannot be read.
        PayloadTooLarge: More images or pixels than the limits allow.
    """
    files: list[tuple[str, bytes]] = []

    def on_field(field: Any) -> None:  # noqa: ANN401 - the library leaves its types open
        name = quote(_decoded(field.field_name))
        raise MalformedRequest(f"Part {name}", "a file with a filename", "a text")

    def on_file(file: Any) -> None:  # noqa: ANN401
        check_count(len(files) + 1, limits)
        file.file_object.seek(0)
        files.append((_decoded(file.field_name), file.file_object.read()))

    try:
        headers = {"Content-Type": content_type.encode("latin-1")}
        form = python_multipart.create_form_parser(
            headers, on_field, on_file, config={"MAX_MEMORY_FILE_SIZE": len(body) + 1}
        )
        form.write(body)
        form.finalize()
    except (FormParserError, UnicodeError) as error:
        raise MalformedRequest(
            "Body", "multipart/form-data with a boundary", f"a broken one ({error})"
        ) from error
    if not files:
        raise MalformedRequest("Body", "at least one file", "none")
    drawings = []
    for name, content in files:
        field = f"Part {quote(name)}"
        drawings.append(Drawing(field, picture(content, field, limits)))
    return drawings


def _decoded(name: bytes | None) -> str:
    return (name or b"").decode("utf-8", "replace")


def picture(data: bytes, field: str, limits: Limits) -> NDArray[np.uint8]:
    """Return a picture as greys, (H, W) uint8; what is transparent becomes paper.

    Raises:
        PayloadTooLarge: Its header declares more pixels than the limit; nothing was decoded.
        BrokenPicture: It cannot be read.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            pixels = picture.width * picture.height
            if pixels > limits.picture_pixels:
                raise PayloadTooLarge(
                    field, limits.picture_pixels, "pixels", f"{picture.width} x {picture.height}"
                )
            picture.load()
            return _greys(ImageOps.exif_transpose(picture))
    except PayloadTooLarge:
        raise
    except Exception as error:  # Pillow's readers raise whatever their parsing runs into
        got = "a broken one" if not isinstance(error, UnidentifiedImageError) else "none"
        raise BrokenPicture(field, "a PNG, JPEG or WebP picture", got) from error


def _greys(picture: Image.Image) -> NDArray[np.uint8]:
    if picture.mode.startswith("I"):  # 16 bits a pixel: Pillow would clip instead of scaling
        return (np.asarray(picture).astype(np.uint32) >> 8).astype(np.uint8)
    if not picture.has_transparency_data:
        return np.asarray(picture.convert("L"))
    grey, alpha = (np.asarray(band, np.float32) for band in picture.convert("LA").split())
    if alpha.min() == 255:
        return grey.astype(np.uint8)
    # Paper shines through where nothing is drawn, so it is whatever the ink is not.
    ink_grey = float((grey * alpha).sum() / max(1.0, float(alpha.sum())))
    opacity = alpha / 255
    if ink_grey < 128:
        grey = 255 - grey  # dark ink on clear paper: shown as light ink on black
    return np.rint(grey * opacity).astype(np.uint8)


def write_png(image: NDArray[np.uint8]) -> bytes:
    """Write (H, W, 4) uint8, red, green, blue, alpha, as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(image, "RGBA").save(stream, "PNG")
    return stream.getvalue()
