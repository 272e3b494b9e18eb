"""Preprocessing of own data, as the service preprocesses what it will be sent.

`mnist` for drawings: cropped, fitted and centred as the MNIST images. `resize` for everything else: the
central part of a picture, resized.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.core.drawing import greyscale, mnist, mnist_rule, photo
from service.core.errors import BlankImage
from training.data.own.records import Content, LeftOut, PictureFile, RawPart, Strokes

Preprocessing = Literal["mnist", "resize"]

Progress = Callable[[int, int], None]
"""Called with the number of preprocessed examples and their total."""

MAX_SIDE = 64
"""Larger side of a resized image, in pixels."""

_MIN_DRAWN_SIDE = 20
"""Images with a smaller side are not preprocessed as drawings: they have fewer pixels than the result."""

_SAMPLE = 60
"""Examples that the choice is made on."""

_MIN_PAPER = 0.6
"""Share of the pixels that are background on most drawings: 0.81 on MNIST's images, on average."""

_MAX_STROKE = 0.18
"""Stroke width relative to the larger side of what is drawn: 0.12 on MNIST's images. That of a filled ellipse
twice as long as wide is 0.32."""

_MAX_PIXELS = 2**28
"""Pixels of a picture file; a photograph taken with a telephone has 24 million."""


@dataclass(frozen=True)
class Target:
    """Preprocessing of a data set, and the shape that it makes.

    Attributes:
        preprocessing: As the manifest names it.
        shape: (H, W) or (H, W, 3).
        reason: Why it was chosen, in words.
    """

    preprocessing: Preprocessing
    shape: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Prepared:
    """A part after preprocessing.

    Attributes:
        pixels: (N, *shape) uint8.
        kept: (N,) int64, rows of the examples in the part as it was read; the others were left out.
        left_out: What was left out.
    """

    pixels: NDArray[np.uint8]
    kept: NDArray[np.int64]
    left_out: tuple[LeftOut, ...]


def choose(parts: Sequence[RawPart], asked: Preprocessing | None = None) -> Target:
    """Choose the preprocessing of a data set by looking at some of its examples.

    Args:
        parts: The data set.
        asked: The preprocessing that the user asks for; None to choose.
    """
    content = parts[0].content
    if not isinstance(content, np.ndarray) and isinstance(content[0], tuple):
        return Target("mnist", (mnist.SIDE, mnist.SIDE), "they are pen strokes")
    pictures = _sample(content)
    sizes = {picture.size for picture in pictures}
    is_drawn = _are_drawn(pictures)
    if asked == "mnist" or (asked is None and is_drawn and min(min(sizes)) >= _MIN_DRAWN_SIDE):
        reason = "thin strokes on even paper" if is_drawn else "as asked for"
        return Target("mnist", (mnist.SIDE, mnist.SIDE), reason)
    reason = "they are no drawings" if not is_drawn else "as asked for" if asked else "they are small"
    colours = (3,) if any(map(_is_coloured, pictures)) else ()
    side = max(max(size) for size in sizes)
    if len(sizes) > 1 or side > MAX_SIDE:
        width, height = _proportions(sizes)
        return Target("resize", (height, width, *colours), reason)
    width, height = next(iter(sizes))
    return Target("resize", (height, width, *colours), reason)


def prepare(part: RawPart, target: Target, progress: Progress) -> Prepared:
    """Preprocess the examples of a part; what cannot be preprocessed is left out.

    Args:
        part: The examples as they were read.
        target: The preprocessing.
        progress: Called after each example that takes a while.
    """
    images, kept, left_out = list[NDArray[np.uint8]](), list[int](), list[LeftOut]()
    for row, (content, name) in enumerate(zip(part.content, part.names, strict=True)):
        try:
            images.append(_prepare_one(content, target))
        except BlankImage:
            left_out.append(LeftOut(name, "it should show something drawn; got an even surface"))
        except _Unreadable as error:
            left_out.append(LeftOut(name, str(error)))
        else:
            kept.append(row)
        progress(row + 1, len(part))
    pixels = np.stack(images) if images else np.zeros((0, *target.shape), np.uint8)
    return Prepared(pixels, np.array(kept, np.int64), tuple(left_out))


class _Unreadable(Exception):
    """A picture file cannot be read; the message says why."""


