"""Costly request bodies: the worst case of each content type."""

import base64
import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MB = 2**20

WHOLE = 16 * MB
"""The default of `max_body_bytes`."""

MOST_IMAGES = 4096
"""The default of `max_images`."""

INK, FLOWERS = "/v1/models/ink", "/v1/models/flowers17"
INFER = "/v2/models/ink/infer"


@dataclass(frozen=True)
class Costly:
    """A request with a costly body.

    Attributes:
        name: Name of the body, for messages.
        path: Where it is posted.
        content_type: Content type of the body.
        make: Makes the body.
        headers: Others that belong to it.
    """

    name: str
    path: str
    content_type: str
    make: Callable[[], bytes]
    headers: Mapping[str, str] = field(default_factory=dict)


def repeated(before: bytes, item: bytes, after: bytes, size: int = WHOLE) -> bytes:
    """Return items joined by commas between two texts, in at most `size` bytes."""
    count = (size - len(before) - len(after)) // (len(item) + 1)
    return before + b",".join([item] * count) + after


def form_of(*parts: bytes, boundary: str = "b") -> bytes:
    """Return a multipart form of encoded parts."""
    line = f"--{boundary}\r\n".encode()
    return b"".join(line + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()


def file_part(content: bytes, name: str = "image", more: bytes = b"") -> bytes:
    """Return the part of a form with a file."""
    return (
        f'Content-Disposition: form-data; name="{name}"; filename="f"\r\n'.encode() + more + b"\r\n" + content
    )


def text_part(content: bytes) -> bytes:
    """Return the part of a form with a text."""
    return b'Content-Disposition: form-data; name="text"\r\n\r\n' + content


def filled(unit: bytes, size: int = WHOLE - 1000) -> bytes:
    """Repeat a unit up to a size."""
    return unit * (size // len(unit))


def images_json(item: bytes, count: int = MOST_IMAGES, member: bytes = b"images") -> bytes:
    """Return a JSON document with a number of equal images."""
    return b'{"%b":[%b]}' % (member, b",".join([item] * count))


def nested(number: bytes, shape: tuple[int, ...] = (28, 28)) -> bytes:
    """Return nested lists of one number, of a given shape."""
    for side in reversed(shape):
        number = b"[%b]" % b",".join([number] * side)
    return number


def infer_json(datatype: str, number: bytes, count: int = MOST_IMAGES, more: bytes = b"") -> bytes:
    """Return an inference request of the Open Inference Protocol with JSON numbers."""
    data = b",".join([number] * (count * 784))
    head = b'{%b"inputs":[{"name":"image","datatype":"%b","shape":[%d,28,28],"data":['
    return head % (more, datatype.encode(), count) + data + b"]}]}"


def infer_binary(datatype: str, content: bytes, shape: tuple[int, ...], **parameters: object) -> Costly:
    """Return an inference request of the Open Inference Protocol with binary tensor data."""
    tensor = {
        "name": "image",
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": len(content)},
    }
    head = json.dumps({"inputs": [tensor], "parameters": parameters}).encode()
    return Costly(
        f"v2 binary {datatype} {'x'.join(map(str, shape))} {parameters or ''}".strip(),
        INFER,
        "application/octet-stream",
        lambda: head + content,
        {"Inference-Header-Content-Length": str(len(head))},
    )


def npy(array: NDArray[np.generic]) -> bytes:
    """Return an array in NumPy's file format."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def png(
    width: int, height: int, colour: int, bits: int = 8, *before: bytes, interlaced: bool = False
) -> bytes:
    """Write a PNG of zeros: a large picture in a small file.

    Args:
        width: In pixels.
        height: In pixels.
        colour: PNG's colour type.
        bits: A channel.
        before: Chunks that stand before the pixels.
        interlaced: Whether in seven passes.
    """
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    row = bytes(1 + (width * channels * bits + 7) // 8)
    packer = zlib.compressobj(9)
    rows = [packer.compress(row * min(256, height - at)) for at in range(0, height, 256)]
    pixels = b"".join(rows) + packer.flush()
    return b"".join(
        (b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), *before, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    """Write a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def saved(mode: str, side: tuple[int, int], kind: str, **options: object) -> bytes:
    """Return an image of one colour as an image file, written by Pillow."""
    stream = io.BytesIO()
    colour = (
        40
        if len(Image.new(mode, (1, 1)).getbands()) == 1
        else (40,) * len(Image.new(mode, (1, 1)).getbands())
    )
    Image.new(mode, side, colour).save(stream, kind, **options)
    return stream.getvalue()


PALETTE = chunk(b"PLTE", bytes(range(256)) * 3)
CLEAR = chunk(b"tRNS", b"\x00\x80")

TURNED = (4000, 4000)
"""Sides of a picture of as many pixels as `max_picture_pixels` takes by default."""


def exif(orientation: int) -> bytes:
    """Return EXIF data with an orientation."""
    found = Image.Exif()
    found[0x0112] = orientation
    return found.tobytes()


def json_bodies() -> Iterator[Costly]:  # noqa: PLR0915 - a list
    """Yield JSON bodies for every prediction endpoint."""
    kind = "application/json"
    predict, instances = f"{INK}/predict", "/v1/models/ink:predict"
    unchanged = f"{predict}?prepare=none"

    def post(name: str, make: Callable[[], bytes], path: str = predict) -> Costly:
        return Costly(f"JSON {name}", path, kind, make)

    yield post("images of 0, nested", lambda: images_json(nested(b"7")), unchanged)
    yield post("images of 0, flat", lambda: images_json(nested(b"7", (784,))), unchanged)
    yield post("images of 200", lambda: images_json(nested(b"200")), unchanged)
    yield post("images of 1.0", lambda: images_json(nested(b"1.0")), unchanged)
    yield post(
        "images of 0.5, unit", lambda: images_json(nested(b".5".join([b"0", b""])))[:-1] + b',"scale":"unit"}'
    )
    yield post("images, white space", lambda: images_json(nested(b" 7 "))[:WHOLE])
    yield post("images with seen", lambda: images_json(nested(b"200")), f"{predict}?include=seen")
    yield post("probabilities, all", lambda: images_json(nested(b"7")), f"{INK}/probabilities?top=1000")
    yield post("images, mnist", lambda: images_json(nested(b"7")[:-3] + b"0]]"), f"{predict}?prepare=mnist")
    yield post("photographs", lambda: images_json(nested(b"7", (64, 64, 3)), 261), f"{FLOWERS}/predict")
    yield post("instances", lambda: images_json(nested(b"7"), member=b"instances"), instances)
    yield post("list of lists", lambda: repeated(b'{"images":[', b"[]", b"]}"))
    yield post("list of [[]]", lambda: repeated(b'{"images":[', b"[[]]", b"]}"))
    yield post("list of objects", lambda: repeated(b'{"images":[', b"{}", b"]}"))
    yield post("list of {'':0}", lambda: repeated(b'{"images":[', b'{"":0}', b"]}"))
    yield post("elsewhere, {'':0}", lambda: repeated(b'{"a":[', b'{"":0}', b"]}"))
    yield post("many members", lambda: b"{%b}" % b",".join(b'"%07d":0' % at for at in range(1_300_000)))
    yield post("list of 2 ** 63", lambda: repeated(b'{"a":[', b"9223372036854775809", b"]}"))
    yield post("numbers, elsewhere", lambda: repeated(b'{"a":[', b"1.5", b"]}"))
    yield post("digits of one number", lambda: b'{"image":%b}' % (b"9" * (WHOLE - 20)))
    yield post("brackets", lambda: b"[" * WHOLE)
    yield post("text", lambda: b'{"image":"%b"}' % (b"A" * (WHOLE - 20)))
    yield post("text of another plane", lambda: b'{"image":"%b\xf0\x9f\x98\x80"}' % (b"A" * (WHOLE - 30)))
    yield post("escapes", lambda: b'{"image":"%b"}' % (b"\\ud83d\\ude00" * ((WHOLE - 20) // 12)))
    yield post("escaped quotes", lambda: b'{"image":"%b"}' % (b'\\"' * ((WHOLE - 20) // 2)))
    yield post("base64", lambda: b'{"image":"%b"}' % base64.b64encode(bytes((WHOLE - 20) // 4 * 3)))
    url = b"data:image/png;base64,"
    yield post(
        "data URL", lambda: b'{"image":"%b%b"}' % (url, base64.b64encode(bytes((WHOLE - 60) // 4 * 3)))
    )
    tiny = base64.b64encode(png(1, 1, 0))
    yield post("pictures of one pixel", lambda: images_json(b'"%b"' % tiny))
    seven = base64.b64encode(saved("L", (28, 28), "PNG"))
    yield post(
        "pictures with seen", lambda: images_json(b'"%b"' % seven), f"{predict}?include=seen&prepare=none"
    )
    yield post("texts", lambda: images_json(b'"%b"' % (b"A" * 4000), 4000))
    yield post("texts as data URLs", lambda: images_json(b'"%b%b"' % (url, b"A" * 4000), 4000))
    yield post("a stroke", lambda: repeated(b'{"strokes":[[', b"[1,2]", b"]]}"))
    yield post("points of floats", lambda: repeated(b'{"strokes":[[', b"[1.5,2.5]", b"]]}"))
    yield post("strokes", lambda: repeated(b'{"strokes":[', b"[[1.5,2.5]]", b"]}"))
    yield post("explain", lambda: images_json(nested(b"7"), 256), f"{INK}/explain?include=seen,activations")
    yield post("pretty, then broken", lambda: images_json(nested(b"7")) + b"]")
    for datatype in ("UINT8", "INT32", "FP32", "FP64", "INT64", "UINT64"):
        yield post(f"v2 {datatype}", partial(infer_json, datatype, b"7"), INFER)
    yield post(
        "v2 BOOL, unit", lambda: infer_json("BOOL", b"true", more=b'"parameters":{"scale":"unit"},'), INFER
    )
    yield post("v2 FP32 of 7.0", lambda: infer_json("FP32", b"7.0"), INFER)
    yield post("v2 INT32 of 7.0", lambda: infer_json("INT32", b"7.0"), INFER)
    unit = b'"parameters":{"scale":"unit"},'
    yield post("v2 FP64 of 0.5, unit", lambda: infer_json("FP64", b"0.5", more=unit), INFER)
    blobs = b'{"inputs":[{"name":"image","datatype":"BYTES","shape":[%d],"data":[%b]}]}'
    yield post("v2 BYTES", lambda: blobs % (1, b'"%b"' % (b"A" * (WHOLE - 200))), INFER)
    yield post("v2 BYTES, many", lambda: blobs % (4096, b",".join([b'"%b"' % tiny] * 4096)), INFER)
    yield post(
        "v2 inputs",
        lambda: repeated(b'{"inputs":[', b'{"name":"image","datatype":"UINT8","shape":[0],"data":[]}', b"]}"),
        INFER,
    )
    yield post("v2 outputs", lambda: repeated(b'{"inputs":[],"outputs":[', b'{"name":"a"}', b"]}"), INFER)


def _one_part(write: Callable[[bytes], bytes], unit: bytes) -> bytes:
    return form_of(write(filled(unit)))


def form_bodies() -> Iterator[Costly]:
    """Yield multipart forms."""
    path = f"{INK}/predict"

    def post(name: str, make: Callable[[], bytes], boundary: str = "b") -> Costly:
        return Costly(f"form {name}", path, f"multipart/form-data; boundary={boundary}", make)

    for name, part in (("file", file_part), ("text", text_part)):
        for what, unit in (("almost-boundaries", b"\r\n--"), ("boundaries without end", b"\r\n--bx")):
            yield post(f"{what}, {name}", partial(_one_part, part, unit))
    yield post(
        "long almost-boundaries",
        lambda: form_of(file_part(filled(b"\r\n--" + b"b" * 68 + b"c")), boundary="b" * 69),
        "b" * 69,
    )
    yield post("padding", lambda: form_of(file_part(filled(b"\r\n--b" + b" " * 2000))))
    yield post("parts", lambda: filled(b"--b\r\n\r\n\r\n"))
    yield post("parts that are files", lambda: form_of(*[file_part(b"")] * 4096))
    yield post("pictures of one pixel", lambda: form_of(*[file_part(png(1, 1, 0))] * 4096))
    yield post("a header", lambda: form_of(file_part(b"x", more=b"X-A: " + filled(b"a") + b"\r\n")))
    yield post("headers", lambda: form_of(file_part(b"x", more=filled(b"A:\r\n"))))
    yield post("a name", lambda: form_of(file_part(b"x", name="n" * (WHOLE - 1000))))
    yield post(
        "parameters",
        lambda: b"--b\r\nContent-Disposition: form-data" + filled(b";a=b") + b"\r\n\r\n\r\n--b--",
    )
    yield post(
        "long headers", lambda: form_of(*[file_part(b"x", more=b"X-A: " + b";" * 1900 + b"\r\n")] * 4096)
    )
    yield post("a file", lambda: form_of(file_part(png(1, 1, 0) + bytes(WHOLE - 1000))))
    coded = b"Content-Transfer-Encoding: base64\r\n"
    yield post("base64", lambda: form_of(file_part(b"A" * (WHOLE - 1000), more=coded)))
    coded_too = b"Content-Transfer-Encoding: quoted-printable\r\n"
    yield post("quoted-printable", lambda: form_of(file_part(filled(b"=41"), more=coded_too)))
    yield post("line feeds", lambda: filled(b"\n", WHOLE))
    yield Costly("form without its boundary", path, "multipart/form-data", lambda: form_of(file_part(b"x")))


def _npz_of(array: NDArray[np.generic]) -> bytes:
    """Return a compressed archive: 25 MB of equal floats in 25 KB."""
    stream = io.BytesIO()
    np.savez_compressed(stream, images=array)
    return stream.getvalue()


def _npy_of(make: Callable[[], NDArray[np.generic]], order: Literal["C", "F"]) -> bytes:
    return npy(np.asarray(make(), order=order))


def array_bodies() -> Iterator[Costly]:
    """Yield arrays: raw bytes, NumPy files, and tensors of the Open Inference Protocol."""
    octets, numpy_file = "application/octet-stream", "application/x-npy"
    predict = f"{INK}/predict?prepare=none"

    def images(dtype: str, count: int = MOST_IMAGES) -> NDArray[np.generic]:
        return np.full((count, 28, 28), 1, dtype)

    yield Costly("octets", predict, octets, lambda: images("u1").tobytes())
    yield Costly("octets, seen", f"{predict}&include=seen", octets, lambda: bytes([200]) * (4096 * 784))
    yield Costly(
        "octets, mnist",
        f"{INK}/predict?prepare=mnist",
        octets,
        lambda: np.tile(np.arange(784, dtype="u1"), 4096).tobytes(),
    )
    yield Costly("octets, photographs", f"{FLOWERS}/predict", octets, lambda: bytes(12288 * 261))
    yield Costly("octets, too many", predict, octets, lambda: bytes(WHOLE // 784 * 784))
    yield Costly(
        "octets, mlp-512x4",
        "/v1/models/mlp-512x4/predict?prepare=none",
        octets,
        lambda: images("u1").tobytes(),
    )
    yield Costly(
        "octets, explain",
        f"{INK}/explain?include=seen,activations&prepare=none",
        octets,
        lambda: images("u1", 256).tobytes(),
    )
    yield Costly(
        "octets, flowers explained",
        f"{FLOWERS}/explain?include=seen,activations",
        octets,
        lambda: bytes(12288 * 16),
    )
    for dtype, count in (
        ("u1", 4096),
        ("<f2", 4096),
        ("<f4", 4096),
        (">f4", 4096),
        ("<f8", 2600),
        (">f8", 2600),
    ):
        array = partial(images, dtype, count)
        yield Costly(f"npy {dtype}", predict, numpy_file, partial(_npy_of, array, "C"))
        yield Costly(f"npy {dtype} by columns", predict, numpy_file, partial(_npy_of, array, "F"))
    yield Costly("npz <f8", predict, "application/x-npz", lambda: _npz_of(images("<f8")))
    for datatype, dtype, count in (
        ("UINT8", "u1", 4096),
        ("FP16", "<f2", 4096),
        ("FP32", "<f4", 4096),
        ("FP64", "<f8", 2600),
        ("INT64", "<i8", 2600),
        ("BOOL", "u1", 4096),
    ):
        yield infer_binary(datatype, images(dtype, count).tobytes(), (count, 28, 28), scale="unit")
        yield infer_binary(datatype, images(dtype, count).tobytes(), (count, 28, 28))
    yield infer_binary("BF16", (images("<u2") * 0x3F80).tobytes(), (4096, 28, 28))
    tiny = png(1, 1, 0)
    blob = struct.pack("<I", len(tiny)) + tiny
    yield infer_binary("BYTES", blob * 4096, (4096,))
    yield infer_binary("BYTES", struct.pack("<I", 0) * 4096, (4096,))
    yield infer_binary("BYTES", struct.pack("<I", 0) * (WHOLE // 4 - 1000), (4096,))
    yield infer_binary("BYTES", struct.pack("<I", WHOLE - 1000) + bytes(WHOLE - 1000), (1,))
    yield infer_binary(
        "UINT8", np.tile(np.arange(250, dtype="u1"), 64_000).tobytes(), (1, 4000, 4000), prepare="mnist"
    )
    yield infer_binary("FP64", np.zeros(2_000_000, "<f8").tobytes(), (1, 1000, 2000), prepare="mnist")
    yield infer_binary(
        "UINT8", np.tile(np.arange(4, dtype="u1"), 4_000_000).tobytes(), (4000, 50, 80), prepare="mnist"
    )
    explain = infer_binary("UINT8", images("u1", 256).tobytes(), (256, 28, 28), explain=True)
    yield explain


def picture_bodies() -> Iterator[Costly]:
    """Yield small image files with very many pixels."""
    width, height = TURNED
    path = f"{INK}/predict"
    for target, model in (("ink", INK), ("flowers17", FLOWERS)):
        path = f"{model}/predict"

        def post(
            name: str, make: Callable[[], bytes], kind: str = "png", target: str = target, path: str = path
        ) -> Costly:
            return Costly(f"{kind} {name}, {target}", path, f"image/{kind}", make)

        yield post("grey", lambda: png(width, height, 0))
        yield post("16 bits", lambda: png(width, height, 0, 16))
        yield post("1 bit", lambda: png(width, height, 0, 1))
        yield post("grey with alpha", lambda: png(width, height, 4))
        yield post("16 bits with alpha", lambda: png(width, height, 4, 16))
        yield post("colours", lambda: png(width, height, 2))
        yield post("colours of 16 bits", lambda: png(width, height, 2, 16))
        yield post("colours with alpha", lambda: png(width, height, 6))
        yield post("colours with alpha of 16 bits", lambda: png(width, height, 6, 16))
        yield post("a palette", lambda: png(width, height, 3, 8, PALETTE))
        yield post("a palette with alpha", lambda: png(width, height, 3, 8, PALETTE, CLEAR))
        yield post("a clear grey", lambda: png(width, height, 0, 8, chunk(b"tRNS", b"\0\0")))
        yield post("a clear colour", lambda: png(width, height, 2, 8, chunk(b"tRNS", bytes(6))))
        yield post("interlaced", lambda: png(width, height, 6, 8, interlaced=True))
        yield post("turned", lambda: png(width, height, 6, 8, chunk(b"eXIf", exif(6)[6:])))
        yield post("turned, 16 bits", lambda: png(width, height, 0, 16, chunk(b"eXIf", exif(6)[6:])))
        yield post("of 2047 a side", lambda: png(2047, 2047, 6))
        yield post("of 2047 a side, turned", lambda: png(2047, 2047, 6, 8, chunk(b"eXIf", exif(6)[6:])))
        yield post("one row", lambda: png(20_000, 800, 6))
        for mode in ("L", "RGB", "CMYK"):
            yield post(mode, partial(saved, mode, TURNED, "JPEG"), "jpeg")
            yield post(f"{mode} progressive", partial(saved, mode, TURNED, "JPEG", progressive=True), "jpeg")
        turned = partial(saved, "RGB", TURNED, "JPEG", progressive=True, exif=exif(6))
        yield post("progressive and turned", turned, "jpeg")
        yield post(
            "progressive, 4:4:4",
            lambda: saved("RGB", TURNED, "JPEG", progressive=True, subsampling=0),
            "jpeg",
        )
        yield post(
            "of 2047 a side",
            lambda: saved("RGB", (2047, 2047), "JPEG", subsampling=0, progressive=True, exif=exif(6)),
            "jpeg",
        )
        yield post("lossy", lambda: saved("RGB", TURNED, "WEBP"), "webp")
        yield post("lossless", lambda: saved("RGBA", TURNED, "WEBP", lossless=True), "webp")
        yield post("lossy with alpha", lambda: saved("RGBA", TURNED, "WEBP"), "webp")
        yield post("turned", lambda: saved("RGBA", TURNED, "WEBP", lossless=True, exif=exif(6)), "webp")


def text_bomb(size: int = WHOLE) -> bytes:
    """Return a PNG whose text chunks decompress to many times their size."""
    remark = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(60 * MB), 9))
    return png(64, 64, 0, 8, *[remark] * (size // len(remark)))


def coded(costly: Costly, coding: str = "gzip") -> Costly:
    """Return the body, compressed."""
    pack = gzip.compress if coding == "gzip" else zlib.compress
    return Costly(
        f"{coding} of {costly.name}",
        costly.path,
        costly.content_type,
        lambda: pack(costly.make()),
        {**costly.headers, "Content-Encoding": coding},
    )


def everything() -> list[Costly]:
    """Return every costly body."""
    bare = [*json_bodies(), *form_bodies(), *array_bodies(), *picture_bodies()]
    some = [costly for costly in bare if costly.name in ("octets", "JSON images of 0, nested", "JSON text")]
    return [*bare, *(coded(one, coding) for one in some for coding in ("gzip", "deflate"))]
