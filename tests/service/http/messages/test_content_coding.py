"""`service/http/messages/content_coding.py`: compression and decompression."""

import gzip
import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.errors import MalformedRequest, UnsupportedMediaType
from service.http.messages.content_coding import Decompressor, compress
from tests.examples import examples
from tests.service.http.bodies import compressed

UNPACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}
LONG = b"0.1234567," * 1000


def slices(unpacker: Decompressor, chunk: bytes) -> Iterator[bytes]:
    """Everything that a part of a body holds."""
    unpacker.push(chunk)
    while unpacker.has_more:
        yield unpacker.step()


def unpack(coding: str, *chunks: bytes) -> bytes:
    unpacker = Decompressor(coding)
    whole = b"".join(piece for chunk in chunks for piece in slices(unpacker, chunk))
    unpacker.end()
    return whole


@examples()
@given(
    content=st.binary(max_size=300),
    coding=st.sampled_from(["gzip", "deflate", "identity"]),
    cuts=st.lists(st.integers(0, 400), max_size=5),
)
def test_compressed_data_can_arrive_in_any_pieces(content: bytes, coding: str, cuts: list[int]) -> None:
    packed = content if coding == "identity" else compressed(content, coding)
    ends = [*sorted(min(cut, len(packed)) for cut in cuts), len(packed)]
    starts = [0, *ends]

    assert unpack(coding, *[packed[a:b] for a, b in zip(starts, ends, strict=False)]) == content


@pytest.mark.parametrize("size", [2**18 - 1, 2**18, 2**18 + 1, 2**20, 3_000_000])
def test_output_is_produced_in_slices(size: int) -> None:
    """Of at most a quarter of a megabyte."""
    unpacker = Decompressor("gzip")

    pieces = list(slices(unpacker, gzip.compress(bytes(size))))

    unpacker.end()
    assert b"".join(pieces) == bytes(size)
    assert max(map(len, pieces)) <= 2**18


@pytest.mark.parametrize("coding", ["GZIP", " gzip ", "x-gzip"])
def test_other_spellings_of_gzip(coding: str) -> None:
    """Upper case, and the old name x-gzip."""
    assert unpack(coding, gzip.compress(b"abc")) == b"abc"


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "gzip,identity", "", "gzipp"])
def test_unsupported_codings_are_refused(coding: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="one of gzip, deflate, identity"):
        Decompressor(coding)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    ("spoil", "got"),
    [
        (lambda packed: packed[:0], "its beginning"),
        (lambda packed: packed[:-1], "its beginning"),
        (lambda packed: packed[: len(packed) // 2], "its beginning"),
        (lambda packed: packed + b"x", "bytes after its end"),
        (lambda packed: packed + packed, "bytes after its end"),
        (lambda packed: b"x" + packed, "other bytes"),
        (lambda packed: packed[:-1] + bytes([packed[-1] ^ 1]), "other bytes"),
    ],
)
def test_invalid_or_incomplete_data_is_refused(
    coding: str, spoil: Callable[[bytes], bytes], got: str
) -> None:
    spoilt = spoil(compressed(LONG, coding))

    with pytest.raises(MalformedRequest, match=f"one whole stream of {coding}, .* got {got}"):
        unpack(coding, spoilt)
    with pytest.raises(MalformedRequest, match=got):
        unpack(coding, *[spoilt[i : i + 1] for i in range(len(spoilt))])


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate", "gzip"),
        ("deflate, gzip", "gzip"),
        ("deflate;q=1, gzip;q=0.5", "deflate"),
        ("GZIP ; Q=0.5", "gzip"),
        ("br, *", "gzip"),
        ("gzip;q=0, *", "deflate"),
        ("gzip;q=0.2, identity;q=0.1", "gzip"),
        ("", None),
        ("br", None),
        ("identity", None),
        ("gzip;q=0", None),
        ("*;q=0", None),
        ("gzip;q=nonsense", None),
        ("gzip;q=2", None),
        ("gzip;q=0.2, identity;q=0.5", None),
    ],
)
def test_a_response_is_compressed_as_accept_encoding_prefers(accepted: str, coding: str | None) -> None:
    packed, headers = compress(LONG, accepted)

    assert headers[0] == (b"vary", b"Accept-Encoding")
    assert headers[1:] == (() if coding is None else ((b"content-encoding", coding.encode()),))
    assert packed == LONG if coding is None else UNPACK[coding](packed) == LONG
    assert coding is None or len(packed) < len(LONG) / 5


def test_a_small_response_is_not_compressed() -> None:
    packed, headers = compress(LONG[:1400], "gzip")

    assert packed == LONG[:1400]
    assert headers == ((b"vary", b"Accept-Encoding"),)
