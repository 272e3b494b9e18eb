"""Decoder of `multipart/form-data`: image files, one a part.

Regular expressions find the boundaries, and each part is a slice of the body. A parser with a callback for
each byte takes half a minute for 16 MB that consist of partial boundaries.
"""

import binascii
import re
from collections.abc import Iterator

from python_multipart.multipart import parse_options_header

from service.codecs.drawings import Drawing, Limits, check_count
from service.core.errors import MalformedRequest
from service.core.wording import quote

_MAX_BOUNDARY_BYTES = 256
"""RFC 2046 allows 70."""

_MAX_PADDING_BYTES = 64
"""Limit of the spaces and tabs that follow a boundary on its line."""

_MAX_HEADERS, _MAX_HEADER_BYTES = 8, 4096
"""Headers of a part, and their total size; clients send two or three, about 100 bytes each."""

_HEADER_NAME = re.compile(rb"[!#-'*+.^_`|~0-9A-Za-z-]+")

_STEP_BYTES = 2**20
"""Bytes searched at once: at most 2 ms, whatever the body contains."""


def read_form(content_type: str, body: bytes, limits: Limits) -> list[Drawing]:
    """Read the image files of a form; the names of its fields do not matter.

    Args:
        content_type: Value of the header Content-Type, with the boundary.
        body: The whole body.
        limits: Limits of one request.

    Returns:
        One drawing a file, in order; files are not decoded.

    Raises:
        MalformedRequest: The body is not a form, has no file, or has a part that is not a file; or the
            headers of a part are too long.
        PayloadTooLarge: There are more files than images are allowed.
    """
    boundary = parse_options_header(content_type.encode("latin-1", "replace"))[1].get(b"boundary", b"")
    if not 1 <= len(boundary) <= _MAX_BOUNDARY_BYTES:
        raise _malformed(f"a boundary of {len(boundary):,} bytes" if boundary else "no boundary")
    files: list[Drawing] = []
    for headers, content in _parts(body, boundary):
        check_count(len(files) + 1, limits)
        name, file = _file(headers, body, content)
        files.append(Drawing(f"Part {quote(name)}", file))
    if not files:
        raise MalformedRequest("Body", "at least one file", "none")
    return files


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[bytes, slice]]:
    """Yield the headers and the content's position of each part.

    Bytes before the first and after the last boundary are ignored (RFC 2046, section 5.1.1).
    """
    line = rb"--%b(?:(--)|[ \t]{0,%d}\r\n)" % (re.escape(boundary), _MAX_PADDING_BYTES)
    delimiter = re.compile(rb"\r\n" + line)
    max_match = len(boundary) + _MAX_PADDING_BYTES + 6
    found = re.compile(line).match(body) or _search(delimiter, body, 0, max_match)
    while found is not None and found[1] is None:
        start = found.end()
        end = body.find(b"\r\n\r\n", start, start + _MAX_HEADER_BYTES)
        if end < 0:
            raise _malformed(f"a part without the end of its headers within {_MAX_HEADER_BYTES:,} bytes")
        found = _search(delimiter, body, end + 4, max_match)
        if found is not None:
            yield body[start:end], slice(end + 4, found.start())
    if found is None:
        raise _malformed("none with this boundary, or half of it")


def _search(pattern: re.Pattern[bytes], body: bytes, start: int, max_match: int) -> re.Match[bytes] | None:
    """Search `body` from `start` in steps, so that other threads run in between.

    `max_match` is the length of the longest match, in bytes: consecutive steps overlap by it.
    """
    while start < len(body):
        found = pattern.search(body, start, start + _STEP_BYTES + max_match)
        if found is not None:
            return found
        start += _STEP_BYTES
    return None


def _file(headers: bytes, body: bytes, content: slice) -> tuple[str, bytes]:
    """Return a part's name and its file, with the transfer encoding removed."""
    fields: dict[bytes, bytes] = {}
    for line in headers.split(b"\r\n", _MAX_HEADERS)[:_MAX_HEADERS]:
        name, colon, value = line.partition(b":")
        if not colon or not _HEADER_NAME.fullmatch(name):
            raise _malformed("a part with something that is no header")
        fields[name.lower()] = value.strip(b" \t")
    options = parse_options_header(fields.get(b"content-disposition"))[1]
    if b"name" not in options:
        raise _malformed("a part without Content-Disposition and a name in it")
    part = options[b"name"].decode("utf-8", "replace")
    if b"filename" not in options:
        raise MalformedRequest(f"Part {quote(part)}", "a file with a filename", "a text")
    encoding = fields.get(b"content-transfer-encoding", b"").lower()
    if encoding not in (b"base64", b"quoted-printable"):
        return part, body[content]
    with memoryview(body)[content] as encoded:
        try:
            decode = binascii.a2b_base64 if encoding == b"base64" else binascii.a2b_qp
            return part, decode(encoded)
        except binascii.Error as error:
            raise MalformedRequest(
                f"Part {quote(part)}", "base64, as its headers say", "other text"
            ) from error


def _malformed(got: str) -> MalformedRequest:
    return MalformedRequest("Body", "multipart/form-data with a boundary", got)
