"""Preprocessing: converts images, picture files and strokes to the model's input shape.

The manifest names the preprocessing of a model. `mnist` is `core.drawing.mnist`, and `mnist_rule` for images
that already have 28 x 28 pixels; `letters` is the first alone; `resize` is `core.drawing.photo`. With `none`
a model accepts arrays only, without preprocessing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.codecs.drawings import Drawing, Drawings, Limits, Shape
from service.codecs.pictures import header, image_files
from service.core.drawing import mnist, mnist_rule
from service.core.drawing.steps import StepRecorder
from service.core.errors import MalformedRequest, PayloadTooLarge, TensorMismatch
from service.core.inputs import DIGIT_SHAPE, InputPreprocessing, default_preprocessing
from service.core.reading import separation
from service.core.segmentation import cutting
from service.core.segmentation.crowded import Doubt
from service.core.wording import shape_text
from service.memory.budget import Budget

Preprocessing = Literal["auto", "mnist", "none"]

Drawn = list[NDArray[np.float64]] | Image.Image | NDArray[np.uint8]
"""Strokes, or a grey picture."""

DRAWN = ("mnist", "letters")
"""Preprocessing of models that accept strokes, and pictures of something drawn."""

_QUICK_POINTS = 400
"""Points of a drawing that is checked and rendered in well under 1 ms; a digit has about 60."""

_QUICK_BYTES = 320_000
"""Size in bytes of the decoded pixels of a picture that is preprocessed on the event loop: 280 x 280
pixels of RGBA take 313,600. docs/decisions/0028-small-images-on-the-event-loop.md."""

_QUICK_IMAGES = 6
"""Images of 28 x 28 that are preprocessed on the event loop, in about 0.5 ms each."""

_READ_SIDE = 128
"""Pictures that may show several digits are kept with once or twice as many pixels on the larger side."""

_MAX_RECORDED = 16
"""Images in one request whose preprocessing steps are returned. The largest step of 97 photographs of flowers
took 127 KB of the response; that of noise, which no compression shrinks, 314 KB."""


@dataclass
class Findings:
    """What preprocessing found out about the images of a request.

    Attributes:
        changed: Indices of the images of 28 x 28 that `auto` did not use unchanged.
        doubtful: Drawings that may show several digits, by index; pictures are reduced.
        several: Indices of the drawings that do.
        unclear: Why it is not clear which ink of a picture is the digit's, by index.
    """

    changed: list[int] = field(default_factory=list)
    doubtful: dict[int, Drawn] = field(default_factory=dict)
    several: list[int] = field(default_factory=list)
    unclear: dict[int, Doubt] = field(default_factory=dict)

    def add(self, row: int, preprocessed: "_Preprocessed", kind: InputPreprocessing) -> None:
        """Add what was found out about one image."""
        if preprocessed.is_changed:
            self.changed.append(row)
        if preprocessed.drawn is not None and kind == "mnist":
            self.check(row, preprocessed.drawn)
        if preprocessed.doubts:
            self.unclear[row] = preprocessed.doubts[0]

    def check(self, row: int, drawn: Drawn) -> None:
        """Keep a drawing if its parts lie as those of several digits may."""
        if isinstance(drawn, list):
            if separation.may_be_several(drawn):
                self.doubtful[row] = drawn
        elif cutting.may_be_several(drawn):
            picture = drawn if isinstance(drawn, Image.Image) else Image.fromarray(drawn)
            self.doubtful[row] = picture.reduce(max(1, max(picture.size) // _READ_SIDE))


def is_quick(drawings: Drawings, mode: Preprocessing | None, kind: InputPreprocessing = "mnist") -> bool:
    """Return whether preprocessing is quick enough for the event loop: 4 ms at most.

    docs/decisions/0028-small-images-on-the-event-loop.md

    Args:
        drawings: As decoded from the request.
        mode: As in `prepare`.
        kind: Preprocessing of the model.
    """
    if isinstance(drawings, np.ndarray):
        if (
            mode != "auto"
            or kind != "mnist"
            or drawings.shape[1:] != DIGIT_SHAPE
            or len(drawings) <= _QUICK_IMAGES
        ):
            return mode != "mnist"
        return bool(np.count_nonzero(~mnist_rule.are_as_mnist(drawings)) <= _QUICK_IMAGES)
    if len(drawings) > 1:
        return False
    content = drawings[0].content
    if isinstance(content, list):
        return sum(map(len, content)) <= _QUICK_POINTS
    weight = header.decoded_bytes(content) if isinstance(content, bytes) else None
    return weight is not None and weight <= _QUICK_BYTES


def prepare(
    drawings: Drawings,
    shape: Shape,
    limits: Limits,
    mode: Preprocessing | None,
    recorders: list[StepRecorder] | None = None,
    budget: Budget | None = None,
    findings: Findings | None = None,
    kind: InputPreprocessing | None = None,
) -> NDArray[np.uint8]:
    """Convert drawings to the model's input shape.

    Args:
        drawings: Images, picture files or strokes, as decoded from the request.
        shape: Shape of one input image of the model.
        limits: Limits of one request.
        mode: `auto`: use images of 28 x 28 unchanged if they are like MNIST's, and preprocess all others.
            `mnist`: preprocess all images. `none`: use all images unchanged. None: use arrays of the model's
            shape unchanged, and treat everything else as `auto` does.
        recorders: List to which the steps of each image are added; None is quicker.
        budget: Memory budget from which decoding a picture file acquires; None acquires nothing.
        findings: Findings to add to; None if not needed.
        kind: Preprocessing of the model; None for that of a manifest that does not name one.

    Returns:
        (B, *shape) uint8.

    Raises:
        BrokenPicture: A picture file cannot be decoded.
        PayloadTooLarge: The pictures have too many pixels in total, one has a side that is too long, or
            there are too many images for `recorders`.
        TooManyBytes: Decoding a picture takes more memory than is available now.
        BlankImage: An image has no drawn pixels.
        TensorMismatch: Another size or strokes with `none`, or a kind of drawing that cannot be preprocessed
            for the model.
        MalformedRequest: `mnist` for a model of another preprocessing.
    """
    kind = kind or default_preprocessing(shape)
    if mode == "mnist" and kind not in DRAWN:
        expected = f"none, or left out, for a model of {shape_text(shape)} numbers an image"
        expected += f", whose preprocessing is {kind!r}" if shape == DIGIT_SHAPE else ""
        raise MalformedRequest("Query 'prepare'", expected, "'mnist'")
    if recorders is not None and len(drawings) > _MAX_RECORDED:
        raise PayloadTooLarge("Batch with include=steps", _MAX_RECORDED, "images", f"{len(drawings):,}")
    if isinstance(drawings, np.ndarray):
        if recorders is None and mode == "auto" and kind == "mnist":
            prepared = mnist_rule.prepare_batch(drawings)
            if findings is not None:
                findings.changed += prepared.changed
                for row in prepared.changed:
                    findings.check(row, drawings[row])
            return prepared.images
        if recorders is None and mode != "mnist":
            return drawings
        drawings = [Drawing(f"Image {row}", image) for row, image in enumerate(drawings)]
    images = []
    pixels_left = limits.picture_pixels
    for row, drawing in enumerate(drawings):
        recorder = None
        if recorders is not None:
            recorder = StepRecorder()
            recorders.append(recorder)
        preprocessed = _prepare_one(drawing, _Target(shape, kind), pixels_left, mode, recorder, budget)
        pixels_left -= preprocessed.file_pixels
        if findings is not None:
            findings.add(row, preprocessed, kind)
        images.append(preprocessed.image)
    return images[0][None] if len(images) == 1 else np.stack(images)


def check_rows(mode: Preprocessing | None, recorders: list[StepRecorder] | None) -> None:
    """Raise MalformedRequest if rows, which have no preprocessing, should have some."""
    if mode == "mnist":
        raise MalformedRequest("Query 'prepare'", "none, or left out, for a model of rows", "'mnist'")
    if recorders is not None:
        raise MalformedRequest("Query 'include'", "without steps for a model of rows", "'steps'")


class _Target(NamedTuple):
    """Input of a model.

    Attributes:
        shape: Shape of one image.
        kind: Preprocessing of the model.
    """

    shape: Shape
    kind: InputPreprocessing


class _Preprocessed(NamedTuple):
    """One image after preprocessing.

    Attributes:
        image: uint8, in the model's input shape.
        is_changed: Whether it was sent as 28 x 28 pixels and `auto` did not use it unchanged.
        file_pixels: Pixels of the image file towards the limit of a request; 0 if it was not a file.
        drawn: The drawing of which the image was made; None if the image was used unchanged.
        doubts: Why it is not clear which ink is the digit's; empty if it is.
    """

    image: NDArray[np.uint8]
    is_changed: bool = False
    file_pixels: int = 0
    drawn: Drawn | None = None
    doubts: Sequence[Doubt] = ()


def _prepare_one(
    drawing: Drawing,
    target: _Target,
    max_pixels: int,
    mode: Preprocessing | None,
    recorder: StepRecorder | None,
    budget: Budget | None,
) -> _Preprocessed:
    content, field = drawing.content, drawing.field
    if isinstance(content, bytes):
        return _from_file(content, field, target, max_pixels, mode, recorder, budget)
    if isinstance(content, list):
        return _Preprocessed(_from_strokes(content, field, target, mode, recorder), drawn=content)
    if mode == "mnist":
        return _from_picture(content, field, recorder)
    if mode == "auto" and target.kind in DRAWN:
        return _from_grey(content, field, target.kind, recorder)
    return _Preprocessed(_unchanged(content, recorder))


def _from_file(
    data: bytes,
    field: str,
    target: _Target,
    max_pixels: int,
    mode: Preprocessing | None,
    recorder: StepRecorder | None,
    budget: Budget | None,
) -> _Preprocessed:
    """Return an image file in the model's input shape."""
    shape, kind = target
    if kind == "resize":
        image, pixels = image_files.read_photo(
            data, field, max_pixels, mode != "none", recorder, budget, shape
        )
        return _Preprocessed(image, file_pixels=pixels)
    if kind == "none":
        raise TensorMismatch(field, f"{shape_text(shape)} numbers for this model", "a picture file")
    picture, pixels, _ = image_files.read_grey(data, field, max_pixels, budget)
    if picture.size == shape[::-1] and mode != "mnist":
        grey = np.asarray(picture)
        if mode == "none":
            return _Preprocessed(_unchanged(grey, recorder), file_pixels=pixels)
        return _from_grey(grey, field, kind, recorder)._replace(file_pixels=pixels)
    if mode == "none":
        raise TensorMismatch(field, f"{shape_text(shape)} pixels", shape_text(picture.size))
    return _from_picture(picture, field, recorder)._replace(file_pixels=pixels)


