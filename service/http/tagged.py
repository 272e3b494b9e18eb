"""Answers that a caller may keep but asks for again, which costs no body while they have not changed."""

import hashlib
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response


def respond(
    request: Request, content: bytes, kind: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with a body and its tag, or with 304 where the caller has it already.

    Args:
        request: Its `If-None-Match` names what the caller has.
        content: The whole body; the tag is made from it alone.
        kind: Its content type.
        headers: What every such answer says besides, the one without a body included.
    """
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    kept = {**(headers or {}), "ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=kept)
    return Response(content, headers={**kept, "Content-Type": kind})
