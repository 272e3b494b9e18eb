"""Decoder of PNG, JPEG and WebP files, with limits of pixels, chunks and memory."""

import io
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from service.codecs import signatures
from service.codecs.pictures import chunks
from service.core.drawing import greyscale, photo
from service.core.drawing.steps import StepRecorder
from service.core.errors import (
    BrokenPicture,
    PayloadTooLarge,
    RequestError,
    TensorMismatch,
    TooManyBytes,
)
from service.core.wording import shape_text
from service.memory import costs
from service.memory.budget import Budget

_FORMATS = ("PNG", "JPEG", "WEBP")

_MAX_SIDE = 20_000
"""Longest allowed side in pixels: a million rows cost far more than their pixels."""

_DRAFT_SIZE = (500, 500)
"""libjpeg decodes a JPEG at 1/2, 1/4 or 1/8 of its size, the smallest that is not smaller than this."""

_JPEG_PIXELS = 4
"""Pixels of a baseline JPEG that count as one: 24 million are decoded at an eighth of the size in 70 ms and
2 MB of memory, 16 million of a PNG in 250 ms and 68 MB."""

PngImagePlugin.MAX_TEXT_MEMORY = 4 * 2**20  # decompressed PNG comments; Pillow's default is 64 MB

Image.MAX_IMAGE_PIXELS = None  # `_opened` checks the size before decoding, with an error for the client


class GreyPicture(NamedTuple):
    """A decoded image file.

    Attributes:
        image: As `greyscale.to_grey` returns it.
        pixels: The number of pixels that the file counts as.
        reduction: Pixels of the file for one of the image, in one direction; above 1 for large files.
    """

    image: Image.Image
    pixels: int
    reduction: float


def read_grey(data: bytes, field: str, max_pixels: int, budget: Budget | None = None) -> GreyPicture:
    """Decode an image file to greyscale.

    Args:
        data: The whole file.
        field: Name of the file in messages.
        max_pixels: Upper limit of pixels; four of a baseline JPEG count as one.
        budget: Memory budget from which decoding acquires; None acquires nothing.

    Raises:
        PayloadTooLarge: The header declares more pixels than `max_pixels` or a side that is too long, or
            decoding would take more memory than the whole budget; nothing was decoded.
        TooManyBytes: Decoding takes more memory than is free now.
        BrokenPicture: The file cannot be decoded.
    """
    with _opened(data, field, max_pixels) as picture:
        pixels, channels = picture.width * picture.height, len(picture.getbands())
        longest = max(picture.size)
        counted = _draft(picture, data)
        with _acquired(picture, pixels, channels, data, field, budget, as_photo=False):
            picture.load()
            grey = greyscale.to_grey(picture)
            return GreyPicture(grey, counted, longest / max(grey.size))


def read_photo(
    data: bytes,
    field: str,
    max_pixels: int,
    any_size: bool,
    recorder: StepRecorder | None = None,
    budget: Budget | None = None,
    shape: tuple[int, ...] = photo.SHAPE,
) -> tuple[NDArray[np.uint8], int]:
    """Decode an image file and preprocess it as a photograph.

    Args:
        data: The whole file.
        field: Name of the file in messages.
        max_pixels: Upper limit of pixels; four of a baseline JPEG count as one.
        any_size: Whether the image is resized; if not, it must have the size of the network's input.
        recorder: Records the preprocessing steps, as in `photo.prepare`.
        budget: Memory budget from which decoding acquires; None acquires nothing.
        shape: Shape of the result, as `photo.prepare` takes it.

    Returns:
        The image as `photo.prepare` returns it, and the number of pixels that the file counts as.

    Raises:
        PayloadTooLarge, TooManyBytes, BrokenPicture: As `read_grey`.
        TensorMismatch: The image has another size although `any_size` is False; nothing was decoded.
    """
    with _opened(data, field, max_pixels) as picture:
        width, height = picture.size
        if not any_size and (height, width) != shape[:2]:
            raise TensorMismatch(field, f"{shape_text(shape[1::-1])} pixels", shape_text((width, height)))
        channels = len(picture.getbands())
        counted = _draft(picture, data)
        with _acquired(picture, width * height, channels, data, field, budget, as_photo=True):
            return photo.prepare(picture, recorder, shape), counted


@contextmanager
def _opened(data: bytes, field: str, max_pixels: int) -> Iterator[ImageFile.ImageFile]:
    """Open an image file and check its declared size; its pixels are not decoded yet."""
    chunks.check_count(data, field)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            max_pixels *= _JPEG_PIXELS if _is_baseline(picture, data) else 1
            if picture.width * picture.height > max_pixels:
                raise PayloadTooLarge(field, max_pixels, "pixels", shape_text(picture.size))
            if max(picture.size) > _MAX_SIDE:
                raise PayloadTooLarge(field, _MAX_SIDE, "pixels a side", shape_text(picture.size))
            try:
                yield picture
            except BaseException as error:  # its traceback would keep the pixels in memory
                picture.close()
                traceback.clear_frames(error.__traceback__)
                raise
    except (RequestError, TooManyBytes):
        raise
    except Exception as error:  # Pillow's decoders raise exceptions of many types
        got = "a broken one"
        if isinstance(error, UnidentifiedImageError):
            got = _other_format(data)
        raise BrokenPicture(field, "a PNG, JPEG or WebP picture", got) from error


def _other_format(data: bytes) -> str:
    """Return what a file is that is not decoded, for messages."""
    kind = signatures.format_of(data)
    if kind in signatures.PICTURES:
        return "a broken one"
    return "something else" if kind is None else kind


def _is_baseline(picture: ImageFile.ImageFile, data: bytes) -> bool:
    """Return whether an image is a JPEG of one scan, which takes little memory if it is decoded reduced."""
    return picture.format == "JPEG" and chunks.scan_count(data) == 1


def _draft(picture: ImageFile.ImageFile, data: bytes) -> int:
    """Configure a large JPEG to be decoded at a half, a quarter or an eighth of its size.

    Returns:
        The number of pixels that the image counts as.
    """
    pixels = picture.width * picture.height
    picture.draft(None, _DRAFT_SIZE)
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
    """Acquire the memory for decoding an opened image until the context is left."""
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
        scans=chunks.scan_count(data) if kind == "JPEG" else 1,
        channels=channels,
        metadata=chunks.metadata_bytes(data),
        size=len(data),
        as_photo=as_photo,
    )
    if cost > budget.max_bytes:
        expected = f"bytes of memory to decode as a {kind} of its pixels"
        raise PayloadTooLarge(field, budget.max_bytes, expected, f"{cost:,} for {shape_text(picture.size)}")
    with budget.acquired(cost):
        yield