def _from_picture(
    picture: Image.Image | NDArray[np.uint8], field: str, recorder: StepRecorder | None
) -> _Preprocessed:
    """Preprocess a picture of any size."""
    doubts: list[Doubt] = []
    image = mnist.from_picture(picture, field, recorder, doubts)
    return _Preprocessed(image, drawn=picture, doubts=doubts)


def _from_grey(
    image: NDArray[np.uint8], field: str, kind: InputPreprocessing, recorder: StepRecorder | None
) -> _Preprocessed:
    """Preprocess a greyscale image of any size as `auto` does."""
    if image.shape != DIGIT_SHAPE:
        return _from_picture(image, field, recorder)
    if kind == "letters" or mnist_rule.is_as_mnist(image):
        return _Preprocessed(_unchanged(image, recorder))
    return _Preprocessed(mnist_rule.prepare(image, field, recorder), is_changed=True, drawn=image)


def _unchanged(image: NDArray[np.uint8], recorder: StepRecorder | None) -> NDArray[np.uint8]:
    """Return an image as it is; as a preprocessing step only if it is a picture."""
    if recorder is not None and (image.ndim == 2 or image.shape[2:] == (3,)):
        recorder.add("taken", image)
    return image


def _from_strokes(
    strokes: list[NDArray[np.float64]],
    field: str,
    target: _Target,
    mode: Preprocessing | None,
    recorder: StepRecorder | None,
) -> NDArray[np.uint8]:
    shape = target.shape
    if target.kind not in DRAWN:
        other = "numbers or a picture file" if target.kind == "resize" else "numbers"
        raise TensorMismatch(field, f"{shape_text(shape)} {other} for this model", "strokes")
    if mode == "none":
        raise TensorMismatch(field, f"{shape_text(shape)} pixels", "strokes")
    return mnist.from_strokes(strokes, field, recorder)
