"""Decompression bombs are refused before they are decompressed, or their memory is acquired first."""

import gzip
import subprocess
import sys
import zlib

import pytest
from starlette.testclient import TestClient

from service.codecs.pictures import chunks, image_files
from service.core.errors import PayloadTooLarge, RequestError, TooManyBytes
from service.memory.budget import Budget
from tests.conftest import REPOSITORY
from tests.security import bodies
from tests.security.bodies import Costly, chunk, png, saved

MB = 2**20

PIXELS = 16_000_000

PATH = "/v1/models/quadrants/predict"

SMALL = [
    png(600, 400, 0),
    png(600, 400, 2),
    png(600, 400, 6),
    png(600, 400, 4),
    png(600, 400, 0, 16),
    png(600, 400, 3, 8, bodies.PALETTE, bodies.CLEAR),
    saved("RGB", (600, 400), "JPEG"),
    saved("CMYK", (600, 400), "JPEG", progressive=True),
    saved("RGBA", (600, 400), "WEBP", lossless=True),
]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_body_counts_with_its_decompressed_size(client: TestClient, coding: str) -> None:
    """
    100 MB of zeros in 100 KB are refused at the body limit.
    """
    pack = gzip.compress if coding == "gzip" else zlib.compress
    headers = {"content-type": "application/octet-stream", "content-encoding": coding}

    answer = client.post(PATH, content=pack(bytes(100 * MB)), headers=headers)

    assert answer.status_code == 413, answer.text


@pytest.mark.parametrize("file", SMALL, ids=range(len(SMALL)))
def test_decoding_releases_its_memory(file: bytes) -> None:
    """
    Whether the image can be decoded or not.
    """
    budget = Budget(64 * MB)

    for data in (file, file[: len(file) * 2 // 3], file[:40] + b"?" * 30):
        try:
            image_files.read_grey(data, "Body", PIXELS, budget)
            image_files.read_photo(data, "Body", PIXELS, any_size=True, budget=budget)
        except RequestError:
            pass
        assert budget.used == 0


@pytest.mark.parametrize("file", SMALL, ids=range(len(SMALL)))
def test_picture_without_free_memory_is_refused_with_503(file: bytes) -> None:
    """
    Decoding does not start; the same image is decoded when memory is free.
    """
    budget = Budget(64 * MB)
    budget.acquire(63 * MB + 900_000)

    with pytest.raises(TooManyBytes):
        image_files.read_grey(file, "Body", PIXELS, budget)

    budget.release(63 * MB)
    image_files.read_grey(file, "Body", PIXELS, budget)


def test_picture_larger_than_the_budget_is_too_large() -> None:
    """
    A WebP needs 17 bytes per pixel: one of 16 million pixels is refused with 413.
    """
    file = saved("RGB", bodies.TURNED, "WEBP")

    with pytest.raises(PayloadTooLarge, match=r"134,217,728 bytes of memory to decode as a WEBP"):
        image_files.read_grey(file, "Body", PIXELS, Budget(128 * MB))


def test_png_text_chunks_are_not_decompressed() -> None:
    """
    60 text chunks of one megabyte each in 60 KB.
    """
    remark = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000), 9))

    with pytest.raises(RequestError, match="a broken one"):
        image_files.read_grey(png(28, 28, 0, 8, *[remark] * 60), "Body", PIXELS)


@pytest.mark.parametrize(
    ("file", "metadata"),
    [
        (png(28, 28, 0, 8, chunk(b"eXIf", bytes(5000))), 5013),
        (png(28, 28, 0, 8), 13),
        (saved("RGB", (28, 28), "JPEG", comment=b"c" * 5000), 5000),
        (saved("RGB", (28, 28), "WEBP", exif=bodies.exif(6) + bytes(5000)), 5000),
    ],
)
def test_metadata_count_in_the_memory_estimate(file: bytes, metadata: int) -> None:
    """
    EXIF data, colour profiles and comments are copied several times while an image is decoded.
    """
    assert metadata <= chunks.metadata_bytes(file) <= metadata + 800


@pytest.mark.parametrize("bomb", list(bodies.picture_bodies()), ids=lambda bomb: bomb.name)
@pytest.mark.torture
def test_decoding_needs_at_most_the_acquired_memory(bomb: Costly) -> None:
    """
    The peak memory of a process, compared with the peak of its budget.
    """
    file = bomb.make()
    budget = _Watched(2**40)
    try:
        if "flowers17" in bomb.path:
            image_files.read_photo(file, "Body", PIXELS, any_size=True, budget=budget)
        else:
            image_files.read_grey(file, "Body", PIXELS, budget)
    except RequestError:
        pass

    assert _peak(bomb, file) <= budget.highest + 4 * MB


class _Watched(Budget):
    """A budget that records its peak."""

    highest = 0

    def acquire(self, size: int) -> None:
        super().acquire(size)
        self.highest = max(self.highest, self.used)


_READ = """
import re, sys
from PIL import Image
from service.core.errors import RequestError
from service.codecs.pictures import image_files

def memory():
    found = re.findall(r"Vm(?:HWM|RSS):\\s+([0-9]+)", open("/proc/self/status").read())
    return [int(kilobytes) * 1024 for kilobytes in found]

Image.init()
data, pixels = sys.stdin.buffer.read(), int(sys.argv[2])
open("/proc/self/clear_refs", "w").write("5")
before = memory()[1]
try:
    if sys.argv[1] == "photo":
        image_files.read_photo(data, "Body", pixels, True)
    else:
        image_files.read_grey(data, "Body", pixels)
except RequestError:
    pass
print(memory()[0] - before)
"""


def _peak(bomb: Costly, file: bytes) -> int:
    """Return the peak memory of decoding an image, in its own process."""
    kind = "photo" if "flowers17" in bomb.path else "drawing"
    command = [sys.executable, "-c", _READ, kind, str(PIXELS)]
    done = subprocess.run(command, input=file, capture_output=True, check=True, cwd=REPOSITORY)
    return int(done.stdout)
