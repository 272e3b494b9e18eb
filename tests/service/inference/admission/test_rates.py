from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.inference.admission.rates import MAX_FILL_NS, NS, Rate, RateLimits, parse, per_second

START = 10**15

# Times between attempts, in nanoseconds, and how many tokens are asked for.
attempts = st.lists(st.tuples(st.integers(0, 3 * NS), st.integers(0, 20)), min_size=1, max_size=60)


class Model:
    """A token bucket with exact arithmetic and its level as the state."""

    def __init__(self, per_ns: Fraction, burst: int) -> None:
        self.per_ns = per_ns
        self.burst = burst
        self.level = Fraction(burst)

    def wait(self, ns: int) -> None:
        self.level = min(Fraction(self.burst), self.level + ns * self.per_ns)

    def spend(self, tokens: int) -> bool:
        if self.level < 1:
            return False
        self.level -= tokens
        return True


@given(attempts, st.sampled_from([1, 2, 5, 10, 100, 1000]), st.integers(1, 30))
def test_a_bucket_behaves_as_the_model(tried: list[tuple[int, int]], per_s: int, burst: int) -> None:
    """The same attempts succeed, and the same tokens are left."""
    rate = Rate.of(Fraction(per_s), burst)
    model = Model(Fraction(per_s, NS), burst)
    now, full_at = START, 0
    for ns, requested_output in tried:
        tokens = min(requested_output, burst)
        now += ns
        model.wait(ns)

        spent = rate.spend(full_at, now, tokens)

        assert (spent is not None) == model.spend(tokens)
        full_at = full_at if spent is None else spent
        assert rate.left(full_at, now) == max(0, int(model.level // 1))
        assert (rate.wait_ns(full_at, now) == 0) == (model.level >= 1)


@given(
    attempts,
    st.fractions(Fraction(1, 10), 1000, max_denominator=1000),
    st.integers(1, 30),
)
def test_no_client_gets_more_than_the_rate_and_two_bursts(
    tried: list[tuple[int, int]], per_s: Fraction, burst: int
) -> None:
    """In any time; with one token at a time, no more than the rate and one burst."""
    rate = Rate.of(per_s, burst)
    now, full_at, singles_full_at = START, 0, 0
    taken = singles = 0
    for ns, requested_output in tried:
        tokens = min(requested_output, burst)
        now += ns
        spent = rate.spend(full_at, now, tokens)
        if spent is not None:
            full_at, taken = spent, taken + tokens
        spent = rate.spend(singles_full_at, now, 1)
        if spent is not None:
            singles_full_at, singles = spent, singles + 1

    refilled = (now - START) * per_s / NS
    assert taken <= 2 * burst + refilled + 1
    assert singles <= burst + refilled + Fraction(1, 1000)


@given(st.fractions(Fraction(1, 100), 1_000_000, max_denominator=1000), st.integers(1, 500))
def test_after_the_wait_there_is_a_token(per_s: Fraction, burst: int) -> None:
    """A nanosecond earlier there is none."""
    rate = Rate.of(per_s, burst)
    full_at = rate.spend(0, START, burst)
    assert full_at is not None

    wait_ns = rate.wait_ns(full_at, START)

    assert wait_ns > 0
    assert rate.spend(full_at, START + wait_ns, 1) is not None
    assert rate.spend(full_at, START + wait_ns - 1, 1) is None


@pytest.mark.parametrize(
    ("text", "amount", "window_ns", "burst"),
    [
        ("100/s", 100, NS, 100),
        ("6000/min", 100, NS, 6000),
        ("1.5/s", 3, 2 * NS, 2),
        ("0.1/s", 1, 10 * NS, 1),
        ("10/h", 1, 360 * NS, 10),
        ("500/d", 5, 864 * NS, 500),
    ],
)
def test_a_rate_is_parsed(text: str, amount: int, window_ns: int, burst: int) -> None:
    """The burst is the number in the text, rounded up."""
    rate = parse(text)

    assert (rate.amount, rate.window_ns, rate.burst) == (amount, window_ns, burst)


@pytest.mark.parametrize(
    ("text", "burst", "words"),
    [
        ("100", None, "a number per s, min, h or d"),
        ("100 /s", None, "a number per"),
        ("-1/s", None, "a number per"),
        ("1e3/s", None, "a number per"),
        ("nan/s", None, "a number per"),
        ("\u0661/s", None, "a number per"),
        ("", None, "a number per"),
        ("0/s", None, "above 0 and at most 1,000,000 per second; got 0 per second"),
        ("1000001/s", None, "above 0 and at most 1,000,000 per second"),
        ("100/s", 0, "a burst of 1 to 1,000,000,000; got 0"),
        ("100/s", 10**9 + 1, "a burst of 1 to"),
        ("1/d", 2, "a burst that refills within a day; got one that takes 172,800 s"),
    ],
)
def test_an_invalid_rate_is_refused(text: str, burst: int | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(text, burst)


def test_settings_become_rates() -> None:
    """No limit without a rate; the default burst is that of one second."""
    assert per_second(None, None) is None
    assert per_second(2.5, None) == Rate.of(Fraction(5, 2), 3)
    assert per_second(2.5, 40) == Rate.of(Fraction(5, 2), 40)
    with pytest.raises(ValueError, match="got a burst alone"):
        per_second(None, 5)


def test_states_fit_into_64_bits() -> None:
    """The deepest debt of the slowest rate, after a century of uptime."""
    century_ns = 100 * 366 * 86_400 * NS

    assert century_ns + 2 * MAX_FILL_NS < 2**63


def test_limits_have_a_policy() -> None:
    """As in the header field: quota and window, and the unit unless it is requests."""
    assert not RateLimits().is_limited
    assert RateLimits().policy == ""
    assert RateLimits(parse("100/s")).policy == '"requests";q=100;w=1'
    limits = RateLimits(parse("600/min"), parse("0.5/s", 10))
    assert limits.is_limited
    assert limits.policy == '"requests";q=600;w=60, "images";q=10;qu="images";w=20'
