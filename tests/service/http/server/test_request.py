"""`service/http/server/request.py`: validation of heads by RFC 9112."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.server.request import Head, HeadCache, Headers, Refused, Request
from tests.examples import examples

HOST = (b"host", b"a")


def parsed(
    target: bytes = b"/", *headers: tuple[bytes, bytes], method: bytes = b"GET", version: str = "1.1"
) -> Head:
    listed: Headers = list(headers) if headers else [HOST]
    return HeadCache().get(method, target, version, True, listed)


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        (b"/", "/", b"/", b""),
        (b"/a/b?c=d", "/a/b", b"/a/b", b"c=d"),
        (b"/a%20b%2Fc?%20", "/a b/c", b"/a%20b%2Fc", b"%20"),
        (b"/%ff", "/\ufffd", b"/%ff", b""),
        (b"/%", "/%", b"/%", b""),
        (b"//a/b", "//a/b", b"//a/b", b""),
        (b"/a?b?c", "/a", b"/a", b"b?c"),
        (b"/a#b", "/a", b"/a", b""),
        (b"*", "*", b"*", b""),
        (b"http://h/a?b", "/a", b"/a", b"b"),
        (b"http://h", "/", b"/", b""),
    ],
)
def test_target_is_split_into_path_and_query(target: bytes, path: str, raw_path: bytes, query: bytes) -> None:
    request = parsed(target)

    assert (request.path, request.raw_path, request.query) == (path, raw_path, query)


@pytest.mark.parametrize("target", [b"a", b"http://", b"a/b", b"http://a b/"])
def test_invalid_targets_are_refused(target: bytes) -> None:
    with pytest.raises(Refused) as caught:
        parsed(target)

    assert caught.value.problem.kind == "bad-target"


@examples(200)
@given(target=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40))
def test_arbitrary_targets_are_parsed_or_refused(target: str) -> None:
    try:
        request = parsed(target.encode())
    except Refused:
        return
    assert request.path.startswith(("/", "*"))


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://h/", b"h"),
        (b"http://h:81/", b"h:81"),
        (b"https://u:p@h/", b"h"),
        (b"http://[::1]/", b"[::1]"),
        (b"http://[::1]:81/", b"[::1]:81"),
        (b"/", b"a"),
    ],
)
def test_host_of_an_absolute_target_replaces_the_header(target: bytes, host: bytes) -> None:
    """RFC 9112, section 3.2.2."""
    request = parsed(target)

    assert request.first_headers[b"host"] == host
    assert request.headers == [(b"host", host)]


@pytest.mark.parametrize(
    ("headers", "version", "is_good"),
    [
        ([HOST], "1.1", True),
        ([HOST, HOST], "1.1", False),
        ([(b"a", b"b")], "1.1", False),
        ([(b"a", b"b")], "1.0", True),
        ([HOST, HOST], "1.0", False),
        ([(b"host", b"")], "1.1", True),
    ],
)
def test_host_is_required_once(headers: Headers, version: str, is_good: bool) -> None:
    """With HTTP/1.0 it may be absent."""
    if is_good:
        parsed(b"/", *headers, version=version)
        return
    with pytest.raises(Refused) as caught:
        parsed(b"/", *headers, version=version)
    assert caught.value.problem.kind == "bad-host"


@pytest.mark.parametrize("version", ["0.9", "1.2", "2.0", "9.9"])
def test_other_versions_are_refused(version: str) -> None:
    with pytest.raises(Refused) as caught:
        parsed(version=version)

    assert caught.value.problem.status == 505


def test_connect_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        parsed(b"h:443", method=b"CONNECT")

    assert caught.value.problem.kind == "bad-target"


@pytest.mark.parametrize("codings", [[b"chunked"], [b"Chunked"], [b" chunked "]])
def test_chunked_has_no_content_length(codings: list[bytes]) -> None:
    request = Request(parsed(b"/", HOST, *[(b"transfer-encoding", coding) for coding in codings]), 1.5)

    assert request.head.content_length is None
    assert request.missing is None


@pytest.mark.parametrize(
    "codings",
    [[b"gzip"], [b"gzip, chunked"], [b"chunked", b"chunked"], [b"chunked;a=b"], [b""], [b"x" * 999]],
)
def test_other_transfer_codings_are_refused(codings: list[bytes]) -> None:
    with pytest.raises(Refused) as caught:
        parsed(b"/", HOST, *[(b"transfer-encoding", coding) for coding in codings])

    assert caught.value.problem.status == 501
    assert len(caught.value.detail) < 150


def test_transfer_coding_with_http_1_0_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        parsed(b"/", HOST, (b"transfer-encoding", b"chunked"), version="1.0")

    assert caught.value.problem.kind == "bad-framing"


@pytest.mark.parametrize(("value", "length"), [(b"5", 5), (b"5 ", 5), (b"0", 0), (b"007", 7)])
def test_content_length_is_parsed(value: bytes, length: int) -> None:
    request = Request(parsed(b"/", HOST, (b"content-length", value)), 1.5)

    assert request.head.content_length == request.missing == length
    request.received = length
    assert request.missing == 0


@pytest.mark.parametrize(
    ("version", "value", "expects"),
    [
        ("1.1", b"100-continue", True),
        ("1.1", b"100-Continue", True),
        ("1.1", b"other", False),
        ("1.0", b"100-continue", False),
    ],
)
def test_expect_is_ignored_with_http_1_0(version: str, value: bytes, expects: bool) -> None:
    """RFC 9110, section 10.1.1."""
    assert parsed(b"/", HOST, (b"expect", value), version=version).expects_continue is expects


def test_http_1_0_is_not_kept_alive() -> None:
    assert not parsed(version="1.0").keep_alive
    assert parsed().keep_alive


def test_first_of_repeated_headers_is_used() -> None:
    request = parsed(b"/", HOST, (b"a", b"1"), (b"a", b"2"))

    assert request.first_headers[b"a"] == b"1"
    assert request.headers == [HOST, (b"a", b"1"), (b"a", b"2")]


def test_only_small_heads_are_cached() -> None:
    """A limited number of them, and none with keys or cookies."""
    heads = HeadCache()
    for extra in ([(b"a", b"")] * 24, [(b"a", b"x" * 2048)], [(b"X-API-Key", b"k")], [(b"Cookie", b"c")]):
        heads.get(b"GET", b"/", "1.1", True, [HOST, *extra])
    assert len(heads._heads) == 0

    for number in range(300):
        heads.get(b"GET", b"/%d" % number, "1.1", True, [HOST])

    assert len(heads._heads) == 256
    one = heads.get(b"GET", b"/299", "1.1", True, [HOST])
    assert heads.get(b"GET", b"/299", "1.1", True, [HOST]) is one
