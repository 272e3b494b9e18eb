"""`service/http/security/csrf.py`: requests from pages of other origins are refused."""

import pytest

from service.core.errors import Forbidden
from service.http.security import csrf
from service.http.security.hosts import KnownHosts

HOSTS = KnownHosts("127.0.0.1", ["inkling.example"])
HOST = (b"host", b"127.0.0.1:8000")
OWN = (b"origin", b"http://127.0.0.1:8000")
FOREIGN = (b"origin", b"http://evil.example")


@pytest.mark.parametrize(
    "headers",
    [
        [HOST],
        [HOST, OWN],
        [HOST, OWN, (b"sec-fetch-site", b"same-origin")],
        [HOST, (b"sec-fetch-site", b"none")],
        [(b"host", b"inkling.example"), (b"origin", b"https://inkling.example")],
    ],
)
def test_pages_of_the_service_and_other_clients_are_allowed(headers: list[tuple[bytes, bytes]]) -> None:
    csrf.check(headers, HOSTS)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ([], "Host should be an address"),
        ([(b"host", b"evil.example:8000")], "Host should be an address"),
        ([(b"host", b"evil.example:8000"), (b"origin", b"http://evil.example:8000")], "Host should be"),
        ([HOST, HOST], "Host should be"),
        ([HOST, FOREIGN], "Origin should be the service's own; got 'http://evil.example'"),
        ([HOST, (b"origin", b"null")], "got 'null'"),
        ([HOST, (b"origin", b"")], "got ''"),
        ([HOST, (b"origin", b"http://127.0.0.1:3000")], "got 'http://127.0.0.1:3000'"),
        ([HOST, OWN, FOREIGN], "Origin should be"),
        ([HOST, FOREIGN, OWN], "Origin should be"),
        ([HOST, FOREIGN, (b"sec-fetch-site", b"same-origin")], "Origin should be"),
        ([HOST, (b"sec-fetch-site", b"cross-site")], "Sec-Fetch-Site should be same-origin or none"),
        ([HOST, (b"sec-fetch-site", b"same-site")], "got 'same-site'"),
        ([HOST, (b"sec-fetch-site", b"")], "Sec-Fetch-Site should be"),
        ([HOST, OWN, (b"sec-fetch-site", b"cross-site")], "Sec-Fetch-Site should be"),
    ],
)
def test_pages_of_other_origins_are_refused(headers: list[tuple[bytes, bytes]], words: str) -> None:
    with pytest.raises(Forbidden) as caught:
        csrf.check(headers, HOSTS)

    assert words in str(caught.value)
