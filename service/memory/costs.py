"""Memory cost of requests: upper bounds in bytes, to be acquired from the budget.

A body takes more memory than its size while it is received, joined, parsed and decoded: `BodyCost`, by
content type. Its content is counted once it is known: the pixels of an image file (`picture_cost`), the
images to predict (`image_cost`), the elements of a gRPC message (`elements_cost`).

The constants were measured with `tests/security/measure_costs.py`, which sends the most expensive known
bodies to a separate process and reads its peak memory; docs/how-to/memory.md lists the results.
"""

from dataclasses import dataclass
from functools import lru_cache

JSON = "application/json"
GRPC = "application/grpc"

JSON_FACTOR = 6
"""Bytes per byte of JSON: the body, the parser's copy, and strings with up to four bytes per character.
Documents with more values than this allows are parsed item by item or refused (`max_parsed_bytes`)."""

FACTORS = {
    JSON: JSON_FACTOR,
    "multipart/form-data": 3,  # the body, its parts as slices or decoded, and their headers
    "application/octet-stream": 2,  # while its pieces are joined; images are views of the body
    "application/x-npy": 2,  # the same; or the body and a copy in row-major order, or its pixels
    "application/x-npz": 2,  # the same; it is decompressed to at most the pixels of the allowed images
    "": JSON_FACTOR,  # not stated, so it may be JSON
    "image/png": 2,  # while its pieces are joined
    "image/jpeg": 2,
    "image/webp": 2,
    GRPC: 2,  # the message in gRPC's memory and in Python's
}
"""Memory per byte of a body, from its first byte to the response, by content type."""

DECOMPRESSOR_BYTES = 64 * 2**10
"""Memory for decompressing one body: zlib's window and tables."""

UNCOUNTED_PARSING_BYTES = 4 * 2**20
"""Memory that parsing any JSON document may take. It is not acquired: at most the event loop and the threads
that predict parse at the same time."""

_MAX_PARSED_IMAGE_BYTES = 32 * 2**20
_PARSED_NUMBER_BYTES = 160

_METADATA_FACTOR = 5
"""Copies of EXIF data, colour profiles and the like that Pillow makes; measured: 4.3."""

_REDUCED_SIDE = 2048
"""Longest side, in pixels, of an image that is converted to greyscale without being reduced."""


@lru_cache(256)
def factor(content_type: str) -> int:
    """Return the memory per byte of a body; 2 for an unsupported content type.

    Args:
        content_type: As in `BodyCost.of`.
    """
    return FACTORS.get(content_type.partition(";")[0].strip().lower(), 2)


@dataclass(frozen=True, slots=True)
class BodyCost:
    """Memory that a body takes until its response is sent: received, decompressed, parsed.

    The cost grows with the size, so the difference is acquired for each piece that arrives.

    Attributes:
        factor: Bytes of memory per byte of the body.
        json_bytes: Size of the JSON part if binary data follows; None if the body is uniform.
        fixed: Bytes of memory independent of the size.
    """

    factor: int
    json_bytes: int | None
    fixed: int

    @classmethod
    def of(cls, content_type: str, coding: str = "", json_bytes: int | None = None) -> "BodyCost":
        """Return the cost of bodies of a kind.

        Args:
            content_type: Value of the header Content-Type; `JSON` for endpoints that ignore the header (all
                under `/v2`, and `:predict`).
            coding: Value of the header Content-Encoding; empty or `identity` for none.
            json_bytes: Size of the JSON part if binary data follows (the header
                `Inference-Header-Content-Length`); None if there is none.
        """
        fixed = DECOMPRESSOR_BYTES if coding and coding.strip().lower() != "identity" else 0
        each = factor(content_type)
        return cls(each, json_bytes if each == JSON_FACTOR else None, fixed)

    def __call__(self, size: int) -> int:
        """Return the bytes of memory for a body of `size` bytes after decompression."""
        if self.json_bytes is None:
            return self.factor * size + self.fixed
        parsed = min(max(self.json_bytes, 0), size)
        return JSON_FACTOR * parsed + 2 * (size - parsed) + self.fixed


