"""Memory that requests take: upper bounds in bytes, to be acquired from the budget.

A body takes more than it weighs: it is received in pieces and joined, parsed, decoded. How much more, by
content type, is `BodyCost`. What it holds takes memory that the size of the body says little of, and is
counted when it is known: the pixels of a picture file (`picture_cost`), the images to predict
(`image_cost`), the elements of a message of gRPC (`elements_cost`).

The figures were measured by `tests/security/measure_costs.py`, which sends the worst bodies that we know of
to a process of its own and reads its peak; docs/how-to/memory.md shows them.
"""

from dataclasses import dataclass
from functools import lru_cache

JSON = "application/json"
GRPC = "application/grpc"

JSON_FACTOR = 6
"""Of a body of JSON: itself; the parser's copy of it; its texts, of up to four bytes a character. A document
of more values than that allows is read piece by piece, or refused (`most_parsed_bytes`)."""

FACTORS = {
    JSON: JSON_FACTOR,
    "multipart/form-data": 3,  # the body, its parts cut out or decoded, and their headers
    "application/octet-stream": 2,  # while its pieces are joined; images are views of the body
    "application/x-npy": 2,  # the same; or the body and a copy of it by rows, or its pixels
    "image/png": 2,  # while its pieces are joined
    "image/jpeg": 2,
    "image/webp": 2,
    GRPC: 2,  # the message as gRPC has it, and as Python does
}
"""Bytes that a body of one byte may take from its first byte to its answer, by content type."""

CODED_BYTES = 64 * 2**10
"""What unpacking one body takes while it arrives: zlib's window and tables."""

SHORT_JSON_BYTES = 4 * 2**20
"""What parsing a short JSON document may take, whatever its size: at most as many threads as predict, and the
event loop, parse at the same time, so it is not counted for those that wait."""

_LARGEST_JSON_IMAGE = 32 * 2**20
_JSON_NUMBER = 160

_PICTURE_METADATA = 5
"""Copies of EXIF data, colour profiles and the like that Pillow makes; measured 4.3."""

_SMALL_SIDE = 2048
"""Side in pixels from which on a picture is reduced before its greys are computed."""


@lru_cache(256)
def factor(content_type: str) -> int:
    """Return how many bytes each byte of a body may take; of a type that nobody reads, 2.

    Args:
        content_type: As `BodyCost.of` takes it.
    """
    return FACTORS.get(content_type.partition(";")[0].strip().lower(), 2)


@dataclass(frozen=True, slots=True)
class BodyCost:
    """How much memory a body may take: received, decompressed, parsed and held until its response is sent.

    It grows with the size, so a body that arrives in pieces acquires the difference for each.

    Attributes:
        factor: Bytes for each byte of the body.
        json_bytes: Bytes of JSON at its beginning, where binary contents follow; None if all are alike.
        fixed: Bytes beside, whatever its size.
    """

    factor: int
    json_bytes: int | None
    fixed: int

    @classmethod
    def of(cls, content_type: str, coding: str = "", json_bytes: int | None = None) -> "BodyCost":
        """Return the cost of bodies of one kind.

        Args:
            content_type: What the endpoint will read it as: the header as it came, or `JSON` where the
                endpoint reads JSON whatever the header says (everything under `/v2`, and `:predict`).
            coding: The header Content-Encoding; empty or `identity` for none.
            json_bytes: How many bytes are JSON, if the rest is binary contents (the header
                `Inference-Header-Content-Length`); None if all are.
        """
        fixed = CODED_BYTES if coding and coding.strip().lower() != "identity" else 0
        each = factor(content_type)
        return cls(each, json_bytes if each == JSON_FACTOR else None, fixed)

    def __call__(self, size: int) -> int:
        """Return the bytes of memory that a body of `size` bytes, decompressed, may take."""
        if self.json_bytes is None:
            return self.factor * size + self.fixed
        parsed = min(max(self.json_bytes, 0), size)
        return JSON_FACTOR * parsed + 2 * (size - parsed) + self.fixed


