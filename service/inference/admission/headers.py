"""Header fields of admission and overload: `WWW-Authenticate`, `Retry-After`, `RateLimit*`.

The last two are those of the IETF draft "RateLimit header fields for HTTP"
(draft-ietf-httpapi-ratelimit-headers, revisions 08 to 10). Over gRPC they are sent as trailing metadata.
"""

import math
import random

from service.core.errors import CapacityError, RateExceeded, ServiceError, Unauthenticated
from service.inference.admission.buckets import SpendResult
from service.inference.admission.rates import NS, Rate, RateLimits, policy

Fields = list[tuple[str, str]]
"""Lower-case names, and values in ASCII."""

_CHALLENGE = 'Bearer realm="inkling"'
_JITTER = 0.25
"""Maximum random part added to `Retry-After`, so that refused clients do not all retry at once."""


def limit_fields(limits: RateLimits, spent: SpendResult) -> Fields:
    """Return the fields of a response to which rate limits apply.

    `r` is the number of remaining tokens, `t` the time in seconds until the bucket is full.
    """
    states = []
    if limits.requests is not None:
        states.append(_state("requests", limits.requests, spent.requests_full_at, spent.now))
    if limits.images is not None:
        states.append(_state("images", limits.images, spent.images_full_at, spent.now))
    if not states:
        return []
    return [("ratelimit-policy", limits.policy), ("ratelimit", ", ".join(states))]


def error_fields(error: ServiceError) -> Fields:
    """Return the fields of an error response: how to authenticate, or when to retry; empty for other errors.

    `Retry-After` and the `t` of `RateLimit` are equal, and never too small.
    """
    if isinstance(error, CapacityError):
        return [("retry-after", str(retry_after_s(error.retry_after_s)))]
    if isinstance(error, Unauthenticated):
        return [("www-authenticate", _CHALLENGE + (', error="invalid_token"' if error.is_invalid else ""))]
    if isinstance(error, RateExceeded):
        # Jitter needs no cryptographic randomness.
        wait_s = max(1, math.ceil(error.retry_after_s * (1 + _JITTER * random.random())))  # noqa: S311 - jitter, not a secret
        return [
            ("retry-after", str(wait_s)),
            ("ratelimit-policy", policy(error.unit, error.limit, int(error.window_s))),
            ("ratelimit", f'"{error.unit}";r=0;t={wait_s}'),
        ]
    return []


def retry_after_s(shortest_s: float) -> int:
    """Return a random delay for the header `Retry-After`, so that refused clients do not return together.

    Args:
        shortest_s: Shortest delay in seconds, at least 0.

    Returns:
        Whole seconds, uniformly from `shortest_s` (rounded up, at least 1) to twice that plus one.
    """
    shortest = max(1, math.ceil(shortest_s))
    return random.randint(shortest, 2 * shortest + 1)  # noqa: S311 - jitter, not a secret - not a secret


def _state(unit: str, rate: Rate, full_at: int, now: int) -> str:
    return f'"{unit}";r={rate.left(full_at, now)};t={-(-rate.refill_ns(full_at, now) // NS)}'
