"""HTTP/1.1 requests: the validated head (RFC 9112), and how much of the body has arrived."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

import httptools

from service.http.messages.problems import (
    BAD_FRAMING,
    BAD_HOST,
    BAD_TARGET,
    BAD_VERSION,
    UNKNOWN_CODING,
    Problem,
)

Headers = list[tuple[bytes, bytes]]
"""Names and values in the order of arrival. Names are in lower case once the head is validated."""

_CACHED = 256
_CACHED_BYTES = 2048
_CACHED_HEADERS = 24
"""Limits of the cache: heads, and bytes and headers of each. It takes at most 4 MB, as each header needs
about 350 bytes besides its content."""

_SECRET = frozenset({b"authorization", b"x-api-key", b"cookie", b"proxy-authorization"})
"""Heads with these headers are not cached."""


class Refused(Exception):
    """Invalid input, which is answered with a problem and closes the connection.

    Attributes:
        problem: Status and type of the response.
        detail: What was expected and received.
        request: The request whose body is invalid, if no call has begun to answer it; else None.
    """

    def __init__(self, problem: Problem, detail: str) -> None:
        super().__init__(detail)
        self.problem = problem
        self.detail = detail
        self.request: Request | None = None


@dataclass(slots=True, eq=False)
class Head:
    """A validated request head. Requests with equal heads share one object, so only `route` is changed.

    Attributes:
        method: Method in upper case.
        path: Decoded path, without the query.
        raw_path: Path as received.
        query: Query as received, without the question mark.
        headers: All headers, without trailers.
        first_headers: The first value of each header, by its name in lower case.
        version: `1.0` or `1.1`.
        keep_alive: Whether the client expects the connection to stay open.
        content_length: Declared length of the body in bytes, 0 if there is none; None for a chunked body.
        expects_continue: Whether the client waits for `100 Continue` before it sends the body.
        route: The route that the dispatcher has found for it; None before.
    """

    method: str
    path: str
    raw_path: bytes
    query: bytes
    headers: Headers
    first_headers: dict[bytes, bytes]
    version: str
    keep_alive: bool
    content_length: int | None
    expects_continue: bool
    route: object = None


class Request:
    """One request: its head, and how much of its body has arrived.

    Attributes:
        head: The validated head.
        path: Path of the request; the dispatcher removes the root path.
        keep_alive: Whether the connection stays open after the response, as far as the request decides.
        started: When its first byte was parsed, by `time.perf_counter`.
        received: Received bytes of the body, without chunk framing.
        is_complete: Whether the whole body has arrived.
        pieces: Pieces of the body that arrived before the request was dispatched.
    """

    __slots__ = ("head", "is_complete", "keep_alive", "path", "pieces", "received", "started")

    def __init__(self, head: Head, started: float) -> None:
        self.head = head
        self.path = head.path
        self.keep_alive = head.keep_alive
        self.started = started
        self.received = 0
        self.is_complete = False
        self.pieces: list[bytes] = []

    @property
    def missing(self) -> int | None:
        """Bytes of the body that have not arrived; None if unknown, for a chunked body."""
        if self.is_complete:
            return 0
        length = self.head.content_length
        return None if length is None else length - self.received


def head_bytes(target: bytes, headers: Headers) -> int:
    """Return the approximate size of a head in bytes, without method and version."""
    return len(target) + sum(len(name) + len(value) + 4 for name, value in headers)


class HeadCache:
    """Validates request heads, and caches small ones: a client usually sends the same head again.

    Heads with API keys or cookies are not cached.
    """

    def __init__(self) -> None:
        self._heads: dict[object, Head] = {}

    def get(
        self,
        method: bytes,
        target: bytes,
        version: str,
        keep_alive: bool,
        headers: Headers,
    ) -> Head:
        """Return the validated head.

        Args:
            method: Method as received.
            target: Request target as received.
            version: HTTP version, such as `1.1`.
            keep_alive: Whether version and headers keep the connection open.
            headers: Headers as received.

        Raises:
            Refused: The head breaks a rule that the parser does not check: RFC 9112, sections 2.3 (version),
                3.2 (target and Host) and 6.1 (transfer codings).
        """
        key = (method, target, version, keep_alive, tuple(headers))
        head = self._heads.get(key)
        if head is None:
            head = _validate(*key)
            is_small = len(headers) <= _CACHED_HEADERS and head_bytes(target, headers) <= _CACHED_BYTES
            if is_small and _SECRET.isdisjoint(head.first_headers):
                if len(self._heads) >= _CACHED:
                    del self._heads[next(iter(self._heads))]
                self._heads[key] = head
        return head


def _validate(
    method: bytes, target: bytes, version: str, keep_alive: bool, received: tuple[tuple[bytes, bytes], ...]
) -> Head:
    """Return the validated head; raises as `HeadCache.get`."""
    headers = [(name.lower(), value) for name, value in received]
    first = dict(reversed(headers))
    if version not in ("1.1", "1.0"):
        raise Refused(BAD_VERSION, f"HTTP version should be 1.0 or 1.1; got {version}.")
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (not hosts and version == "1.1"):
        raise Refused(BAD_HOST, f"Header Host should come once; got {hosts} of them.")
    if method == b"CONNECT":
        raise Refused(BAD_TARGET, "Method should not be CONNECT: this server is not a proxy.")
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError as error:
        raise Refused(BAD_TARGET, "Request target should be a path or a URL; got another form.") from error
    if url.host:  # absolute form: replaces the header Host (RFC 9112, section 3.2.2)
        host = b"[%b]" % url.host if b":" in url.host else url.host
        if url.port is not None:
            host = b"%b:%d" % (host, url.port)
        headers = [(name, host if name == b"host" else value) for name, value in headers]
        first[b"host"] = host
    raw_path = url.path or (b"*" if target == b"*" else b"/")
    path = unquote(raw_path.decode("ascii"))
    if "\n" in path or "\r" in path:
        raise Refused(BAD_TARGET, "Path should contain no line breaks; got one.")
    return Head(
        method=method.decode("ascii"),
        path=path,
        raw_path=raw_path,
        query=url.query or b"",
        headers=headers,
        first_headers=first,
        version=version,
        keep_alive=keep_alive and version == "1.1",
        content_length=_content_length(first, headers, version),
        expects_continue=version == "1.1" and first.get(b"expect", b"").lower() == b"100-continue",
    )


def _content_length(first: dict[bytes, bytes], headers: Headers, version: str) -> int | None:
    """Return the declared length of a body in bytes; None for a chunked body.

    Raises:
        Refused: The transfer coding is not `chunked`.
    """
    if b"transfer-encoding" not in first:
        return int(first.get(b"content-length", b"0"))  # the parser accepts only digits
    codings = b",".join(value for name, value in headers if name == b"transfer-encoding").strip().lower()
    if version == "1.0":
        raise Refused(BAD_FRAMING, "Transfer-Encoding should come with HTTP/1.1; got HTTP/1.0.")
    if codings != b"chunked":
        got = repr(codings[:40].decode("latin-1"))
        raise Refused(UNKNOWN_CODING, f"Transfer-Encoding should be chunked; got {got}.")
    return None
