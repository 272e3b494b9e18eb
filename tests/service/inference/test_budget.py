import pytest

from service.core.errors import TooManyBytes
from service.inference.budget import Budget


def test_bytes_beyond_the_limit_are_refused_and_not_counted() -> None:
    """
    A refused acquisition leaves the budget as it was.
    """
    budget = Budget(100)
    budget.acquire(60)

    with pytest.raises(TooManyBytes):
        budget.acquire(41)

    assert budget.used == 60
    assert budget.try_acquire(40)


def test_released_bytes_can_be_acquired_again() -> None:
    """
    Releasing frees room.
    """
    budget = Budget(100)
    budget.acquire(100)
    budget.release(70)

    assert budget.try_acquire(70)
    assert not budget.try_acquire(1)
