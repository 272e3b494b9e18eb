"""Parsing a multipart form needs memory and time in proportion to its size, also with many partial
boundaries."""

import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest

from service.codecs import multipart
from service.codecs.drawings import Limits
from service.core.errors import MalformedRequest, PayloadTooLarge, RequestError
from tests.security import bodies
from tests.security.bodies import Costly, file_part, filled, form_of, text_part

LIMITS = Limits(images=4096, picture_pixels=16_000_000, points=10_000)

ALLOWED = 2
"""Bytes that reading a form may take for each of its body's, beside the body."""

EACH = 1200
"""And for each of its parts."""

COSTLY = list(bodies.form_bodies())


@pytest.mark.parametrize("form", COSTLY, ids=lambda form: form.name)
def test_reading_a_form_needs_little_more_memory_than_the_form(form: Costly) -> None:
    """
    Parts are slices of the body; partial boundaries need no memory.
    """
    body = form.make()
    tracemalloc.start()
    try:
        multipart.read_form(form.content_type, body, LIMITS)
    except RequestError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert peak <= ALLOWED * len(body) + EACH * body.count(b"Content-Disposition") + 100_000


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


@pytest.mark.parametrize("write", [file_part, text_part], ids=["file", "text"])
def test_partial_boundaries_take_linear_time(
    write: Callable[[bytes], bytes],
) -> None:
    """
    Four times as many take about four times the CPU time, not sixteen.
    """

    def read(size: int) -> None:
        body = form_of(write(filled(b"\r\n--bx", size)))
        with suppress(MalformedRequest):  # a text
            multipart.read_form("multipart/form-data; boundary=b", body, LIMITS)

    read(2**16)
    short = min(_seconds(lambda: read(2**20)) for _ in range(3))
    long = min(_seconds(lambda: read(2**22)) for _ in range(3))

    assert long < 12 * short + 0.05


@pytest.mark.parametrize("padding", [b"", b" ", b"\t  "])
def test_boundary_is_found_across_search_steps(monkeypatch: pytest.MonkeyPatch, padding: bytes) -> None:
    """
    The body is searched in steps; a boundary across two steps is found, and none is found twice.
    """
    monkeypatch.setattr(multipart, "_STEP_BYTES", 8)
    for size in range(40):
        content = b"\r\n--bo" * 3 + b"x" * size
        body = b"".join(
            b"--boundary" + padding + b"\r\n" + file_part(content, name) + b"\r\n" for name in ("a", "b")
        )

        kind = "multipart/form-data; boundary=boundary"
        first, second = multipart.read_form(kind, body + b"--boundary--", LIMITS)

        assert (first.field, first.content) == ("Part 'a'", content)
        assert (second.field, second.content) == ("Part 'b'", content)


def test_preamble_and_epilogue_are_ignored() -> None:
    """
    RFC 2046 allows both.
    """
    body = b"a word\r\n" + form_of(file_part(b"--b")) + b"and another\r\n--b\r\n"

    (found,) = multipart.read_form("multipart/form-data; boundary=b", body, LIMITS)

    assert found.content == b"--b"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (form_of(file_part(b"x", more=b"X-A: " + b"a" * 5000 + b"\r\n")), "the end of its headers"),
        (form_of(file_part(b"x", more=b"no header\r\n")), "no header"),
        (form_of(b"X-A: b\r\n\r\nx"), "Content-Disposition"),
        (form_of(b"\r\n\r\nx"), "no header"),
        (form_of(file_part(b"AAA", more=b"Content-Transfer-Encoding: base64\r\n")), "base64"),
        (form_of(file_part(b"x"))[:-6], "half of it"),
    ],
)
def test_invalid_part_is_refused(body: bytes, words: str) -> None:
    """
    Incomplete or invalid headers; contents that do not match their transfer encoding.
    """
    with pytest.raises(MalformedRequest, match=words):
        multipart.read_form("multipart/form-data; boundary=b", body, LIMITS)


def test_too_many_parts_stop_the_parser() -> None:
    """
    At the first part above the limit.
    """
    body = form_of(*[file_part(b"")] * 5000)

    with pytest.raises(PayloadTooLarge, match=r"at most 4,096 images; got 4,097"):
        multipart.read_form("multipart/form-data; boundary=b", body, LIMITS)


@pytest.mark.parametrize(
    ("coding", "text"),
    [
        (b"base64", b"AAEC\r\n/w=="),
        (b"quoted-printable", b"=00=01=02=\r\n=FF"),
        (b"binary", b"\0\1\2\xff"),
    ],
)
def test_parts_are_decoded_by_transfer_encoding(coding: bytes, text: bytes) -> None:
    """
    Base64 and quoted-printable, which a few old programs use.
    """
    body = form_of(file_part(text, more=b"content-transfer-encoding: " + coding + b"\r\n"))

    (found,) = multipart.read_form("multipart/form-data; boundary=b", body, LIMITS)

    assert found.content == b"\0\1\2\xff"
