"""Memory budget of requests and responses: bytes that are being received, processed or sent."""

import threading
from collections.abc import Iterator
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

    @property
    def used(self) -> int:
        """Bytes acquired and not yet released."""
        return self._used

    def try_acquire(self, size: int) -> bool:
        """Acquire `size` bytes; return False, and acquire nothing, if they exceed the limit."""
        with self._lock:
            if self._used + size > self.max_bytes:
                return False
            self._used += size
            return True

    def acquire(self, size: int) -> None:
        """Acquire `size` bytes.

        Raises:
            TooManyBytes: They exceed the limit; nothing was acquired.
        """
        if not self.try_acquire(size):
            raise TooManyBytes(self.max_bytes)

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
