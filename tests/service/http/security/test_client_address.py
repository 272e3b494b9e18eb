"""`service/http/security/client_address.py`: only addresses that trusted proxies added are used."""

from ipaddress import ip_network

import pytest

from service.http.security.client_address import FORWARDED, X_FORWARDED_FOR, TrustedProxies

PROXY = "10.0.0.1"
TRUSTED = [ip_network(text) for text in ("10.0.0.0/8", "127.0.0.1", "fd00::/8")]


def x_forwarded_for(*lines: str, peer: str = PROXY) -> str:
    """Return the client of a request with lines of X-Forwarded-For."""
    return TrustedProxies(TRUSTED).client(peer, [(b"x-forwarded-for", line.encode()) for line in lines])


def forwarded(*lines: str, peer: str = PROXY) -> str:
    """Return the client of a request with lines of Forwarded, where the proxies are known to write it."""
    headers = [(b"forwarded", line.encode("latin-1")) for line in lines]
    return TrustedProxies(TRUSTED, FORWARDED).client(peer, headers)


@pytest.mark.parametrize(
    ("line", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        (" \t192.0.2.7\t ", "192.0.2.7"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:4711", "192.0.2.7"),
    ],
)
def test_addresses_are_parsed_and_normalized(line: str, client: str) -> None:
    """With or without port, IPv6 with or without brackets."""
    assert x_forwarded_for(line) == client
    assert forwarded(f'for="{line.strip()}"') == client


@pytest.mark.parametrize(
    ("line", "client"),
    [
        ("for=192.0.2.7", "192.0.2.7"),
        ("For=192.0.2.7", "192.0.2.7"),
        ("for=192.0.2.7;proto=https;by=203.0.113.43", "192.0.2.7"),
        ("proto=https ; for=192.0.2.7", "192.0.2.7"),
        ('by="[fd00::1]";for="[2001:db8::7]:4711";host="example.com:80"', "2001:db8::7"),
        (r'for="192.0.2.\7"', "192.0.2.7"),
        ("for=192.0.2.7:4711", "192.0.2.7"),  # quotation marks belong here, and are often left out
        ("for=[2001:db8::7]", "2001:db8::7"),
        ('for="192.0.2.7:_port"', "192.0.2.7"),
        ("for=198.51.100.1, for=192.0.2.7", "192.0.2.7"),
    ],
)
def test_forwarded_follows_rfc_7239(line: str, client: str) -> None:
    """Parameters in any order, names in any case, quoted strings with escapes."""
    assert forwarded(line) == client


@pytest.mark.parametrize(
    "line",
    [
        "",
        ",",
        "unknown",
        "localhost",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.07",
        "192.0.2.7.8",
        "192.0.2.7:",
        "192.0.2.7:port",
        "192.0.2.7:80:80",
        "192.0.2.7 192.0.2.8",
        "192.0.2.7/24",
        "3221225991",
        "0xc0000207",
        "[192.0.2.7]",
        "[2001:db8::7",
        "2001:db8::7]",
        "[2001:db8::7]junk",
        "[2001:db8::7]:80:80",
        "2001:db8:::7",
        "fe80::1%eth0",
        "[fe80::1%25]",
        "١٩٢.0.2.7",
        "192.0.2.7\x00",
        "192.0.2.7\n",
        "for=192.0.2.7",
        "for=",
        "=",
        "9" * 30_000,
        "a" * 30_000,
        ":" * 30_000,
    ],
)
def test_invalid_addresses_are_ignored(line: str) -> None:
    """The client is then the proxy."""
    assert x_forwarded_for(line) == PROXY


@pytest.mark.parametrize(
    "line",
    [
        "",
        "192.0.2.7",
        "for=unknown",
        "for=_hidden",
        'for="_hidden"',
        "for",
        "for=",
        'for="',
        'for="192.0.2.7',
        'for="192.0.2.7\\"',
        "for=192.0.2.7;",
        "for=192.0.2.7;;proto=http",
        "for=192.0.2.7 proto=http",
        "for = 192.0.2.7",
        'for="192.0.2.7"junk',
        "for=192.0.2.7;for=192.0.2.8",
        "xfor=192.0.2.7",
        "proto=https",
        'host="for=192.0.2.7"',
        'host="x;for=192.0.2.7"',
        'host="x, for=192.0.2.7"',
        'host="x, for=192.0.2.7;by=";proto="http"',
        r'host="x\", for=192.0.2.7;by=\"y"',
        "for=" + '"\\' * 15_000,
        "a=a;" * 8_000,
        'a="' * 8_000,
    ],
)
def test_invalid_elements_of_forwarded_are_ignored(line: str) -> None:
    assert forwarded(line) == PROXY


@pytest.mark.parametrize("line", ["192.0.2.7", "127.0.0.1", "10.0.0.2"])
@pytest.mark.parametrize("peer", ["198.51.100.1", "2001:db8::1", "127.0.0.2", "-", ""])
def test_headers_of_an_untrusted_peer_are_ignored(peer: str, line: str) -> None:
    assert x_forwarded_for(line, peer=peer) == peer
    assert forwarded(f"for={line}", peer=peer) == peer


@pytest.mark.parametrize(
    "invented", ["203.0.113.9", "127.0.0.1", "10.0.0.9", "unknown", 'for="', '"', ",,,", "é"]
)
def test_addresses_before_the_one_added_by_the_proxy_are_ignored(invented: str) -> None:
    """In the same line or an earlier one, also with an open quotation mark."""
    for headers in ([f"{invented}, 192.0.2.7"], [invented, "192.0.2.7"]):
        assert x_forwarded_for(*headers) == "192.0.2.7"
    for headers in ([f"for={invented}, for=192.0.2.7"], [f'for="{invented}', "for=192.0.2.7"]):
        assert forwarded(*headers) == "192.0.2.7"


def test_the_client_is_the_last_untrusted_address() -> None:
    assert x_forwarded_for("203.0.113.9, 192.0.2.7, 10.0.0.3", "fd00::2,127.0.0.1") == "192.0.2.7"
    assert forwarded('for=203.0.113.9, for=192.0.2.7, for="10.0.0.3:80"', 'for="[fd00::2]"') == "192.0.2.7"


def test_if_all_addresses_are_trusted_the_first_is_the_client() -> None:
    assert x_forwarded_for("10.0.0.7, 10.0.0.2") == "10.0.0.7"


def test_an_invalid_hop_ends_the_search() -> None:
    assert x_forwarded_for("192.0.2.7, unknown, 10.0.0.2") == "10.0.0.2"
    assert forwarded("for=192.0.2.7, proto=https, for=10.0.0.2") == "10.0.0.2"


def test_empty_elements_are_ignored() -> None:
    assert x_forwarded_for(" , 192.0.2.7,, ,10.0.0.2, ") == "192.0.2.7"
    assert x_forwarded_for("192.0.2.7", "") == "192.0.2.7"


def test_the_number_of_hops_is_limited() -> None:
    """Counted from the end."""
    many = ", ".join(["10.0.0.2"] * 3_000)

    assert x_forwarded_for("192.0.2.7, " + ", ".join(["10.0.0.2"] * 31)) == "192.0.2.7"
    assert x_forwarded_for("192.0.2.7, " + many) == "10.0.0.2"
    assert x_forwarded_for("192.0.2.7", *["10.0.0.2"] * 3_000) == "10.0.0.2"
    assert x_forwarded_for("," * 30_000 + "192.0.2.7") == "192.0.2.7"


def test_only_the_configured_header_is_read() -> None:
    """nginx forwards a client's Forwarded unchanged."""
    headers = [(b"forwarded", b"for=203.0.113.9"), (b"x-forwarded-for", b"192.0.2.7")]

    assert TrustedProxies(TRUSTED).client(PROXY, headers) == "192.0.2.7"
    assert TrustedProxies(TRUSTED, X_FORWARDED_FOR).client(PROXY, headers[:1]) == PROXY
    assert TrustedProxies(TRUSTED, FORWARDED).client(PROXY, headers) == "203.0.113.9"
    assert TrustedProxies(TRUSTED, FORWARDED).client(PROXY, headers[1:]) == PROXY


def test_without_the_header_the_client_is_the_peer() -> None:
    assert TrustedProxies(TRUSTED).client(PROXY, [(b"host", b"test")]) == PROXY


@pytest.mark.parametrize(
    ("address", "is_trusted"),
    [
        ("10.255.0.1", True),
        ("11.0.0.1", False),
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("fd12::1", True),
        ("fe80::1", False),
        ("::ffff:10.0.0.1", True),
        ("::ffff:11.0.0.1", False),
        ("fd00::1%eth0", True),
        ("10.0.0.1 ", False),
        ("-", False),
        ("", False),
    ],
)
def test_trusted_networks_contain_their_addresses(address: str, is_trusted: bool) -> None:
    """Also as IPv4-mapped IPv6 addresses."""
    assert TrustedProxies(TRUSTED).contains(address) == is_trusted


def test_no_proxy_is_trusted_by_default() -> None:
    assert not TrustedProxies([])
    assert TrustedProxies(TRUSTED)
    assert TrustedProxies([]).client("127.0.0.1", [(b"x-forwarded-for", b"192.0.2.7")]) == "127.0.0.1"