def most_body_bytes(content_type: str, max_body_bytes: int, max_pending_bytes: int) -> int:
    """Return how large a body of a content type may be: what it costs must fit into the budget.

    Args:
        content_type: As `BodyCost.of` takes it.
        max_body_bytes: The setting; with the default of `max_pending_bytes`, eight times as much, it is what
            counts for every content type.
        max_pending_bytes: The setting.
    """
    return min(max_body_bytes, max_pending_bytes // factor(content_type))


def most_parsed_bytes(size: int, numbers: int = 0) -> int:
    """Return how much memory parsing a JSON document as a whole may take, beside its text.

    Args:
        size: Of its text, in bytes.
        numbers: Of one image of the model, if the document may hold one: it may be parsed, up to 32 MiB.
    """
    one_image = min(_JSON_NUMBER * numbers, _LARGEST_JSON_IMAGE)
    return max(SHORT_JSON_BYTES, (JSON_FACTOR - 1) * size, one_image)


def picture_cost(
    kind: str,
    mode: str,
    is_clear: bool,
    pixels: int,
    decoded: int,
    *,
    scans: int = 1,
    channels: int = 3,
    metadata: int = 0,
    size: int = 0,
    as_photo: bool = False,
) -> int:
    """Return how much memory decoding and preparing a picture file may take, known from its header.

    Args:
        kind: PNG, JPEG or WEBP.
        mode: Pillow's, of what it decodes to.
        is_clear: Whether anything may be transparent.
        pixels: That the header declares.
        decoded: Pixels that it is decoded to: of a large JPEG fewer.
        scans: Passes over the picture, of a JPEG; with more than one all its coefficients are kept.
        channels: Of the file, of a JPEG.
        metadata: Bytes of the file that are not of its pixels.
        size: Of the file, in bytes.
        as_photo: Whether it is prepared as a photograph instead of a drawing.

    Returns:
        Bytes. Measured with Pillow 13 for 16 million pixels: a grey PNG 19 MB, in colours 68, with alpha 84,
        a JPEG 5 to 24, one of several scans up to 145, a WebP 257; as photographs up to 194.
    """
    per_pixel = {"1": 1, "L": 1, "P": 1, "I;16": 2}.get(mode, 4) + 1
    if as_photo and (is_clear or mode not in ("L", "RGB", "CMYK", "I;16")):
        per_pixel += 8 if is_clear else 4  # converted as a whole, to premultiplied colours if it has alpha
    cost = per_pixel * decoded
    if kind == "WEBP":
        cost += 12 * pixels + 2 * size  # two canvases and a frame of four bytes a pixel; the file twice
    if kind == "JPEG" and scans > 1:
        cost += 2 * channels * pixels
    small = min(decoded, _SMALL_SIDE**2)
    greys = 11 if is_clear else 2 if mode in ("1", "L", "I;16") else 6  # and the colours they are made of
    return cost + greys * small + _PICTURE_METADATA * metadata


def image_cost(
    numbers: int, classes: int, *, seen: bool = False, explained: int = 0, pictures: int = 0
) -> int:
    """Return how much memory preparing, predicting and answering takes for each image of a request.

    Args:
        numbers: Of one image as the model takes it.
        classes: Of the model: the answer may say something of each.
        seen: Whether the answer repeats them.
        explained: Units of all layers, if the answer explains; 0 if it does not.
        pictures: Bytes of pixels of the steps that the answer shows.

    Returns:
        Bytes. An answer is there three times while it is written: its parts, joined, and as bytes. Measured
        for 4,096 images of 28 x 28: 6 MB, 45 MB with `seen`; for 256 explained ones 33 MB.
    """
    cost = 2 * numbers + 512 + 160 * classes
    if seen:
        cost += 16 * numbers
    if explained:
        cost += 80 * numbers + 56 * explained
    return cost + 6 * pictures


def elements_cost(elements: int) -> int:
    """Return how much memory so many typed elements of a message of gRPC take once it is parsed.

    A byte of a packed field may be an element of eight, and the parser's arrays grow by doubling.
    """
    return 12 * elements
