"""Fair permits: who gets one, and whose is revoked."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from service.grpc.limits.clients import Client, of_address
from service.grpc.limits.permits import FairPermits, Permit

FIRST, SECOND = of_address("192.0.2.1", 1), of_address("192.0.2.2", 1)


def other_connection(client: Client) -> Client:
    """Return another connection of the same address."""
    return of_address(client.address, client.port + 1)


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's coroutine."""
    asyncio.run(asyncio.wait_for(work(), 10))


def revocable(permits: FairPermits, client: Client, revoked: list[Client]) -> Permit:
    """Acquire a permit that can be revoked; then the client is added to a list."""
    permit = permits.try_acquire(client)
    assert permit is not None
    permits.make_revocable(permit, lambda: revoked.append(client))
    return permit


async def settled() -> None:
    """Run the event loop until all tasks wait."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_number_of_permits_is_limited() -> None:
    async def work() -> None:
        permits = FairPermits(2, grace_s=60)

        held = [await permits.acquire(FIRST), await permits.acquire(FIRST)]

        assert permits.try_acquire(SECOND) is None
        permits.release(held[0])
        assert permits.try_acquire(SECOND) is not None
        assert permits.held == 2

    run(work)


def test_releasing_a_permit_twice_has_no_effect() -> None:
    async def work() -> None:
        permits = FairPermits(2, grace_s=60)
        permit = await permits.acquire(FIRST)
        await permits.acquire(FIRST)

        permits.release(permit)
        permits.release(permit)

        assert permits.held == 1

    run(work)


def test_free_permit_goes_to_the_client_with_the_fewest() -> None:
    """
    Not to the one that has waited longest.
    """

    async def work() -> None:
        permits = FairPermits(2, grace_s=60)
        held = [await permits.acquire(FIRST) for _ in range(2)]
        early = asyncio.create_task(permits.acquire(FIRST))
        await settled()
        late = asyncio.create_task(permits.acquire(SECOND))
        await settled()

        permits.release(held[0])
        await settled()

        assert (early.done(), late.done()) == (False, True)
        early.cancel()

    run(work)


def test_among_equals_the_client_served_least_recently_is_next() -> None:
    """
    Otherwise many calls of one connection would precede the first of another.
    """

    async def work() -> None:
        permits = FairPermits(1, grace_s=60)
        permit = await permits.acquire(FIRST)
        early = [asyncio.create_task(permits.acquire(FIRST)) for _ in range(3)]
        await settled()
        late = asyncio.create_task(permits.acquire(other_connection(FIRST)))
        await settled()

        permits.release(permit)
        await settled()

        assert late.done()
        assert not any(task.done() for task in early)
        for task in early:
            task.cancel()

    run(work)


def test_permit_is_revoked_for_a_client_with_fewer() -> None:
    async def work() -> None:
        permits = FairPermits(2, grace_s=0)
        revoked: list[Client] = []
        held = [revocable(permits, FIRST, revoked), revocable(permits, FIRST, revoked)]

        assert await permits.acquire(SECOND)

        assert revoked == [FIRST]
        assert [permit.is_revoked for permit in held] == [True, False]
        assert permits.held == 2

    run(work)


def test_no_permit_is_revoked_for_a_client_with_as_many() -> None:
    async def work() -> None:
        permits = FairPermits(2, grace_s=0)
        revoked: list[Client] = []
        revocable(permits, FIRST, revoked)
        revocable(permits, SECOND, revoked)

        assert permits.try_acquire(of_address("192.0.2.3", 1)) is not None
        assert permits.try_acquire(SECOND) is None or revoked[1:] == [SECOND]

    run(work)


def test_oldest_permit_of_a_client_is_revoked_first() -> None:
    """
    Its idle calls do not block its others.
    """

    async def work() -> None:
        permits = FairPermits(2, grace_s=0)
        revoked: list[Client] = []
        held = [revocable(permits, FIRST, revoked), revocable(permits, FIRST, revoked)]

        assert permits.try_acquire(FIRST) is not None

        assert [permit.is_revoked for permit in held] == [True, False]

    run(work)


def test_no_permit_is_revoked_in_its_grace_period() -> None:
    async def work() -> None:
        permits = FairPermits(1, grace_s=0.05)
        revoked: list[Client] = []
        loop = asyncio.get_running_loop()
        begun = loop.time()
        revocable(permits, FIRST, revoked)

        assert permits.try_acquire(SECOND) is None
        await permits.acquire(SECOND)

        assert loop.time() - begun >= 0.05
        assert revoked == [FIRST]

    run(work)


def test_irrevocable_permit_is_not_revoked() -> None:
    async def work() -> None:
        permits = FairPermits(1, grace_s=0)
        revoked: list[Client] = []
        permit = revocable(permits, FIRST, revoked)

        permits.make_irrevocable(permit)

        assert permits.try_acquire(SECOND) is None
        permits.make_revocable(permit, lambda: revoked.append(FIRST))
        assert permits.try_acquire(SECOND) is not None

    run(work)


def test_cancelled_waiter_takes_no_permit() -> None:
    async def work() -> None:
        permits = FairPermits(1, grace_s=60)
        permit = await permits.acquire(FIRST)
        tasks = [asyncio.create_task(permits.acquire(SECOND)) for _ in range(3)]
        await settled()
        tasks[0].cancel()
        await settled()
        assert permits.waiting == 2

        permits.release(permit)  # the next is granted its permit,
        tasks[1].cancel()  # and leaves before it knows
        await settled()

        assert tasks[2].done()
        assert (permits.held, permits.waiting) == (1, 0)

    run(work)


@pytest.mark.parametrize("size", [1, 3])
def test_every_waiter_is_served(size: int) -> None:
    """
    No state is left afterwards.
    """

    async def work() -> None:
        permits = FairPermits(size, grace_s=60)
        served = 0

        async def call(client: Client) -> None:
            nonlocal served
            permit = await permits.acquire(client)
            await asyncio.sleep(0)
            permits.release(permit)
            served += 1

        clients = [of_address(f"192.0.2.{number % 5}", number % 7) for number in range(200)]
        await asyncio.gather(*map(call, clients))

        assert served == 200
        assert (permits.held, permits.waiting) == (0, 0)
        assert not permits._of_network
        assert not permits._of_connection
        assert not permits._revocable

    run(work)
