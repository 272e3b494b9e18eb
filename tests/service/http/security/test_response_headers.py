"""`service/http/security/response_headers.py`: constants, word for word."""

import pytest

from service.http.security.response_headers import DOCUMENT_HEADERS, constant_headers


@pytest.mark.parametrize("cors", [False, True])
def test_other_origins_load_answers_only_where_they_may_read_them(cors: bool) -> None:
    """
    A picture in a page of another origin is refused by the browser, unless CORS is on.
    """
    policy = b"cross-origin" if cors else b"same-origin"

    found = constant_headers(tls=False, cors=cors)

    assert found == ((b"x-content-type-options", b"nosniff"), (b"cross-origin-resource-policy", policy))


def test_browsers_are_told_to_come_over_tls_only_over_tls() -> None:
    """
    Without TLS they would have to ignore it.
    """
    assert (b"strict-transport-security", b"max-age=31536000") in constant_headers(tls=True, cors=False)


def test_no_header_is_both_constant_and_a_document_s() -> None:
    """
    It would come twice.
    """
    constant = {name.decode() for name, _ in constant_headers(tls=True, cors=True)}

    assert constant.isdisjoint(name.lower() for name in DOCUMENT_HEADERS)
