"""`service/codecs/signatures.py`: formats by their first bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.codecs import signatures
from tests.examples import examples
from tests.service.http.bodies import images, npy, picture


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("PNG", signatures.PNG),
        ("JPEG", signatures.JPEG),
        ("WEBP", signatures.WEBP),
        ("GIF", "a GIF"),
        ("BMP", "a BMP"),
        ("TIFF", "a TIFF"),
        ("PDF", "a PDF"),
    ],
)
def test_files_are_recognised(form: str, name: str) -> None:
    assert signatures.format_of(picture(Image.new("RGB", (40, 40), "red"), form)) == name


def test_numpy_files_are_recognised() -> None:
    assert signatures.format_of(npy(images(1))) == signatures.NPY


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0" + bytes(780),
        b"BM" + bytes(782),
        b"RIFF" + bytes(780),
        bytes(784),
        b'{"image": []}',
    ],
)
def test_pixels_that_begin_like_a_file_are_not_one(data: bytes) -> None:
    """
    Three white pixels with a grey one between them would be the first bytes of a JPEG file.
    """
    assert signatures.format_of(data) is None


@examples()
@given(data=st.binary(max_size=2000))
def test_any_bytes_are_looked_at(data: bytes) -> None:
    for prefix in (b"", b"\xff\xd8\xff\xe0", b"RIFF", b"BM", b"{", b"data:image/"):
        signatures.format_of(prefix + data)
        signatures.may_be_base64_picture(prefix + data)
        signatures.is_json_object(prefix + data)
