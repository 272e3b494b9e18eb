"""Responses with status 200: raw ones for predictions, JSON ones through the web framework."""

from functools import lru_cache
from typing import NamedTuple

from starlette.responses import Response

from service.codecs import content_types
from service.codecs.json import documents

Headers = tuple[tuple[bytes, bytes], ...]
"""Header names in lower case, with their values."""

AS_JSON: Headers = ((b"content-type", content_types.JSON.encode()),)
VARY_ACCEPT: Headers = ((b"vary", b"Accept"),)


class RawResponse(NamedTuple):
    """A response with status 200, independent of the web framework.

    Attributes:
        content: The body.
        headers: Content-Type and other headers of the content.
    """

    content: bytes
    headers: Headers


@lru_cache(256)
def header_lines(headers: Headers) -> bytes:
    """Format headers as lines, each ending with CRLF."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def json_response(document: object) -> Response:
    """Return a JSON response with status 200."""
    return Response(documents.dump(document), media_type=content_types.JSON)