def _prepare_one(content: NDArray[np.uint8] | PictureFile | Strokes, target: Target) -> NDArray[np.uint8]:
    if isinstance(content, tuple):
        return mnist.from_strokes(content)
    if isinstance(content, np.ndarray):
        return _prepare_array(content, target)
    picture = _open(content)
    if target.preprocessing == "resize":
        return photo.prepare(picture, shape=target.shape)
    return _prepare_drawing(np.asarray(greyscale.to_grey(picture)))


def _prepare_array(pixels: NDArray[np.uint8], target: Target) -> NDArray[np.uint8]:
    if target.preprocessing == "mnist":
        if pixels.ndim == 3:
            pixels = np.asarray(greyscale.to_grey(Image.fromarray(pixels)))
        return _prepare_drawing(pixels)
    if pixels.shape == target.shape:
        return pixels
    return photo.prepare(Image.fromarray(pixels), shape=target.shape)


def _prepare_drawing(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Preprocess a grey picture of any size as `prepare=auto` of the service does."""
    if grey.shape != (mnist.SIDE, mnist.SIDE):
        return mnist.from_picture(grey)
    return grey if mnist_rule.is_as_mnist(grey) else mnist_rule.prepare(grey, "Image")


def _open(file: PictureFile) -> Image.Image:
    """Decode a picture file; of an animation, its first frame."""
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as picture:
            if picture.width * picture.height > _MAX_PIXELS:
                size = f"{picture.width:,} x {picture.height:,}"
                raise _Unreadable(f"it should have at most {_MAX_PIXELS:,} pixels; got {size}")
            picture.draft(None, (500, 500))  # a large JPEG is decoded reduced, as the service does
            picture.load()
            return picture.copy() if picture.info.get("transparency") is None else picture.convert("RGBA")
    except _Unreadable:
        raise
    except Exception as error:
        raise _Unreadable("it should be a picture file; got a broken or unknown one") from error


def _sample(content: Content) -> list[Image.Image]:
    """Return some examples, evenly spread over the part, as pictures."""
    rows = np.unique(np.linspace(0, len(content) - 1, _SAMPLE).astype(int))
    pictures = []
    for row in rows:
        example = content[row]
        try:
            pictures.append(Image.fromarray(example) if isinstance(example, np.ndarray) else _open(example))
        except _Unreadable:
            continue
    return pictures or [Image.new("L", (MAX_SIDE, MAX_SIDE))]


def _are_drawn(pictures: Sequence[Image.Image]) -> bool:
    """Return whether most pictures are thin strokes on even paper."""
    found = [_paper_and_stroke(picture) for picture in pictures]
    paper, stroke = np.median(np.array(found), axis=0)
    return bool(paper >= _MIN_PAPER and stroke <= _MAX_STROKE)


def _paper_and_stroke(picture: Image.Image) -> tuple[float, float]:
    """Return the share of paper, and the mean stroke width relative to the larger side of what is drawn."""
    grey = greyscale.to_grey(picture).copy()
    grey.thumbnail((128, 128))
    levels = np.asarray(grey, np.int16)
    edge = np.concatenate((levels[0], levels[-1], levels[:, 0], levels[:, -1]))
    distance = np.abs(levels - np.median(edge))
    drawn = distance > max(48.0, float(distance.max()) / 3)
    if not drawn.any():
        return 1.0, 1.0
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    side = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    padded = np.pad(drawn, 1).astype(np.int8)
    outline = (np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum()) * math.pi / 4
    return 1 - float(drawn.mean()), float(2 * drawn.sum() / outline / side)


def _is_coloured(picture: Image.Image) -> bool:
    if picture.mode in ("1", "L", "LA", "I", "I;16", "F"):
        return False
    channels = np.asarray(picture.convert("RGB").resize((32, 32)), np.int16)
    return bool((np.ptp(channels, axis=2) > 24).mean() > 0.02)


def _proportions(sizes: set[tuple[int, int]]) -> tuple[int, int]:
    """Return width and height of the resized images: a square, or the proportions of pictures of one size."""
    if len(sizes) > 1:
        return MAX_SIDE, MAX_SIDE
    width, height = next(iter(sizes))
    scale = MAX_SIDE / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))
