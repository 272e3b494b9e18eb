"""The keys in force: reads the key file again when it changes, and verifies keys against it.

SHA-256 hashes are compared at once. A scrypt hash takes some 50 ms, so it is computed on a thread of its own,
for a limited number of attempts, and the result is remembered.
"""

import asyncio
import hashlib
import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from service.core.errors import Overloaded, RateExceeded, Stopping, Unauthenticated
from service.inference.admission.buckets import Buckets
from service.inference.admission.keys import MAX_KEY_BYTES, Client, KeysInvalid, Ring, parse_keys
from service.inference.admission.rates import Limits, Rate, parse

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 4 * 2**20

CHECKS = parse("1/s", 10)
"""How often passphrases may be checked for one client address, in all processes together."""

_ALL_CHECKS = parse("5/s", 10)
"""And for all addresses, in one process: a quarter of a core."""

_MAX_WAITING = 16
_MAX_REMEMBERED = 1024

_Signature = tuple[int, int, int, int, int]


class KeyFile:
    """A key file and what was last read of it. Thread-safe."""

    def __init__(self, path: Path, default: Limits) -> None:
        """Read the file.

        Args:
            path: Of the file.
            default: Rate limits of clients whose line names none.

        Raises:
            KeysInvalid: The file cannot be read, or a line is not what it should be.
        """
        self._path = path
        self._default = default
        self._lock = threading.Lock()
        self._seen: _Signature | None = None  # of what was read last, good or bad
        self._candidate: _Signature | None = None  # of what is new, and may still be being written
        self.ring = self._read()

    def reload(self) -> bool:
        """Read the file again, now; if it is not what it should be, log why, and keep the old keys.

        Requests that were authorized stay so. It blocks while the file is read: call it on a thread.

        Returns:
            Whether the file was good.
        """
        with self._lock:
            try:
                ring = self._read()
            except KeysInvalid as error:
                log.error("keys refused", extra={"fields": {"reason": str(error)}})
                return False
            self.ring = ring
        log.info("keys loaded", extra={"fields": {"clients": len(ring.clients)}})
        return True

    def poll(self) -> bool:
        """Read the file again if it has changed since, and is the same as at the last call.

        So a file that is being written is not read half, if this is called about once a second.

        Returns:
            Whether new keys were loaded.
        """
        with self._lock:
            signature = self._signature()
            if signature == self._seen:
                self._candidate = signature
                return False
            if signature != self._candidate:
                self._candidate = signature
                return False
        return self.reload()

    def _signature(self) -> _Signature | None:
        try:
            return _signature(self._path.stat())
        except OSError:
            return None

    def _read(self) -> Ring:
        try:
            # Without waiting, should it be a pipe without a writer.
            descriptor = os.open(self._path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            with os.fdopen(descriptor, "rb") as file:
                before = os.fstat(descriptor)
                if not stat.S_ISREG(before.st_mode):
                    raise KeysInvalid("the key file should be a file; got something else.")
                content = file.read(MAX_FILE_BYTES + 1)
                after = os.fstat(descriptor)
        except OSError as error:
            self._seen = self._signature()
            raise KeysInvalid(f"the key file should be readable; got {error.strerror}.") from error
        self._seen = _signature(before)
        if len(content) > MAX_FILE_BYTES:
            raise KeysInvalid(f"the key file should have at most {MAX_FILE_BYTES:,} bytes; got more.")
        if _signature(after) != self._seen:
            raise KeysInvalid("the key file should not change while it is read; it did.")
        return parse_keys(content, self._default)


def _signature(status: os.stat_result) -> _Signature:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Verifier:
    """Finds the client of a key. Thread-safe.

    Results of scrypt are remembered by a digest of both key and hash, keyed per process, so that a change of
    the key file makes none of them wrong.
    """

    def __init__(self, keys: KeyFile, buckets: Buckets, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Create a verifier; it starts a thread when first needed.

        Args:
            keys: What is compared with.
            buckets: Where attempts are counted.
            clock: Returns nanoseconds that never go back.
        """
        self._keys = keys
        self._buckets = buckets
        self._clock = clock
        self._secret = os.urandom(32)
        self._lock = threading.Lock()
        self._results: dict[bool, dict[bytes, None]] = {True: {}, False: {}}
        self._running: dict[bytes, Future[None]] = {}
        self._all_full_at = 0
        self._thread: ThreadPoolExecutor | None = None
        self._is_closed = False

    def find(self, key: bytes | None) -> Client:
        """Return the client of a key.

        Raises:
            Unauthenticated: There is no key, or no client has it.
            Overloaded: Its passphrase was not checked yet; `check` does.
        """
        if key is None:
            raise Unauthenticated("none")
        if len(key) <= MAX_KEY_BYTES:
            ring = self._keys.ring
            client = ring.find(key)
            if client is not None:
                return client
            named = ring.named(key)
            if named is not None:
                client, passphrase = named
                results = [self._result(client, index, passphrase) for index in range(len(client.scrypt))]
                if True in results:
                    return client
                if None in results:
                    raise Overloaded(len(self._running))
        raise Unauthenticated("an unknown one", is_invalid=True)

    def needs_check(self, key: bytes | None) -> bool:
        """Tell whether `check` must be awaited before `find` can know the client of a key."""
        if key is None or len(key) > MAX_KEY_BYTES or b"." not in key:
            return False
        ring = self._keys.ring
        named = ring.named(key)
        if named is None or ring.find(key) is not None:
            return False
        client, passphrase = named
        results = [self._result(client, index, passphrase) for index in range(len(client.scrypt))]
        return True not in results and None in results

    async def check(self, key: bytes | None, identity: bytes) -> None:
        """Compute the scrypt hashes of a key, on a thread, and remember whether they match.

        The same key is computed once, however many requests wait for it.

        Args:
            key: As it was presented.
            identity: Of the client's address, as `Buckets.identity` returned it.

        Raises:
            RateExceeded: Too many were checked for the address.
            Overloaded: Too many were checked for all, or are waiting.
            Stopping: The verifier was closed.
        """
        if key is None or not self.needs_check(key):
            return
        named = self._keys.ring.named(key)
        if named is None:  # the file has changed
            return
        mark = self._mark(key, b"")
        with self._lock:
            future = self._running.get(mark)
            if future is None:
                if self._is_closed:
                    raise Stopping
                self._take(identity)
                self._thread = self._thread or ThreadPoolExecutor(1, "scrypt")
                future = self._thread.submit(self._compute, mark, *named)
                self._running[mark] = future
        try:
            await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            if future.cancelled():
                raise Stopping from None
            raise

    def close(self) -> None:
        """End the thread, if it runs, after what it is computing."""
        with self._lock:
            self._is_closed = True
            thread = self._thread
        if thread is not None:
            thread.shutdown(wait=False, cancel_futures=True)

    def _take(self, identity: bytes) -> None:
        """Count an attempt."""
        spent = self._buckets.spend(identity, Limits(CHECKS), 0, None)
        if spent.refused:
            raise exceeded(CHECKS, "passphrases", spent.requests_full_at, spent.now)
        now = self._clock()
        full_at = _ALL_CHECKS.spend(self._all_full_at, now, 1)
        if full_at is None or len(self._running) >= _MAX_WAITING:
            raise Overloaded(len(self._running))
        self._all_full_at = full_at
        self._buckets.spend(identity, Limits(CHECKS), 1, None)

    def _compute(self, mark: bytes, client: Client, passphrase: bytes) -> None:
        try:
            for index, scrypt in enumerate(client.scrypt):
                if self._result(client, index, passphrase) is None:
                    self._remember(self._mark(passphrase, str(scrypt).encode()), scrypt.matches(passphrase))
        except (MemoryError, ValueError) as error:  # of the library; the request is told to come back
            log.error("passphrase not checked", extra={"fields": {"reason": type(error).__name__}})
        finally:
            with self._lock:
                self._running.pop(mark, None)

    def _result(self, client: Client, index: int, passphrase: bytes) -> bool | None:
        """Return whether a passphrase matches a client's hash; None if it was not computed."""
        mark = self._mark(passphrase, str(client.scrypt[index]).encode())
        if mark in self._results[True]:
            return True
        return False if mark in self._results[False] else None

    def _remember(self, mark: bytes, is_match: bool) -> None:
        with self._lock:
            results = self._results[is_match]
            while len(results) >= _MAX_REMEMBERED:
                del results[next(iter(results))]
            results[mark] = None

    def _mark(self, passphrase: bytes, scrypt: bytes) -> bytes:
        return hashlib.blake2b(scrypt + b"\0" + passphrase, digest_size=32, key=self._secret).digest()


def exceeded(rate: Rate, unit: str, full_at: int, now: int) -> RateExceeded:
    """Return the error of a bucket that holds no token."""
    return RateExceeded(rate.burst, unit, rate.window_s, rate.wait_ns(full_at, now) / 1e9)
