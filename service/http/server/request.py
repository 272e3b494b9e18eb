"""One parsed HTTP/1.1 request head, and the checks that RFC 9112 asks of it."""

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
"""Names and values, in the order of arrival; names in lower case but in what the parser found."""

_CACHED = 256
_CACHED_BYTES = 2048
_CACHED_HEADERS = 24
"""How many heads are kept, and up to which size and number of headers: at most some 4 MB, as each header
takes about 350 bytes beside its own."""

_SECRET = frozenset({b"authorization", b"x-api-key", b"cookie", b"proxy-authorization"})
"""Headers whose values are not kept."""


class Refused(Exception):
    """A request that is answered with a problem and closes its connection.

    Attributes:
        problem: Status and kind.
        detail: What was expected and what came.
        request: The one whose body it is, if the head was sound and nothing has begun to answer it.
    """

    def __init__(self, problem: Problem, detail: str) -> None:
        super().__init__(detail)
        self.problem = problem
        self.detail = detail
        self.request: Request | None = None


@dataclass(slots=True, eq=False)
class Head:
    """A request head that obeys the rules. Requests with the same bytes share one, so it is not changed.

    Attributes:
        method: In upper case.
        path: Decoded, without the query.
        raw_path: As it came.
        query: As it came, without the question mark.
        headers: Without trailers.
        first_headers: The first value of every header, by name.
        version: `1.0` or `1.1`.
        keep_alive: Whether the client expects the connection to stay open.
        content_length: Bytes of the body as declared; None for a chunked body, 0 for none.
        expects_continue: Whether the client waits for `100 Continue` before it sends the body.
        route: What the dispatcher has derived from it; None before.
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
        head: Its head.
        path: That of the head, until the dispatcher removes the root path.
        keep_alive: That of the head, until the server decides to close the connection.
        started: When its first byte was parsed, by `time.perf_counter`.
        received: Bytes of the body that have arrived, without chunk framing.
        is_complete: Whether the whole body has arrived.
        pieces: Parts of the body that arrived before the request was dispatched.
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
        """Bytes of the body that have not arrived; None if nobody can know."""
        if self.is_complete:
            return 0
        length = self.head.content_length
        return None if length is None else length - self.received


def head_bytes(target: bytes, headers: Headers) -> int:
    """Return about how many bytes a head has, without its method and version."""
    return len(target) + sum(len(name) + len(value) + 4 for name, value in headers)


class HeadCache:
    """Turns what the parser found into heads, and keeps small ones: the heads of one client differ in little.

    Heads with API keys or cookies are not kept.
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
        """Return a head.

        Args:
            method: As it came.
            target: As it came.
            version: Such as `1.1`.
            keep_alive: Whether its headers keep the connection open.
            headers: As they came.

        Raises:
            Refused: The head breaks a rule that the parser does not check: RFC 9112, sections 2.3 (version),
                3.2 (target and Host) and 6.1 (transfer codings).
        """
        key = (method, target, version, keep_alive, tuple(headers))
        head = self._heads.get(key)
        if head is None:
            head = _check(*key)
            is_small = len(headers) <= _CACHED_HEADERS and head_bytes(target, headers) <= _CACHED_BYTES
            if is_small and _SECRET.isdisjoint(head.first_headers):
                if len(self._heads) >= _CACHED:
                    del self._heads[next(iter(self._heads))]
                self._heads[key] = head
        return head


def _check(
    method: bytes, target: bytes, version: str, keep_alive: bool, found: tuple[tuple[bytes, bytes], ...]
) -> Head:
    """Return a head that obeys the rules; raises as `HeadCache.get`."""
    headers = [(name.lower(), value) for name, value in found]
    first = dict(reversed(headers))
    if version not in ("1.1", "1.0"):
        raise Refused(BAD_VERSION, f"HTTP version should be 1.0 or 1.1; got {version}.")
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (not hosts and version == "1.1"):
        raise Refused(BAD_HOST, f"Header Host should come once; got {hosts} of them.")
    if method == b"CONNECT":
        raise Refused(
            BAD_TARGET, "Method should be one of this interface; got CONNECT, and this is no proxy."
        )
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError as error:
        raise Refused(BAD_TARGET, "Request target should be a path or a URL; got neither.") from error
    if url.host:  # of an absolute-form target, which counts in place of Host (RFC 9112, section 3.2.2)
        host = b"[%b]" % url.host if b":" in url.host else url.host
        if url.port is not None:
            host = b"%b:%d" % (host, url.port)
        headers = [(name, host if name == b"host" else value) for name, value in headers]
        first[b"host"] = host
    raw_path = url.path or (b"*" if target == b"*" else b"/")
    path = unquote(raw_path.decode("ascii"))
    if "\n" in path or "\r" in path:
        raise Refused(BAD_TARGET, "Path should have no line ends; got one.")
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
        Refused: Its transfer coding is not `chunked`.
    """
    if b"transfer-encoding" not in first:
        return int(first.get(b"content-length", b"0"))  # digits alone: the parser has checked them
    codings = b",".join(value for name, value in headers if name == b"transfer-encoding").strip().lower()
    if version == "1.0":
        raise Refused(BAD_FRAMING, "Transfer-Encoding should come with HTTP/1.1; got HTTP/1.0.")
    if codings != b"chunked":
        got = repr(codings[:40].decode("latin-1"))
        raise Refused(UNKNOWN_CODING, f"Transfer-Encoding should be chunked; got {got}.")
    return None
