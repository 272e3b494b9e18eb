"""Storage of token buckets: a fixed-size hash table that worker processes can share.

The table is created before the processes are forked. Each group of eight slots has a POSIX record lock, which
the kernel releases when its holder dies. If the holder is suspended, others wait a few milliseconds and then
update without the lock, at the risk of losing one other update.
"""

import errno
import hashlib
import mmap
import os
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from service.inference.admission.rates import MAX_FILL_NS, RateLimits

_SLOT = struct.Struct("<16sqq")  # client's digest; states of its buckets of requests and of images
_TIMES = struct.Struct("<qq")
_DIGEST_BYTES = 16
_GROUP_SLOTS = 8
_GROUP_BYTES = _GROUP_SLOTS * _SLOT.size
_HORIZON_NS = 2 * MAX_FILL_NS
"""Upper bound of a state, from now; a slot with a larger one is half written, and counts as free."""


class SpendResult(NamedTuple):
    """Result of `Buckets.spend`: whether tokens were taken, and the state of the client's buckets.

    Attributes:
        refused: The bucket that held no token, `requests` or `images`; no token was taken. Empty otherwise.
        now: Time of the attempt, in nanoseconds.
        requests_full_at: State of the bucket of requests, as for `Rate.spend`.
        images_full_at: State of the bucket of images.
    """

    refused: str
    now: int
    requests_full_at: int
    images_full_at: int


class Buckets(Protocol):
    """Storage of token buckets: memory of one machine, or a store shared by several."""

    def identity(self, kind: bytes, name: bytes) -> bytes:
        """Return the 16 bytes under which a client's buckets are kept."""

    def spend(
        self, client: bytes, limits: RateLimits, requests: int | None, images: int | None
    ) -> SpendResult:
        """Take tokens from a client's buckets, from both or from none.

        Args:
            client: Identity of the client, as `identity` returned it.
            limits: Rate limits of the client; None in them skips the bucket.
            requests: Tokens to take; 0 only checks that there is one; None skips the bucket.
            images: As `requests`, from the other bucket.
        """


