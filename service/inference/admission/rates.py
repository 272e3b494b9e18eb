"""Rate limits as token buckets: the arithmetic, without storage.

The state of a bucket is one integer: the time at which it will be full again. Spending tokens moves that time
into the future; as time passes, the bucket refills without any work. The state of a full bucket is in the
past, so 0 is a valid initial state.
"""

import re
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from service.core.errors import RateExceeded

NS = 1_000_000_000
"""Nanoseconds in a second."""

MAX_FILL_NS = 86_400 * NS
"""Maximum time in which an empty bucket fills: one day."""

_MAX_PER_S = 1_000_000
_MAX_BURST = 1_000_000_000
_WINDOWS_S = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)/(s|min|h|d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket's refill rate and capacity.

    Attributes:
        amount: Tokens added per window, >= 1.
        window_ns: Length of the window in nanoseconds.
        burst: Capacity of the bucket in tokens, >= 1.
        fill_ns: Time in nanoseconds in which an empty bucket fills, at most a day.
        spare_ns: Time in which all tokens but one fill: a bucket that needs longer holds no token.
    """

    amount: int
    window_ns: int
    burst: int
    fill_ns: int
    spare_ns: int

    @classmethod
    def of(cls, per_s: Fraction, burst: int) -> "Rate":
        """Create a rate.

        Args:
            per_s: Tokens added per second, above 0 and at most 1,000,000.
            burst: Capacity in tokens, 1 to 1,000,000,000.

        Raises:
            ValueError: A value is out of range, or an empty bucket would take more than a day to fill. The
                message is the part of a sentence after "should be".
        """
        if not 0 < per_s <= _MAX_PER_S:
            raise ValueError(
                f"above 0 and at most {_MAX_PER_S:,} per second; got {float(per_s):g} per second"
            )
        if not 1 <= burst <= _MAX_BURST:
            raise ValueError(f"a burst of 1 to {_MAX_BURST:,}; got {burst:,}")
        amount, window_ns = per_s.numerator, per_s.denominator * NS
        fill_ns = burst * window_ns // amount
        if fill_ns > MAX_FILL_NS:
            raise ValueError(f"a burst that refills within a day; got one that takes {fill_ns // NS:,} s")
        return cls(amount, window_ns, burst, fill_ns, fill_ns - window_ns // amount)

    @property
    def window_s(self) -> int:
        """Time in which an empty bucket fills, in whole seconds, rounded up; at least 1."""
        return max(1, -(-self.fill_ns // NS))

    def spend(self, full_at: int, now: int, tokens: int) -> int | None:
        """Take tokens from a bucket that holds at least one.

        A request may take more tokens than the bucket holds: the bucket is then in debt, and refuses until it
        holds a token again. In any t seconds at most 2 * burst + rate * t tokens are taken in this way, and
        at most burst + rate * t if tokens are taken one by one.

        Args:
            full_at: State of the bucket: the time at which it will be full, in nanoseconds.
            now: Current time in nanoseconds, of the same clock.
            tokens: Number of tokens, 0 to `burst`; 0 only checks that the bucket holds one.

        Returns:
            The new state; None if the bucket holds less than one token and is unchanged.
        """
        missing = full_at - now
        if missing <= 0:
            return now + tokens * self.window_ns // self.amount
        if missing > self.spare_ns:
            return None
        return full_at + tokens * self.window_ns // self.amount

    def left(self, full_at: int, now: int) -> int:
        """Return how many whole tokens the bucket holds, 0 to `burst`."""
        return max(0, self.fill_ns - max(0, full_at - now)) * self.amount // self.window_ns

    def wait_ns(self, full_at: int, now: int) -> int:
        """Return the time in nanoseconds until the bucket holds a token; 0 if it holds one."""
        return max(0, self.refill_ns(full_at, now) - self.spare_ns)

    def refill_ns(self, full_at: int, now: int) -> int:
        """Return the time in nanoseconds until the bucket is full."""
        return max(0, full_at - now)


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The rate limits of one client.

    Attributes:
        requests: Rate of requests; None is no limit.
        images: Rate of images; None is no limit.
        is_limited: Whether there is any limit.
        policy: Value of the header field RateLimit-Policy.
    """

    requests: Rate | None = None
    images: Rate | None = None
    is_limited: bool = field(init=False, compare=False)
    policy: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Compute the fields that every request needs."""
        object.__setattr__(self, "is_limited", self.requests is not None or self.images is not None)
        rates = (("requests", self.requests), ("images", self.images))
        policies = [policy(unit, rate.burst, rate.window_s) for unit, rate in rates if rate is not None]
        object.__setattr__(self, "policy", ", ".join(policies))


def policy(unit: str, quota: int, window_s: int) -> str:
    """Return the policy of one rate for the header field RateLimit-Policy."""
    quota_unit = "" if unit == "requests" else f';qu="{unit}"'  # requests are the default quota unit
    return f'"{unit}";q={quota}{quota_unit};w={window_s}'


UNLIMITED = RateLimits()


@lru_cache(256)  # many lines of a key file have the same rate
def parse(text: str, burst: int | None = None) -> Rate:
    """Parse a rate such as `100/s`, `6000/min`, `1.5/s`, `10/h` or `500/d`.

    Args:
        text: Number and unit of time.
        burst: Capacity of the bucket in tokens; None is the number in `text`, rounded up.

    Raises:
        ValueError: The text is not a rate, or as `Rate.of`; the message is the part of a sentence after
            "should be".
    """
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError("a number per s, min, h or d, such as 100/s")
    number = Fraction(match[1])
    return Rate.of(number / _WINDOWS_S[match[2]], max(1, -(-number // 1)) if burst is None else burst)


def per_second(amount: float | None, burst: int | None) -> Rate | None:
    """Return the rate of a pair of settings.

    Args:
        amount: Tokens per second; None is no limit.
        burst: Capacity in tokens; None is that of one second, rounded up, and at least 1.

    Raises:
        ValueError: As `Rate.of`; or a burst is given without a rate.
    """
    if amount is None:
        if burst is not None:
            raise ValueError("set together with a rate; got a burst alone")
        return None
    number = Fraction(str(amount))
    return Rate.of(number, max(1, -(-number // 1)) if burst is None else burst)


def rate_exceeded(rate: Rate, unit: str, full_at: int, now: int) -> RateExceeded:
    """Return the error for a bucket that holds no token."""
    return RateExceeded(rate.burst, unit, rate.window_s, rate.wait_ns(full_at, now) / 1e9)
