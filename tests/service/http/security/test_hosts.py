"""`service/http/security/hosts.py`: known hosts and own origins."""

import pytest

from service.core.errors import Forbidden
from service.http.security.hosts import KnownHosts

ALONE = KnownHosts("127.0.0.1")
NAMED = KnownHosts("0.0.0.0", ["inkling.example", "door.example:8443"])


@pytest.mark.parametrize(
    "host",
    [
        b"127.0.0.1:8000",
        b"127.0.0.1",
        b"127.9.9.9:1",
        b"[::1]:8000",
        b"[::1]",
        b"10.0.0.7:8000",
        b"0.0.0.0:8000",
        b"localhost",
        b"LocalHost:8000",
        b"localhost.:8000",
    ],
)
def test_addresses_and_localhost_are_always_known(host: bytes) -> None:
    assert ALONE.knows(host)
    assert NAMED.knows(host)
    ALONE.check(host)


@pytest.mark.parametrize(
    "host",
    [
        None,
        b"",
        b":8000",
        b"evil.example",
        b"evil.example:8000",
        b"127.0.0.1.evil.example",
        b"localhost.evil.example",
        b"127.0.0.1, evil.example",
        b"evil.example@127.0.0.1",
        b"127.0.0.1:port",
        b"127.0.0.1/evil",
        b"[::1",
        b"::1",
        b"[evil.example]",
        b"2130706433",
        b"0x7f.1",
        b"local host",
        b"\xff",
        b"a" * 30_000,
        b"inkling.example.evil.example",
        b"door.example",
        b"door.example:80",
    ],
)
def test_other_names_are_refused(host: bytes | None) -> None:
    with pytest.raises(Forbidden) as caught:
        NAMED.check(host)

    assert str(caught.value).startswith("Host should be an address, localhost, or a name that --allowed-host")
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("host", [b"inkling.example", b"INKLING.example:80", b"door.example:8443"])
def test_allowed_hosts_are_known(host: bytes) -> None:
    """Without a port, on every port."""
    assert NAMED.knows(host)
    assert not ALONE.knows(host)


def test_the_setting_host_is_known() -> None:
    assert KnownHosts("Inkling.internal").knows(b"inkling.internal:8000")


def test_every_path_checks_hosts_if_allowed_host_is_set() -> None:
    """Otherwise only management does."""
    assert NAMED.is_enforced
    assert not ALONE.is_enforced


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (b"http://127.0.0.1:8000", b"127.0.0.1:8000"),
        (b"http://[::1]:8000", b"[::1]:8000"),
        (b"http://localhost", b"localhost:80"),
        (b"http://localhost:80", b"localhost"),
        (b"https://localhost", b"localhost:443"),
        (b"https://localhost:8000", b"localhost:8000"),
        (b"https://inkling.example", b"127.0.0.1:8000"),
        (b"https://door.example:8443", b"127.0.0.1:8000"),
    ],
)
def test_own_origins(origin: bytes, host: bytes) -> None:
    assert NAMED.is_own(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (b"http://127.0.0.1:3000", b"127.0.0.1:8000"),
        (b"http://localhost:8000", b"127.0.0.1:8000"),
        (b"https://localhost", b"localhost:80"),
        (b"http://evil.example", b"127.0.0.1:8000"),
        (b"http://inkling.example:3000", b"inkling.example"),
        (b"https://door.example", b"door.example:8443"),
        (b"null", b"127.0.0.1:8000"),
        (b"", b"127.0.0.1:8000"),
        (b"127.0.0.1:8000", b"127.0.0.1:8000"),
        (b"file://", b"127.0.0.1:8000"),
        (b"http://127.0.0.1:8000/", b"127.0.0.1:8000"),
        (b"http://127.0.0.1:8000, http://evil.example", b"127.0.0.1:8000"),
        (b"http://evil.example@127.0.0.1:8000", b"127.0.0.1:8000"),
        (b"chrome-extension://127.0.0.1:8000", b"127.0.0.1:8000"),
    ],
)
def test_other_origins(origin: bytes, host: bytes) -> None:
    assert not NAMED.is_own(origin, host)


def test_an_invalid_allowed_host_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got 'http://a'"):
        KnownHosts("127.0.0.1", ["http://a"])
