"""`service/http/messages/content_coding.py`: bodies and answers that are compressed on their way."""

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
def test_any_split_gives_the_same(content: bytes, coding: str, cuts: list[int]) -> None:
    """
    Wherever the network cuts a body.
    """
    packed = content if coding == "identity" else compressed(content, coding)
    ends = [*sorted(min(cut, len(packed)) for cut in cuts), len(packed)]
    starts = [0, *ends]

    assert unpack(coding, *[packed[a:b] for a, b in zip(starts, ends, strict=False)]) == content


@pytest.mark.parametrize("size", [2**18 - 1, 2**18, 2**18 + 1, 2**20, 3_000_000])
def test_large_contents_come_in_slices(size: int) -> None:
    """
    None larger than a quarter of a megabyte, and together they are all of it.
    """
    unpacker = Decompressor("gzip")

    pieces = list(slices(unpacker, gzip.compress(bytes(size))))

    unpacker.end()
    assert b"".join(pieces) == bytes(size)
    assert max(map(len, pieces)) <= 2**18


@pytest.mark.parametrize("coding", ["GZIP", " gzip ", "x-gzip"])
def test_other_spellings_of_gzip(coding: str) -> None:
    """
    Codings are written in any case, and one has an old name.
    """
    assert unpack(coding, gzip.compress(b"abc")) == b"abc"


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "gzip,identity", "", "gzipp"])
def test_other_codings_are_refused(coding: str) -> None:
    """
    With those that there are.
    """
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
def test_what_is_not_one_whole_stream_is_refused(
    coding: str, spoil: Callable[[bytes], bytes], got: str
) -> None:
    """
    Cut off, gone on, broken; the checksum at the end counts.
    """
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
def test_an_answer_is_packed_as_its_caller_likes_best(accepted: str, coding: str | None) -> None:
    """
    By the weights that the caller names; caches are told that it depends on them.
    """
    packed, headers = compress(LONG, accepted)

    assert headers[0] == (b"vary", b"Accept-Encoding")
    assert headers[1:] == (() if coding is None else ((b"content-encoding", coding.encode()),))
    assert packed == LONG if coding is None else UNPACK[coding](packed) == LONG
    assert coding is None or len(packed) < len(LONG) / 5


def test_a_small_answer_is_left_alone() -> None:
    """
    It travels in one packet anyway.
    """
    packed, headers = compress(LONG[:1400], "gzip")

    assert packed == LONG[:1400]
    assert headers == ((b"vary", b"Accept-Encoding"),)
