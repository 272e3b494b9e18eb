"""Parser of HTTP responses."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Response:
    """One parsed response.

    Attributes:
        status: HTTP status.
        headers: Headers by name in lower case; a repeated header is an error.
        body: Body without chunk framing.
        is_whole: Whether it is complete; always False if it ends with the connection.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    is_whole: bool


def responses(data: bytes, *methods: str) -> Iterator[Response]:
    """Parse responses, strictly.

    Args:
        data: Output of a server.
        methods: Methods of the requests; GET for further ones.
    """
    asked = iter(methods)
    while data:
        head, ended, data = data.partition(b"\r\n\r\n")
        assert ended, f"half a head: {head!r}"
        line, *fields = head.split(b"\r\n")
        version, status, _ = line.split(b" ", 2)
        assert version == b"HTTP/1.1"
        pairs = [field.split(b": ", 1) for field in fields]
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in pairs}
        assert len(headers) == len(pairs), "every header should be there once"
        found = Response(int(status), headers, b"", is_whole=True)
        if found.status == 100:
            yield found
            continue
        if next(asked, "GET") == "HEAD" or found.status in (204, 304):
            if headers.get("connection") == "close":  # the method of what is refused may not be known
                found.body, data = data, b""
        elif "transfer-encoding" in headers:
            assert "content-length" not in headers
            found.is_whole = False
            while data and not found.is_whole:
                size, _, rest = data.partition(b"\r\n")
                length = int(size, 16)
                if len(rest) < length + 2:
                    data = b""
                    break
                assert rest[length : length + 2] == b"\r\n"
                found.body, data = found.body + rest[:length], rest[length + 2 :]
                found.is_whole = length == 0
        elif "content-length" in headers:
            length = int(headers["content-length"])
            found.body, data = data[:length], data[length:]
            found.is_whole = len(found.body) == length
        else:
            found.body, data, found.is_whole = data, b"", False
        yield found
