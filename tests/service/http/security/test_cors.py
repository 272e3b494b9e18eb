"""`service/http/security/cors.py`: who may read answers, beside Starlette's middleware."""

from collections.abc import Mapping

import pytest
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from service.core.errors import Forbidden
from service.http.security import cors
from service.http.security.cors import CorsPolicy

PAGE = b"https://page.example"
OTHER = b"https://page.example:8443"
LISTED = CorsPolicy([PAGE.decode(), "http://localhost:3000"])
EVERY = CorsPolicy(["*"])
NONE = CorsPolicy([])

PATH = "/v1/models/ink/predict"


def asked(origin: bytes = PAGE, method: bytes = b"POST", **more: str) -> dict[bytes, bytes]:
    """Return the headers of a preflight."""
    found = {b"origin": origin, b"access-control-request-method": method}
    return found | {
        f"access-control-request-{name}".replace("_", "-").encode(): value.encode()
        for name, value in more.items()
    }


def test_without_origins_there_is_no_header_and_no_preflight() -> None:
    """
    As if the module was not there.
    """
    assert not NONE.is_on
    assert NONE.headers(PAGE) == NONE.headers(None) == ()
    assert NONE.lines(PAGE) == b""
    assert NONE.preflight("OPTIONS", PATH, asked()) is None


def test_a_listed_origin_may_read() -> None:
    """
    It is named, headers beyond the usual ones can be read, and caches keep origins apart.
    """
    found = dict(LISTED.headers(PAGE))

    assert found[b"access-control-allow-origin"] == found[b"timing-allow-origin"] == PAGE
    assert found[b"vary"] == b"Origin"
    exposed = found[b"access-control-expose-headers"].decode().split(", ")
    assert {"x-request-id", "server-timing", "retry-after", "ratelimit", "ratelimit-policy"} <= set(exposed)
    assert {"etag", "inkling-model", "inkling-version", "inference-header-content-length"} <= set(exposed)
    assert b"access-control-allow-credentials" not in found


@pytest.mark.parametrize(
    "origin",
    [
        None,
        b"",
        b"null",
        OTHER,
        b"http://page.example",
        b"https://page.example.evil.example",
        b"https://evil.example/https://page.example",
        b"https://page.example, https://page.example",
        b"https://PAGE.example",
        b"*",
        b"\xff\x00",
    ],
)
def test_an_origin_that_is_not_listed_may_not_read(origin: bytes | None) -> None:
    """
    Nothing but its exact text counts; the answer says that it depends on the origin, and repeats nothing.
    """
    assert LISTED.headers(origin) == ((b"vary", b"Origin"),)


@pytest.mark.parametrize("origin", [None, b"null", PAGE, b"\r\nx: y"])
def test_with_a_star_all_answers_are_alike(origin: bytes | None) -> None:
    """
    A cache may give one page the answer of another; `null` is allowed here alone.
    """
    found = dict(EVERY.headers(origin))

    assert found[b"access-control-allow-origin"] == found[b"timing-allow-origin"] == b"*"
    assert b"vary" not in found
    assert b"access-control-allow-credentials" not in found


@pytest.mark.parametrize("policy", [LISTED, EVERY])
@pytest.mark.parametrize("origin", [None, PAGE, OTHER])
def test_lines_say_the_same_as_headers(policy: CorsPolicy, origin: bytes | None) -> None:
    """
    For answers that are written as bytes.
    """
    lines = policy.lines(origin).split(b"\r\n")

    assert lines.pop() == b""
    assert tuple(tuple(line.split(b": ", 1)) for line in lines) == policy.headers(origin)


def test_a_preflight_says_what_a_page_may_send() -> None:
    """
    Keys and JSON among it; for two hours.
    """
    headers = LISTED.preflight("OPTIONS", PATH, asked(headers="content-type,authorization,x-api-key"))
    found = dict(headers or ())

    assert found[b"access-control-allow-methods"] == b"GET, HEAD, POST"
    allowed = found[b"access-control-allow-headers"].decode().split(", ")
    assert {"authorization", "content-type", "inference-header-content-length", "x-api-key"} <= set(allowed)
    assert {"traceparent", "x-request-id"} <= set(allowed)
    assert found[b"access-control-max-age"] == b"7200"
    assert b"access-control-allow-origin" not in found  # `headers` says it, of every answer
    assert b"access-control-allow-private-network" not in found


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", asked()),
        ("POST", asked()),
        ("OPTIONS", {b"origin": PAGE}),
        ("OPTIONS", {b"access-control-request-method": b"POST"}),
        ("OPTIONS", {}),
    ],
)
def test_what_is_no_preflight_is_none(method: str, headers: Mapping[bytes, bytes]) -> None:
    """
    It is answered as without CORS.
    """
    assert LISTED.preflight(method, PATH, headers) is None


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        (asked(OTHER), "Origin should be one that --cors-origin names; got 'https://page.example:8443'."),
        (asked(b"null"), "got 'null'"),
        (asked(method=b"DELETE"), "Access-Control-Request-Method should be one of GET, HEAD, POST; got 'DE"),
        (asked(method=b"post"), "got 'post'"),
        (asked(headers="content-type, x-evil"), "should be among accept, accept-language"),
        (asked(headers="*"), "got '*'"),
        (asked(headers="cookie"), "got 'cookie'"),
    ],
)
def test_a_preflight_is_refused_with_the_reason(headers: Mapping[bytes, bytes], words: str) -> None:
    """
    A developer sees it in the browser's tools.
    """
    with pytest.raises(Forbidden) as caught:
        LISTED.preflight("OPTIONS", PATH, headers)

    assert words in str(caught.value)


