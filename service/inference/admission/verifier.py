"""Verifies API keys: finds the client of a key.

SHA-256 hashes are compared at once. A scrypt hash takes about 50 ms, so it is computed on a thread, for a
limited rate of attempts, and the result is cached.
"""

import asyncio
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from service.core.errors import Overloaded, Stopping, Unauthenticated
from service.inference.admission.buckets import Buckets
from service.inference.admission.key_file import KeyFile
from service.inference.admission.keys import MAX_KEY_BYTES, Client
from service.inference.admission.rates import RateLimits, parse, rate_exceeded

log = logging.getLogger(__name__)

CHECKS_PER_ADDRESS = parse("1/s", 10)
"""Rate of passphrase checks for one client address, in all processes together."""

_CHECKS = parse("5/s", 10)
"""Rate of passphrase checks for all addresses, in one process: a quarter of a core."""

_MAX_WAITING = 16
_MAX_CACHED = 1024


class Verifier:
    """Finds the client of a key. Thread-safe.

    Results of scrypt are cached under a keyed digest of both key and hash, so that a change of the key file
    invalidates none of them wrongly.
    """

    def __init__(self, keys: KeyFile, buckets: Buckets, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Create a verifier; its thread starts when it is first needed.

        Args:
            keys: The key file.
            buckets: Counts attempts.
            clock: Monotonic time in nanoseconds.
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
            Unauthenticated: There is no key, or it is unknown.
            Overloaded: It is a passphrase that was not checked yet; await `check` before.
        """
        if key is None:
            raise Unauthenticated("none")
        if len(key) <= MAX_KEY_BYTES:
            ring = self._keys.ring
            client = ring.find(key)
            if client is not None:
                return client
            found = ring.find_passphrase(key)
            if found is not None:
                client, passphrase = found
                results = [self._result(client, index, passphrase) for index in range(len(client.scrypt))]
                if True in results:
                    return client
                if None in results:
                    raise Overloaded(len(self._running))
        raise Unauthenticated("an unknown one", is_invalid=True)

    def needs_check(self, key: bytes | None) -> bool:
        """Return whether `check` must be awaited before `find`."""
        if key is None or len(key) > MAX_KEY_BYTES or b"." not in key:
            return False
        ring = self._keys.ring
        found = ring.find_passphrase(key)
        if found is None or ring.find(key) is not None:
            return False
        client, passphrase = found
        results = [self._result(client, index, passphrase) for index in range(len(client.scrypt))]
        return True not in results and None in results

    async def check(self, key: bytes | None, identity: bytes) -> None:
        """Compute the scrypt hashes of a passphrase on a thread, and cache whether they match.

        Concurrent requests with the same key share one computation.

        Args:
            key: Key of the request.
            identity: Identity of the client's address, as `Buckets.identity` returned it.

        Raises:
            RateExceeded: Too many checks for this address.
            Overloaded: Too many checks for all addresses, or too many are waiting.
            Stopping: The verifier was closed.
        """
        if key is None or not self.needs_check(key):
            return
        found = self._keys.ring.find_passphrase(key)
        if found is None:  # the file has changed meanwhile
            return
        digest = self._digest(key, b"")
        with self._lock:
            future = self._running.get(digest)
            if future is None:
                if self._is_closed:
                    raise Stopping
                self._charge(identity)
                self._thread = self._thread or ThreadPoolExecutor(1, "scrypt")
                future = self._thread.submit(self._compute, digest, *found)
                self._running[digest] = future
        try:
            await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            if future.cancelled():
                raise Stopping from None
            raise

    def close(self) -> None:
        """Stop the thread after its current computation."""
        with self._lock:
            self._is_closed = True
            thread = self._thread
        if thread is not None:
            thread.shutdown(wait=False, cancel_futures=True)

    def _charge(self, identity: bytes) -> None:
        """Charge an attempt to the address and to the process."""
        spent = self._buckets.spend(identity, RateLimits(CHECKS_PER_ADDRESS), 0, None)
        if spent.refused:
            raise rate_exceeded(CHECKS_PER_ADDRESS, "passphrases", spent.requests_full_at, spent.now)
        now = self._clock()
        full_at = _CHECKS.spend(self._all_full_at, now, 1)
        if full_at is None or len(self._running) >= _MAX_WAITING:
            raise Overloaded(len(self._running))
        self._all_full_at = full_at
        self._buckets.spend(identity, RateLimits(CHECKS_PER_ADDRESS), 1, None)

    def _compute(self, digest: bytes, client: Client, passphrase: bytes) -> None:
        try:
            for index, scrypt in enumerate(client.scrypt):
                if self._result(client, index, passphrase) is None:
                    self._cache(self._digest(passphrase, str(scrypt).encode()), scrypt.matches(passphrase))
        except (MemoryError, ValueError) as error:  # of the library; the client may retry
            log.error("passphrase not checked", extra={"fields": {"reason": type(error).__name__}})
        finally:
            with self._lock:
                self._running.pop(digest, None)

    def _result(self, client: Client, index: int, passphrase: bytes) -> bool | None:
        """Return whether a passphrase matches a client's hash; None if it is not cached."""
        digest = self._digest(passphrase, str(client.scrypt[index]).encode())
        if digest in self._results[True]:
            return True
        return False if digest in self._results[False] else None

    def _cache(self, digest: bytes, is_match: bool) -> None:
        with self._lock:
            results = self._results[is_match]
            while len(results) >= _MAX_CACHED:
                del results[next(iter(results))]
            results[digest] = None

    def _digest(self, passphrase: bytes, scrypt: bytes) -> bytes:
        return hashlib.blake2b(scrypt + b"\0" + passphrase, digest_size=32, key=self._secret).digest()
