"""Decoder of `multipart/form-data`: image files, one a part.

A part without the name of a file is accepted if it is an image file by its first bytes, or the base64 of
one. If the header Content-Type lacks the boundary, as in programs that set the header themselves, it is taken
from the first line of the body.

Regular expressions find the boundaries, and each part is a slice of the body. A parser with a callback for
each byte takes half a minute for 16 MB that consist of partial boundaries.
"""

import binascii
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote_to_bytes

from python_multipart.multipart import parse_options_header

from service.codecs import base64_text, signatures
from service.codecs.drawings import MAX_FILE_NAME, Drawing, Limits, check_count
from service.core.errors import MalformedRequest
from service.core.wording import quote

_MAX_BOUNDARY_BYTES = 256
"""RFC 2046 allows 70."""

_MAX_PADDING_BYTES = 64
"""Limit of the spaces and tabs that follow a boundary on its line."""

_MAX_HEADERS, _MAX_HEADER_BYTES = 8, 4096
"""Headers of a part, and their total size; clients send two or three, about 100 bytes each."""

_FIRST_LINE = re.compile(rb"--([^\r\n]{1,%d}?)[ \t]{0,%d}\r\n" % (_MAX_BOUNDARY_BYTES, _MAX_PADDING_BYTES))

_EXTENDED_NAME = re.compile(rb"""filename\*\s*=\s*"?utf-8'[^';]*'([^;"\s]+)""", re.IGNORECASE)
"""The name of a file by RFC 5987, as some clients write names that are not ASCII."""

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
    if not boundary and (first := _FIRST_LINE.match(body)) is not None:
        boundary = first[1]
    if not 1 <= len(boundary) <= _MAX_BOUNDARY_BYTES:
        raise _malformed(f"a boundary of {len(boundary):,} bytes" if boundary else "no boundary")
    files: list[Drawing] = []
    for headers, content in _parts(body, boundary):
        check_count(len(files) + 1, limits)
        files.append(_file(headers, body, content))
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


def _file(headers: bytes, body: bytes, content: slice) -> Drawing:
    """Return a part's file, with the transfer encoding removed."""
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
    field = f"Part {quote(part)}"
    file_name = _file_name(fields[b"content-disposition"], options)
    file = _decoded(fields.get(b"content-transfer-encoding", b"").lower(), body, content, field)
    if signatures.may_be_base64_picture(file):
        file = base64_text.decode(file, field)
    if file_name is None and signatures.format_of(file) not in signatures.PICTURES:
        raise MalformedRequest(field, "a file with a filename", "a text")
    return Drawing(field, file, file_name)


def _decoded(encoding: bytes, body: bytes, content: slice, field: str) -> bytes:
    """Return the content of a part with its transfer encoding removed."""
    if encoding not in (b"base64", b"quoted-printable"):
        return body[content]
    with memoryview(body)[content] as encoded:
        try:
            return (binascii.a2b_base64 if encoding == b"base64" else binascii.a2b_qp)(encoded)
        except binascii.Error as error:
            raise MalformedRequest(field, "base64, as its headers say", "other text") from error


def _file_name(disposition: bytes, options: Mapping[bytes, bytes]) -> str | None:
    """Return the name of a part's file, cut to `MAX_FILE_NAME` characters; None if it has none.

    Args:
        disposition: The header Content-Disposition.
        options: Its parameters.
    """
    name = options.get(b"filename")
    if name is None:
        extended = _EXTENDED_NAME.search(disposition)
        if extended is None:
            return None
        name = unquote_to_bytes(extended[1])
    return name[: 4 * MAX_FILE_NAME].decode("utf-8", "replace")[:MAX_FILE_NAME]


def _malformed(got: str) -> MalformedRequest:
    return MalformedRequest("Body", "multipart/form-data with a boundary", got)
