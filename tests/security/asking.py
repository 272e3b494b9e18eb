"""HTTP client that sends exactly the headers that a test names."""

import http.client
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from email.message import Message


@dataclass(frozen=True)
class Answered:
    """A response.

    Attributes:
        status: Status code.
        headers: All headers; names are case-insensitive.
        content: The body.
    """

    status: int
    headers: Message
    content: bytes


def ask(
    port: int, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Answered:
    """Send one request to 127.0.0.1, with a length and, unless it is given, the right `Host`."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        given = dict(headers or {})
        connection.putrequest(method, path, skip_host="Host" in given, skip_accept_encoding=True)
        for name, value in {"Content-Length": str(len(body)), **given}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return Answered(answer.status, answer.headers, answer.read())
