"""`service/http/security/cors.py`: compared with the middleware of Starlette."""

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


def request(origin: bytes = PAGE, method: bytes = b"POST", **more: str) -> dict[bytes, bytes]:
    """Return the headers of a preflight."""
    found = {b"origin": origin, b"access-control-request-method": method}
    return found | {
        f"access-control-request-{name}".replace("_", "-").encode(): value.encode()
        for name, value in more.items()
    }


def test_without_origins_cors_is_off() -> None:
    assert not NONE.is_on
    assert NONE.headers(PAGE) == NONE.headers(None) == ()
    assert NONE.lines(PAGE) == b""
    assert NONE.preflight("OPTIONS", PATH, request()) is None


def test_a_listed_origin_is_allowed() -> None:
    """Responses vary with the origin."""
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
def test_an_unlisted_origin_is_not_allowed(origin: bytes | None) -> None:
    """Only the exact text matches; it is not repeated in the response."""
    assert LISTED.headers(origin) == ((b"vary", b"Origin"),)


@pytest.mark.parametrize("origin", [None, b"null", PAGE, b"\r\nx: y"])
def test_with_a_star_all_responses_are_the_same(origin: bytes | None) -> None:
    """Also for the origin `null`."""
    found = dict(EVERY.headers(origin))

    assert found[b"access-control-allow-origin"] == found[b"timing-allow-origin"] == b"*"
    assert b"vary" not in found
    assert b"access-control-allow-credentials" not in found


@pytest.mark.parametrize("policy", [LISTED, EVERY])
@pytest.mark.parametrize("origin", [None, PAGE, OTHER])
def test_lines_equal_headers(policy: CorsPolicy, origin: bytes | None) -> None:
    lines = policy.lines(origin).split(b"\r\n")

    assert lines.pop() == b""
    assert tuple(tuple(line.split(b": ", 1)) for line in lines) == policy.headers(origin)


def test_a_preflight_lists_methods_and_headers() -> None:
    headers = LISTED.preflight("OPTIONS", PATH, request(headers="content-type,authorization,x-api-key"))
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
        ("GET", request()),
        ("POST", request()),
        ("OPTIONS", {b"origin": PAGE}),
        ("OPTIONS", {b"access-control-request-method": b"POST"}),
        ("OPTIONS", {}),
    ],
)
def test_other_requests_are_no_preflight(method: str, headers: Mapping[bytes, bytes]) -> None:
    assert LISTED.preflight(method, PATH, headers) is None


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        (request(OTHER), "Origin should be one that --cors-origin names; got 'https://page.example:8443'."),
        (request(b"null"), "got 'null'"),
        (
            request(method=b"DELETE"),
            "Access-Control-Request-Method should be one of GET, HEAD, POST; got 'DE",
        ),
        (request(method=b"post"), "got 'post'"),
        (request(headers="content-type, x-evil"), "should be among accept, accept-language"),
        (request(headers="*"), "got '*'"),
        (request(headers="cookie"), "got 'cookie'"),
    ],
)
def test_a_preflight_is_refused_with_the_reason(headers: Mapping[bytes, bytes], words: str) -> None:
    with pytest.raises(Forbidden) as caught:
        LISTED.preflight("OPTIONS", PATH, headers)

    assert words in str(caught.value)


@pytest.mark.parametrize("policy", [LISTED, EVERY])
@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/repository/models/ink/load"])
def test_a_preflight_for_model_management_is_refused(policy: CorsPolicy, path: str) -> None:
    """Also from a listed origin."""
    with pytest.raises(Forbidden, match="own origin"):
        policy.preflight("OPTIONS", path, request())


def test_only_a_listed_origin_may_access_a_private_network() -> None:
    named = LISTED.preflight("OPTIONS", PATH, request(private_network="true"))

    assert (b"access-control-allow-private-network", b"true") in (named or ())
    with pytest.raises(Forbidden, match="private network"):
        EVERY.preflight("OPTIONS", PATH, request(private_network="true"))


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
def test_responses_allow_what_starlette_allows(origins: list[str], origin: bytes) -> None:
    """Starlette also exposes headers to origins that are not allowed."""
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
        request(),
        request(OTHER),
        request(b"null"),
        request(method=b"GET"),
        request(method=b"HEAD"),
        request(method=b"DELETE"),
        request(method=b"get"),
        request(headers="content-type"),
        request(headers="Content-Type , X-API-Key"),
        request(headers="x-evil"),
        request(headers="accept,x-evil"),
    ],
)
def test_preflights_are_allowed_as_by_starlette(origins: list[str], headers: dict[bytes, bytes]) -> None:
    """Refused with 403 instead of 400."""
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