def body_size_limit(content_type: str, max_body_bytes: int, max_pending_bytes: int) -> int:
    """Return the largest body of a content type: its cost must fit into the whole budget.

    Args:
        content_type: As in `BodyCost.of`.
        max_body_bytes: The setting. It applies to every content type if `max_pending_bytes` has its default,
            eight times as much.
        max_pending_bytes: The setting.
    """
    return min(max_body_bytes, max_pending_bytes // factor(content_type))


def max_parsed_bytes(size: int, numbers: int = 0) -> int:
    """Return the memory that parsing a JSON document at once may take, without its text.

    Args:
        size: Size of the text in bytes.
        numbers: Numbers of one image of the model, if the document may contain one: up to 32 MiB are allowed.
    """
    one_image = min(_PARSED_NUMBER_BYTES * numbers, _MAX_PARSED_IMAGE_BYTES)
    return max(UNCOUNTED_PARSING_BYTES, (JSON_FACTOR - 1) * size, one_image)


def picture_cost(
    kind: str,
    mode: str,
    has_alpha: bool,
    pixels: int,
    decoded: int,
    *,
    scans: int = 1,
    channels: int = 3,
    metadata: int = 0,
    size: int = 0,
    as_photo: bool = False,
) -> int:
    """Return the memory for decoding and preprocessing an image file, from its header.

    Args:
        kind: PNG, JPEG or WEBP.
        mode: Pillow's mode of the decoded image.
        has_alpha: Whether pixels may be transparent.
        pixels: Pixels that the header declares.
        decoded: Pixels after decoding: fewer for a large JPEG.
        scans: Scans of a JPEG; with more than one, all coefficients are kept in memory.
        channels: Channels of a JPEG.
        metadata: Size of the metadata in bytes.
        size: Size of the file in bytes.
        as_photo: Whether it is preprocessed as a photograph instead of a drawing.

    Returns:
        Bytes. Measured with Pillow 13 for 16 million pixels: greyscale PNG 19 MB, RGB 68, RGBA 84; JPEG 5 to
        24, with several scans up to 145; WebP 257; as photographs up to 194.
    """
    per_pixel = {"1": 1, "L": 1, "P": 1, "I;16": 2}.get(mode, 4) + 1
    if as_photo and (has_alpha or mode not in ("L", "RGB", "CMYK", "I;16")):
        per_pixel += 8 if has_alpha else 4  # converted as a whole; to premultiplied colours if there is alpha
    cost = per_pixel * decoded
    if kind == "WEBP":
        cost += 12 * pixels + 2 * size  # two canvases and a frame of 4 bytes per pixel; the file twice
    if kind == "JPEG" and scans > 1:
        cost += 2 * channels * pixels
    small = min(decoded, _REDUCED_SIDE**2)
    greys = 11 if has_alpha else 2 if mode in ("1", "L", "I;16") else 6  # with the RGB they come from
    return cost + greys * small + _METADATA_FACTOR * metadata


def image_cost(
    numbers: int, classes: int, *, seen: bool = False, explained: int = 0, pictures: int = 0, text: int = 0
) -> int:
    """Return the memory per image of a request for preprocessing, prediction and response.

    Args:
        numbers: Numbers of one input image of the model.
        classes: Classes of the model.
        seen: Whether the response contains the input images.
        explained: Units of all layers, if the response contains explanations; otherwise 0.
        pictures: Bytes of pixels of the preprocessing steps in the response.
        text: Bytes of text in the response that the client sent.

    Returns:
        Bytes. A response exists three times while it is encoded: as parts, joined, and as bytes. Measured for
        4,096 images of 28 x 28: 6 MB, 45 MB with `seen`; for 256 explained images 33 MB.
    """
    cost = 2 * numbers + 512 + 160 * classes
    if seen:
        cost += 16 * numbers
    if explained:
        cost += 80 * numbers + 56 * explained
    return cost + 6 * pictures + 3 * text


def elements_cost(elements: int) -> int:
    """Return the memory for the typed elements of a gRPC message after parsing.

    One byte of a packed field may become an element of eight, and the parser's arrays grow by doubling.
    """
    return 12 * elements
