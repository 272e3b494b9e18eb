"""HTTP connection to one service: deadlines, retries, limits of the response, problem documents as errors."""

import email.utils
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from inkling.errors import (
    ApiError,
    InvalidResponse,
    MalformedRequest,
    NoResponse,
    PackageMissing,
    RateLimited,
    ServiceUnavailable,
)
from service.core.wording import quote

try:
    import anyio
    import httpx2
except ImportError as error:
    raise PackageMissing("inkling.Client", "httpx2", "client") from error

MAX_RESPONSE_BYTES = 64 * 2**20
"""Largest response that is read: the probabilities of 4,096 images of 1,000 classes take 16 MB."""

_MAX_TEXT = 500
"""Characters of a problem's text that are kept."""

_FIRST_DELAY_S, _MAX_DELAY_S = 0.2, 8.0
"""Delay before the first retry if the service names none, doubled for each further one, and its maximum."""

_ERRORS: dict[int, type[ApiError]] = {429: RateLimited, 503: ServiceUnavailable, 504: ServiceUnavailable}

_RETRIED = (429, 503)

Files = list[tuple[str, tuple[str, bytes, str]]]
"""Parts of a form: name of the field; name, content and content type of the file."""


@dataclass(frozen=True)
class Answer:
    """A successful response.

    Attributes:
        headers: By name in lower case.
        body: The whole body.
    """

    headers: Mapping[str, str]
    body: bytes


class Connection:
    """Sends requests to one service and returns its answers."""

    def __init__(
        self,
        url: str,
        key: str | None,
        timeout_s: float,
        retries: int,
        transport: "httpx2.AsyncBaseTransport | None" = None,
    ) -> None:
        """Prepare the connection; it is opened by the first request.

        Raises:
            MalformedRequest: The URL or the key is not valid.
        """
        self._url = _checked(url)
        headers = {"accept-encoding": "identity", "user-agent": "inkling"}  # so that nothing is decompressed
        if key is not None:
            if not key.isascii() or not key.isprintable() or not key:
                raise MalformedRequest("Key", "printable ASCII characters", "others")
            headers["authorization"] = f"Bearer {key}"
        self._timeout_s = timeout_s
        self._retries = retries
        self._http = httpx2.AsyncClient(
            headers=headers, timeout=None, follow_redirects=False, transport=transport
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        files: Files | None = None,
    ) -> Answer:
        """Send a request; repeat it where the service asks for that, or the connection fails.

        Args:
            method: GET or POST.
            path: Path below the service's URL.
            query: Query parameters.
            headers: Further headers.
            content: The body.
            files: The body as a form, instead of `content`.

        Raises:
            ApiError: The service answers with an error; after a 429 or 503 only if there are no retries left,
                or the service asks for a longer delay than the timeout.
            NoResponse: The service cannot be reached, or its answer is not complete within the timeout.
            InvalidResponse: The response is no answer of the service.
        """
        for attempt in range(self._retries + 1):
            is_last = attempt == self._retries
            try:
                return await self._send(method, path, query, headers, content, files)
            except ApiError as error:
                delay_s = _delay_s(error.retry_after_s, attempt)
                if is_last or error.status not in _RETRIED or delay_s > self._timeout_s:
                    raise
            except httpx2.TransportError as error:
                if is_last:
                    message = (
                        f"The service at {self._url} should answer; got {type(error).__name__}: {error}."
                    )
                    raise NoResponse(message) from error
                delay_s = _delay_s(None, attempt)
            await anyio.sleep(delay_s)
        raise AssertionError("unreachable")

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        content: bytes | None,
        files: Files | None,
    ) -> Answer:
        try:
            with anyio.fail_after(self._timeout_s):
                async with self._http.stream(
                    method,
                    self._url + path,
                    params=query or None,
                    headers=headers,
                    content=content,
                    files=files,
                ) as response:
                    body = await _read(response)
        except TimeoutError as error:
            message = f"The service at {self._url} should answer within {self._timeout_s:g} s; it did not."
            raise NoResponse(message) from error
        if response.status_code != httpx2.codes.OK:
            raise _error_of(response, body)
        return Answer({name.lower(): value for name, value in response.headers.items()}, body)


def _checked(url: str) -> str:
    """Return a service's URL without a slash at the end."""
    expected = "http(s)://host[:port][/prefix], without user, query and fragment"
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError) as error:
        raise MalformedRequest("URL", expected, quote(url)) from error
    is_plain = not (parsed.userinfo or parsed.query or parsed.fragment)
    if parsed.scheme not in ("http", "https") or not parsed.host or not is_plain:
        raise MalformedRequest("URL", expected, f"one of scheme {parsed.scheme!r}, host {parsed.host!r}")
    return str(parsed).rstrip("/")


async def _read(response: Any) -> bytes:  # noqa: ANN401 - httpx2.Response
    """Return the body, as it arrives: never decompressed, and up to a limit."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise InvalidResponse("uncompressed", quote(response.headers["content-encoding"]))
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > MAX_RESPONSE_BYTES:
            raise InvalidResponse(f"at most {MAX_RESPONSE_BYTES:,} bytes", "more")
        parts.append(part)
    return b"".join(parts)


def _error_of(response: Any, body: bytes) -> ApiError | InvalidResponse:  # noqa: ANN401 - httpx2.Response
    """Return the error of a response that is not a 200."""
    status = response.status_code
    if status < 400:
        where = response.headers.get("location", "")
        return InvalidResponse(
            "an answer of the service", f"a {status} to {quote(where)}, which is not followed"
        )
    kind = _ERRORS.get(status, ApiError)
    retry_after_s = _retry_after_s(response.headers.get("retry-after", ""))
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        return kind(status, title=response.reason_phrase, retry_after_s=retry_after_s)

    def text(name: str) -> str:
        value = document.get(name)
        return value[:_MAX_TEXT] if isinstance(value, str) else ""

    return kind(
        status,
        kind=text("type").rpartition("/")[2],
        title=text("title"),
        detail=text("detail"),
        request_id=text("request_id"),
        retry_after_s=retry_after_s,
    )


def _retry_after_s(value: str) -> float | None:
    """Return the seconds of a header Retry-After: a number or a date; None if it is neither."""
    if value.isascii() and value.isdecimal():
        return float(value[:12])
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _delay_s(retry_after_s: float | None, attempt: int) -> float:
    """Return the delay before a retry, with a random part so that clients do not return together."""
    spread = random.random()  # noqa: S311 - jitter, not a secret
    if retry_after_s is not None:
        return retry_after_s * (1 + 0.1 * spread)
    return min(_MAX_DELAY_S, _FIRST_DELAY_S * 2.0**attempt) * (0.5 + 0.5 * spread)


@asynccontextmanager
async def raising_first(errors: list[Exception]) -> AsyncIterator[Any]:
    """Run a task group; raise the first of `errors` when it has ended."""
    async with anyio.create_task_group() as group:
        yield group
    if errors:
        raise errors[0]
