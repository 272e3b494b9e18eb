import pytest

from service.core.errors import Forbidden, RateExceeded, Unauthenticated
from service.inference.admission import headers
from service.inference.admission.buckets import SpendResult
from service.inference.admission.rates import NS, UNLIMITED, RateLimits, parse


def test_a_response_has_the_remaining_tokens() -> None:
    """Whole tokens, and the seconds until the bucket is full, rounded up."""
    limits = RateLimits(parse("10/s"), parse("600/min"))
    now = 10**15

    fields = headers.limit_fields(limits, SpendResult("", now, now + 150_000_000, now + 90 * NS))

    assert fields == [
        ("ratelimit-policy", '"requests";q=10;w=1, "images";q=600;qu="images";w=60'),
        ("ratelimit", '"requests";r=8;t=1, "images";r=0;t=90'),
    ]


def test_a_response_without_a_rate_has_no_fields() -> None:
    assert headers.limit_fields(UNLIMITED, SpendResult("", 0, 0, 0)) == []


@pytest.mark.parametrize(
    ("error", "value"),
    [
        (Unauthenticated("none"), 'Bearer realm="inkling"'),
        (Unauthenticated("an unknown one", is_invalid=True), 'Bearer realm="inkling", error="invalid_token"'),
    ],
)
def test_a_missing_key_gets_a_challenge(error: Unauthenticated, value: str) -> None:
    """A wrong one gets another challenge."""
    assert headers.error_fields(error) == [("www-authenticate", value)]


@pytest.mark.parametrize("wait_s", [0.001, 0.9, 1.0, 10.0, 3600.0])
def test_a_refused_client_gets_the_time_to_wait(wait_s: float) -> None:
    """In whole seconds, never too early, at most a quarter late; both fields agree."""
    fields = dict(headers.error_fields(RateExceeded(100, "images", 1, wait_s)))

    after = int(fields["retry-after"])
    assert wait_s <= after <= 1.25 * wait_s + 1
    assert fields["ratelimit-policy"] == '"images";q=100;qu="images";w=1'
    assert fields["ratelimit"] == f'"images";r=0;t={after}'


def test_waits_are_jittered() -> None:
    """So that refused clients do not all retry at once."""
    error = RateExceeded(100, "requests", 1, 1000.0)

    assert len({dict(headers.error_fields(error))["retry-after"] for _ in range(50)}) > 1


@pytest.mark.parametrize(
    ("shortest_s", "possible"), [(0, range(1, 4)), (0.2, range(1, 4)), (1, range(1, 4)), (4.1, range(5, 12))]
)
def test_retry_after_is_random(shortest_s: float, possible: range) -> None:
    """
    From the shortest delay to twice that plus one; a value is missing in 1,000 draws with probability 1e-66.
    """
    drawn = {headers.retry_after_s(shortest_s) for _ in range(1000)}

    assert drawn == set(possible)


def test_other_errors_have_no_fields() -> None:
    assert headers.error_fields(Forbidden("It should", "not")) == []
