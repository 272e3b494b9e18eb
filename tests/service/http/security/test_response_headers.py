"""`service/http/security/response_headers.py`: security headers."""

import pytest

from service.http.security.response_headers import DOCUMENT_HEADERS, constant_headers


@pytest.mark.parametrize("cors", [False, True])
def test_cross_origin_resource_policy_depends_on_cors(cors: bool) -> None:
    policy = b"cross-origin" if cors else b"same-origin"

    found = constant_headers(tls=False, cors=cors)

    assert found == ((b"x-content-type-options", b"nosniff"), (b"cross-origin-resource-policy", policy))


def test_hsts_is_sent_only_over_tls() -> None:
    assert (b"strict-transport-security", b"max-age=31536000") in constant_headers(tls=True, cors=False)


def test_constant_and_document_headers_do_not_overlap() -> None:
    constant = {name.decode() for name, _ in constant_headers(tls=True, cors=True)}

    assert constant.isdisjoint(name.lower() for name in DOCUMENT_HEADERS)
