import pytest

from service.core.errors import TooManyBytes
from service.memory.budget import Budget, ClientShares


def test_acquiring_beyond_the_limit_is_refused_and_not_counted() -> None:
    budget = Budget(100)
    budget.acquire(60)

    with pytest.raises(TooManyBytes):
        budget.acquire(41)

    assert budget.used == 60
    assert budget.try_acquire(40)


def test_released_bytes_can_be_acquired_again() -> None:
    budget = Budget(100)
    budget.acquire(100)
    budget.release(70)

    assert budget.try_acquire(70)
    assert not budget.try_acquire(1)


def test_bodies_of_one_client_are_limited_to_three_quarters() -> None:
    """
    Refused bytes are not counted.
    """
    shares = ClientShares(Budget(100))
    shares.acquire("a", 0, 50)

    with pytest.raises(TooManyBytes, match="at most 75 bytes"):
        shares.acquire("a", 0, 26)

    shares.acquire("a", 0, 25)
    shares.acquire("b", 0, 75)
    for client, size in (("a", 50), ("a", 25), ("b", 75)):
        shares.release(client, size)
    assert len(shares) == 0


def test_a_single_body_is_not_limited() -> None:
    shares = ClientShares(Budget(100))
    shares.acquire("a", 0, 60)

    shares.acquire("a", 60, 40)

    with pytest.raises(TooManyBytes):
        shares.acquire("a", 0, 1)