class BucketTable:
    """Token buckets in memory of constant size, shared by threads and by processes forked later.

    A client whose buckets are full needs no slot. If a group has no free slot, the slot of the client whose
    buckets would be full first is reused; at most, that client's buckets are full again too early. So a flood
    of clients can evict others, but the table never grows and never refuses.
    """

    def __init__(
        self,
        slots: int = 65_536,
        is_shared: bool = False,
        patience_s: float = 0.002,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Create an empty table.

        Args:
            slots: Maximum number of clients, a multiple of 8; each takes 32 bytes.
            is_shared: Whether forked processes use the table too.
            patience_s: Maximum time to wait for a lock that another process holds, in seconds.
            clock: Monotonic time in nanoseconds, the same in all processes.
        """
        assert slots > 0
        assert slots % _GROUP_SLOTS == 0
        self._groups = slots // _GROUP_SLOTS
        self._memory = mmap.mmap(-1, slots * _SLOT.size)  # pages are allocated when first written
        self._key = os.urandom(16)  # else clients could choose addresses in the same group as another client
        self._clock = clock
        self._threads = threading.Lock()
        self._processes = _RecordLocks(patience_s) if is_shared else None

    def identity(self, kind: bytes, name: bytes) -> bytes:
        """Return the 16 bytes under which a client's buckets are kept: a digest keyed per start."""
        return hashlib.blake2b(kind + b"\0" + name, digest_size=_DIGEST_BYTES, key=self._key).digest()

    def spend(
        self, client: bytes, limits: RateLimits, requests: int | None, images: int | None
    ) -> SpendResult:
        """Take tokens from a client's buckets, from both or from none; as `Buckets.spend`."""
        group = int.from_bytes(client[:8], "little") % self._groups
        with self._threads:
            if self._processes is None:
                return self._spend(group, client, limits, requests, images)
            is_locked = self._processes.acquire(group)
            try:
                return self._spend(group, client, limits, requests, images)
            finally:
                if is_locked:
                    self._processes.release(group)

    def _spend(
        self, group: int, client: bytes, limits: RateLimits, requests: int | None, images: int | None
    ) -> SpendResult:
        now = self._clock()
        start = group * _GROUP_BYTES
        at = self._find(client, start)
        before = (0, 0) if at is None else self._times(at, now, limits)
        requests_full_at, images_full_at = before
        if limits.requests is not None and requests is not None:
            spent = limits.requests.spend(requests_full_at, now, requests)
            if spent is None:
                return SpendResult("requests", now, *before)
            requests_full_at = spent
        if limits.images is not None and images is not None:
            spent = limits.images.spend(images_full_at, now, images)
            if spent is None:
                return SpendResult("images", now, *before)
            images_full_at = spent
        if requests or images:
            if at is None:
                at = self._free(start, now)
            _SLOT.pack_into(self._memory, at, client, requests_full_at, images_full_at)
        return SpendResult("", now, requests_full_at, images_full_at)

    def _times(self, at: int, now: int, limits: RateLimits) -> tuple[int, int]:
        """Return the state of the buckets in a slot, limited to the debt that its rates allow.

        It exceeds that if the client's rate was changed, or if a process was killed while it wrote.
        """
        requests_full_at, images_full_at = _TIMES.unpack_from(self._memory, at + _DIGEST_BYTES)
        most_requests = now + 2 * limits.requests.fill_ns if limits.requests is not None else requests_full_at
        most_images = now + 2 * limits.images.fill_ns if limits.images is not None else images_full_at
        if requests_full_at > most_requests or images_full_at > most_images:
            requests_full_at = min(requests_full_at, most_requests)
            images_full_at = min(images_full_at, most_images)
            # Stored now: refusals do not store a state, so the debt would stay too deep.
            _TIMES.pack_into(self._memory, at + _DIGEST_BYTES, requests_full_at, images_full_at)
        return requests_full_at, images_full_at

    def _find(self, client: bytes, start: int) -> int | None:
        """Return the offset of a client's slot."""
        end = start + _GROUP_BYTES
        at = self._memory.find(client, start, end)
        while at >= 0:
            if not (at - start) % _SLOT.size:
                return at
            at = self._memory.find(client, at + 1, end)
        return None

    def _free(self, start: int, now: int) -> int:
        """Return the offset of the slot in a group that is free, or will be free first."""

        def busy_until(at: int) -> int:
            full_at = max(_TIMES.unpack_from(self._memory, at + _DIGEST_BYTES))
            return full_at if full_at <= now + _HORIZON_NS else 0

        return min(range(start, start + _GROUP_BYTES, _SLOT.size), key=busy_until)


class _RecordLocks:
    """Locks between processes: record locks on the bytes of an empty anonymous file."""

    def __init__(self, patience_s: float) -> None:
        import fcntl  # noqa: PLC0415 - not every system has it, and only several processes need it

        self._lockf = fcntl.lockf
        self._exclusive, self._unlock = fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_UN
        self._patience_s = patience_s
        # Closing any descriptor of a file releases all its locks of the process, so there is only this one.
        if hasattr(os, "memfd_create"):
            self._file = os.memfd_create("inkling-rates")
        else:
            with tempfile.TemporaryFile() as file:
                self._file = os.dup(file.fileno())

    def acquire(self, number: int) -> bool:
        """Acquire a lock; return False if another process holds it for longer than `patience_s`."""
        deadline = 0.0
        while True:
            try:
                self._lockf(self._file, self._exclusive, 1, number)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    return False
            else:
                return True
            now = time.monotonic()
            deadline = deadline or now + self._patience_s
            if now >= deadline:
                return False
            os.sched_yield()

    def release(self, number: int) -> None:
        """Release a lock."""
        self._lockf(self._file, self._unlock, 1, number)
