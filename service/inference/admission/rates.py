"""Rate limits as token buckets: the arithmetic, without storage.

The state of a bucket is one integer, the time at which it will be full again. Spending tokens moves that time
into the future; time passing refills the bucket without any work. A bucket that was never used, or not for
long enough, has a time in the past, so zero is a valid initial state.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

NS = 1_000_000_000
"""Nanoseconds in a second."""

MAX_FILL_NS = 86_400 * NS
"""Longest time that an empty bucket may take to fill: one day."""

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
    """

    amount: int
    window_ns: int
    burst: int
    fill_ns: int

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
        return cls(amount, window_ns, burst, fill_ns)

    @property
    def window_s(self) -> int:
        """Time in which an empty bucket fills, in whole seconds, rounded up; at least 1."""
        return max(1, -(-self.fill_ns // NS))

    def cost_ns(self, tokens: int) -> int:
        """Return the time in nanoseconds in which so many tokens are added."""
        return tokens * self.window_ns // self.amount

    def spend(self, full_at: int, now: int, tokens: int) -> int | None:
        """Take tokens from a bucket that holds at least one.

        More tokens than the bucket holds may be taken: the bucket then is in debt, and refuses until it holds
        a token again. In any t seconds at most 2 * burst + rate * t tokens are taken in this way, and at most
        burst + rate * t if tokens are taken one by one.

        Args:
            full_at: State of the bucket: the time at which it will be full, in nanoseconds.
            now: Current time in nanoseconds, of the same clock.
            tokens: How many, 0 to `burst`; 0 takes none, and only checks that there is one.

        Returns:
            The new state; None if the bucket holds less than one token, and is left as it is.
        """
        missing = self._missing_ns(full_at, now)
        if missing + self.cost_ns(1) > self.fill_ns:
            return None
        return now + missing + self.cost_ns(tokens)

    def left(self, full_at: int, now: int) -> int:
        """Return how many whole tokens the bucket holds, 0 to `burst`."""
        missing = self._missing_ns(full_at, now)
        return max(0, self.fill_ns - missing) * self.amount // self.window_ns

    def wait_ns(self, full_at: int, now: int) -> int:
        """Return the time in nanoseconds until the bucket holds a token; 0 if it holds one."""
        return max(0, self._missing_ns(full_at, now) + self.cost_ns(1) - self.fill_ns)

    def refill_ns(self, full_at: int, now: int) -> int:
        """Return the time in nanoseconds until the bucket is full."""
        return self._missing_ns(full_at, now)

    def _missing_ns(self, full_at: int, now: int) -> int:
        # Never above twice the fill time, unless the rate was changed or a killed process left half a record.
        return min(max(0, full_at - now), 2 * self.fill_ns)


@dataclass(frozen=True, slots=True)
class Limits:
    """The rate limits of one client.

    Attributes:
        requests: Of requests; None is no limit.
        images: Of images; None is no limit.
    """

    requests: Rate | None = None
    images: Rate | None = None

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return self.requests is not None or self.images is not None


UNLIMITED = Limits()


def parse(text: str, burst: int | None = None) -> Rate:
    """Parse a rate such as `100/s`, `6000/min`, `1.5/s`, `10/h` or `500/d`.

    Args:
        text: Number and unit of time.
        burst: Capacity of the bucket in tokens; None is what the text names, rounded up: 6000 for `6000/min`.

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
    """Return the rate of two settings.

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