@pytest.mark.parametrize("policy", [LISTED, EVERY])
@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/repository/models/ink/load"])
def test_no_page_may_manage_models(policy: CorsPolicy, path: str) -> None:
    """
    Not one of a listed origin either: CORS is for predictions.
    """
    with pytest.raises(Forbidden, match="own origin"):
        policy.preflight("OPTIONS", path, asked())


def test_only_a_named_origin_reaches_into_a_private_network() -> None:
    """
    A star is meant for public services; on a laptop it would open them to every page of the internet.
    """
    named = LISTED.preflight("OPTIONS", PATH, asked(private_network="true"))

    assert (b"access-control-allow-private-network", b"true") in (named or ())
    with pytest.raises(Forbidden, match="private network"):
        EVERY.preflight("OPTIONS", PATH, asked(private_network="true"))


async def _hello(scope: Scope, receive: Receive, send: Send) -> None:
    response = PlainTextResponse("hello", 405 if Request(scope).method == "OPTIONS" else 200)
    await response(scope, receive, send)


def _starlette(origins: list[str]) -> TestClient:
    middleware = CORSMiddleware(
        _hello,
        allow_origins=origins,
        allow_methods=cors.ALLOWED_METHODS,
        allow_headers=cors.ALLOWED_HEADERS,
        expose_headers=cors.EXPOSED_HEADERS,
        max_age=cors.MAX_AGE_S,
    )
    return TestClient(middleware)


PARITY = (
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-allow-methods",
    "access-control-max-age",
    "access-control-allow-credentials",
)


@pytest.mark.parametrize("origins", [["https://page.example", "http://localhost:3000"], ["*"]])
@pytest.mark.parametrize("origin", [PAGE, OTHER, b"http://localhost:3000", b"null", b"https://PAGE.example"])
def test_answers_allow_what_starlette_allows(origins: list[str], origin: bytes) -> None:
    """
    The same middleware with the same lists; it exposes headers to origins that may not read them, too.
    """
    theirs = _starlette(origins).get("/", headers={"Origin": origin.decode()}).headers

    ours = {name.decode(): value.decode() for name, value in CorsPolicy(origins).headers(origin)}

    if "access-control-allow-origin" in theirs:
        assert {name: ours.get(name) for name in PARITY} == {name: theirs.get(name) for name in PARITY}
    else:
        assert "access-control-allow-origin" not in ours
        assert "Origin" in theirs["vary"].split(", ")
        assert ours["vary"] == "Origin"


@pytest.mark.parametrize("origins", [["https://page.example"], ["*"]])
@pytest.mark.parametrize(
    "headers",
    [
        asked(),
        asked(OTHER),
        asked(b"null"),
        asked(method=b"GET"),
        asked(method=b"HEAD"),
        asked(method=b"DELETE"),
        asked(method=b"get"),
        asked(headers="content-type"),
        asked(headers="Content-Type , X-API-Key"),
        asked(headers="x-evil"),
        asked(headers="accept,x-evil"),
    ],
)
def test_preflights_are_granted_as_starlette_grants_them(
    origins: list[str], headers: dict[bytes, bytes]
) -> None:
    """
    And refused as it refuses them, with 403 in place of 400.
    """
    policy = CorsPolicy(origins)
    sent = {name.decode(): value.decode() for name, value in headers.items()}
    theirs = _starlette(origins).options("/", headers=sent)

    try:
        granted = policy.preflight("OPTIONS", "/", headers)
    except Forbidden:
        granted = None

    assert (granted is not None) == (theirs.status_code == 200)
    if granted is not None:
        ours = {name.decode(): value.decode() for name, value in granted}
        for name in ("access-control-allow-methods", "access-control-max-age"):
            assert ours[name] == theirs.headers[name]
        allowed = set(theirs.headers["access-control-allow-headers"].lower().split(", "))
        assert set(ours["access-control-allow-headers"].split(", ")) == allowed
