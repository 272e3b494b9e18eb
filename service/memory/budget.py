"""Memory budget of requests and responses: bytes that are being received, processed or sent."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.core.errors import PayloadTooLarge, TooManyBytes


class Budget:
    """Counts bytes against one limit. Thread-safe.

    Request bodies are counted by what processing them costs, from their first byte until the response is
    written; response bodies from the moment they exist until the client has taken them.
    """

    def __init__(self, max_bytes: int) -> None:
        """Create an empty budget.

        Args:
            max_bytes: Upper limit of all bytes acquired and not yet released.
        """
        self.max_bytes = max_bytes
        self._used = 0
        self._lock = threading.Lock()
        self._reclaim: Callable[[int], None] | None = None

    def reclaim_with(self, reclaim: Callable[[int], None]) -> None:
        """Set the function that frees memory which is held only to save work, such as a cache.

        Args:
            reclaim: Called with the number of missing bytes, by the thread that acquires and without a lock;
                it releases as many of them as it can.
        """
        self._reclaim = reclaim

    @property
    def used(self) -> int:
        """Bytes acquired and not yet released."""
        return self._used

    def try_acquire(self, size: int) -> bool:
        """Acquire `size` bytes; return False, and acquire nothing, if they exceed the limit."""
        missing = self._try_acquire_free(size)
        if missing > 0 and size <= self.max_bytes and self._reclaim is not None:
            self._reclaim(missing)
            missing = self._try_acquire_free(size)
        return missing <= 0

    def acquire(self, size: int) -> None:
        """Acquire `size` bytes.

        Raises:
            TooManyBytes: They exceed the limit; nothing was acquired.
        """
        with self._lock:
            if self._used + size <= self.max_bytes:
                self._used += size
                return
        if not self.try_acquire(size):
            raise TooManyBytes(self.max_bytes)

    def add(self, size: int) -> None:
        """Count `size` bytes that exist already, even beyond the limit; a negative `size` releases them."""
        with self._lock:
            self._used += size

    @contextmanager
    def acquired(self, size: int) -> Iterator[None]:
        """Acquire `size` bytes until the context is left.

        Raises:
            PayloadTooLarge: They exceed the limit even if nothing else is acquired.
            TooManyBytes: They exceed the limit now; nothing was acquired.
        """
        if size > self.max_bytes:
            raise PayloadTooLarge("Memory that the request takes", self.max_bytes, "bytes", f"{size:,}")
        self.acquire(size)
        try:
            yield
        finally:
            self.release(size)

    def release(self, size: int) -> None:
        """Return `size` bytes that were acquired before."""
        with self._lock:
            self._used -= size

    def _try_acquire_free(self, size: int) -> int:
        """Acquire `size` bytes if they are free; return how many are missing: 0 or less if acquired."""
        with self._lock:
            missing = self._used + size - self.max_bytes
            if missing <= 0:
                self._used += size
            return missing


_CLIENT_SHARE = 0.75
"""Largest part of the budget for the bodies of one client."""


class ClientShares:
    """Limits the part of a budget that one client's request bodies hold together.

    A single body is not limited. Thread-safe: the operators' port has an event loop of its own.
    """

    def __init__(self, budget: Budget) -> None:
        """Create empty shares.

        Args:
            budget: Budget from which the bytes are acquired; a client may hold three quarters of it.
        """
        self._max_bytes = int(_CLIENT_SHARE * budget.max_bytes)
        self._used: dict[str, int] = {}
        self._lock = threading.Lock()

    def acquire(self, client: str, own: int, size: int) -> None:
        """Acquire `size` bytes for one body of a client.

        Args:
            client: IP address of the client.
            own: Bytes that this body has acquired before.
            size: Bytes to acquire.

        Raises:
            TooManyBytes: The client's bodies together exceed its share; nothing was acquired.
        """
        with self._lock:
            used = self._used.get(client, 0)
            if used > own and used + size > self._max_bytes:
                raise TooManyBytes(self._max_bytes)
            self._used[client] = used + size

    def release(self, client: str, size: int) -> None:
        """Return `size` bytes that were acquired before."""
        with self._lock:
            left = self._used[client] - size
            if left:
                self._used[client] = left
            else:
                del self._used[client]

    def __len__(self) -> int:
        """Return the number of clients that hold bytes."""
        return len(self._used)
