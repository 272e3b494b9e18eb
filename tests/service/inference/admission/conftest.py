"""The clock of rates."""

import pytest


class Clock:
    """A clock, in nanoseconds, that a test sets."""

    def __init__(self) -> None:
        self.now = 10**15

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()
