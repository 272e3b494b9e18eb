"""Cache of rendered response bodies, which count in the memory budget while they are in memory.

Concurrent requests for a key share one rendering, in a separate thread pool, and one bytes object. Small
bodies are retained after use, up to a limit; the least recently used are evicted first. An evicted or large
body stays in memory, and is shared, until the last response is sent.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

from service.core.errors import TooManyBytes
from service.http.messages.cache_keys import BodyInfo, Key, Version
from service.inference.thread_pool import DEFAULT_PRIORITY, ThreadPool
from service.memory.budget import Budget

_SHARE = 0.5
"""Fraction of the memory budget for bodies and rendering; the rest is left for predictions when clients read
large bodies slowly."""

_MAX_KNOWN = 1024
"""Number of keys whose ETag and length are kept after their bodies are gone."""


@dataclass(eq=False)
class _Entry:
    """A body that is being rendered or is in memory.

    Attributes:
        users: Number of requests that wait for it or send it.
        retain: Whether it may be kept without users.
        body, info: None until it is rendered.
    """

    key: Key
    retain: bool
    users: int = 0
    body: bytes | None = None
    info: BodyInfo | None = None
    future: "Future[None]" = field(default_factory=Future)


class RenderedBody:
    """A reference to a rendered body, counted until `release`."""

    def __init__(self, cache: "ResponseCache", entry: _Entry) -> None:
        """Wrap an entry whose `users` includes this reference already."""
        assert entry.body is not None
        assert entry.info is not None
        self.body = entry.body
        self.info = entry.info
        self._cache = cache
        self._entry: _Entry | None = entry

    def release(self) -> None:
        """Release the reference; further calls do nothing."""
        entry, self._entry = self._entry, None
        self.body = b""
        if entry is not None:
            self._cache._release(entry)


class ResponseCache:
    """Renders bodies once and shares them; thread-safe.

    Attributes:
        thread_pool: Thread pool that renders.
    """

    def __init__(self, thread_pool: ThreadPool, budget: Budget, retained_bytes: int) -> None:
        """Create an empty cache.

        Args:
            thread_pool: Thread pool for rendering only; its queue limits the number of pending bodies.
            budget: Memory budget in which bodies and their rendering count.
            retained_bytes: Upper limit of the bodies that are kept without users, in bytes. They are evicted
                when the budget needs memory.
        """
        self.thread_pool = thread_pool
        self._budget = budget
        self._retained_limit = retained_bytes
        self._limit = int(budget.max_bytes * _SHARE)
        self._alive = 0  # bytes acquired in the budget
        self._entries: dict[Key, _Entry] = {}
        self._retained: OrderedDict[Key, _Entry] = OrderedDict()  # least recently used first
        self._retained_bytes = 0
        self._known: OrderedDict[Key, BodyInfo] = OrderedDict()  # as above
        self._versions: frozenset[Version] | None = None  # served versions; None until `serve_only`
        self._lock = threading.Lock()
        budget.reclaim_with(self.reclaim)

    @property
    def alive_bytes(self) -> int:
        """Size of all bodies in memory in bytes, with estimates for those being rendered."""
        return self._alive

    @property
    def retained_bytes(self) -> int:
        """Size of the retained bodies in bytes."""
        return self._retained_bytes

    def info(self, key: Key) -> BodyInfo | None:
        """Return the ETag and length of a body that was rendered before; None if they are not known."""
        with self._lock:
            info = self._known.get(key)
            if info is not None:
                self._known.move_to_end(key)
            return info

    def find(self, key: Key) -> RenderedBody | None:
        """Return a body that is in memory, which the caller must release; None if it is not in memory."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry.body is None:
                return None
            self._use(entry)
        return RenderedBody(self, entry)

    async def get(
        self,
        key: Key,
        render: Callable[[], bytes],
        cost_bytes: int,
        *,
        retain: bool = True,
        priority: int = DEFAULT_PRIORITY,
    ) -> RenderedBody:
        """Return a body: from memory, from a rendering in progress, or rendered now.

        Args:
            key: Key of the body.
            render: Returns the body; called in a rendering thread.
            cost_bytes: Upper limit of the memory that `render` takes, the body included.
            retain: Whether to keep the body for later requests.
            priority: Priority in the rendering queue, as `ThreadPool.run` takes it.

        Returns:
            The body, which the caller must release. On cancellation nothing has to be released, and a
            rendering without other users does not start.

        Raises:
            Overloaded: The rendering queue is full.
            TooManyBytes: The budget, or the cache's share of it, has no room.
            DeadlineExceeded: It was not rendered in time.
            ServiceError: An error of `render`, which is not cached.
        """
        entry = self._get_entry(key, render, cost_bytes, retain, priority)
        try:
            if entry.body is None:
                await self.thread_pool.wait(entry.future)
            return RenderedBody(self, entry)
        except BaseException:
            self._release(entry)
            raise

    def serve_only(self, versions: Iterable[Version]) -> None:
        """Evict the bodies of other model versions; those being sent stay in memory until they are sent."""
        served = frozenset(versions)
        with self._lock:
            self._versions = served
            for key in [key for key in self._known if not _is_served(key, served)]:
                del self._known[key]
            for key in [key for key in self._retained if not _is_served(key, served)]:
                self._evict(self._retained[key])

    def reclaim(self, size: int) -> None:
        """Evict retained bodies without users, least recently used first, to free `size` bytes."""
        with self._lock:
            self._reclaim(size)

    def _get_entry(
        self, key: Key, render: Callable[[], bytes], cost_bytes: int, retain: bool, priority: int
    ) -> _Entry:
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._use(found)
                return found
            entry = _Entry(key, retain, users=1)
            entry.future = self.thread_pool.submit(
                lambda: self._render(entry, render, cost_bytes), priority=priority
            )
            self._entries[key] = entry
        entry.future.add_done_callback(
            lambda _: self._drop_failed(entry)
        )  # outside the lock: it may be done already
        return entry

    def _use(self, entry: _Entry) -> None:
        """Add a user to an entry; the lock must be held."""
        entry.users += 1
        if entry.key in self._retained:
            self._retained.move_to_end(entry.key)

    def _render(self, entry: _Entry, render: Callable[[], bytes], cost_bytes: int) -> None:
        self._acquire(cost_bytes)
        counted = cost_bytes
        try:
            body = render()
            info = BodyInfo.of(body)
            if info.length > counted:  # the estimate was too low
                self._acquire(info.length - counted)
                counted = info.length
        except BaseException:
            self._release_bytes(counted)
            raise
        self._release_bytes(counted - info.length)
        with self._lock:
            entry.body, entry.info = body, info
            is_served = _is_served(entry.key, self._versions)
            if entry.retain and is_served:
                self._known[entry.key] = info
                while len(self._known) > _MAX_KNOWN:
                    self._known.popitem(last=False)
            is_listed = self._entries.get(entry.key) is entry
            if is_listed and entry.retain and is_served and info.length <= self._retained_limit:
                self._retained[entry.key] = entry
                self._retained_bytes += info.length
                while self._retained_bytes > self._retained_limit:
                    self._evict(next(iter(self._retained.values())))
            elif not entry.users:
                self._drop(entry)

    def _release(self, entry: _Entry) -> None:
        cancelled = None
        with self._lock:
            entry.users -= 1
            if entry.users:
                return
            if entry.body is not None:
                if self._retained.get(entry.key) is not entry:
                    self._drop(entry)
            elif not entry.future.running() and self._entries.get(entry.key) is entry:
                del self._entries[entry.key]  # so that no request joins a cancelled rendering
                cancelled = entry.future
        if cancelled is not None:
            cancelled.cancel()  # outside the lock: it calls callbacks

    def _drop_failed(self, entry: _Entry) -> None:
        """Remove an entry whose rendering failed, so that the next request renders again."""
        with self._lock:
            if entry.body is None and self._entries.get(entry.key) is entry:
                del self._entries[entry.key]

    def _evict(self, entry: _Entry) -> None:
        """Stop retaining an entry; the lock must be held."""
        del self._retained[entry.key]
        assert entry.info is not None
        self._retained_bytes -= entry.info.length
        if not entry.users:
            self._drop(entry)

    def _drop(self, entry: _Entry) -> None:
        """Free a body without users; the lock must be held."""
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]
        assert entry.info is not None
        entry.body = None
        self._alive -= entry.info.length
        self._budget.release(entry.info.length)

    def _reclaim(self, size: int) -> None:
        for entry in list(self._retained.values()):
            if size <= 0:
                break
            if not entry.users:
                assert entry.info is not None
                size -= entry.info.length
                self._evict(entry)

    def _acquire(self, size: int) -> None:
        with self._lock:
            if size <= self._limit:
                self._reclaim(self._alive + size - self._limit)
            if self._alive + size > self._limit:
                raise TooManyBytes(self._limit)
            self._alive += size
        try:
            self._budget.acquire(size)  # outside the lock: it may call `reclaim`
        except TooManyBytes:
            with self._lock:
                self._alive -= size
            raise

    def _release_bytes(self, size: int) -> None:
        with self._lock:
            self._alive -= size
        self._budget.release(size)


def _is_served(key: Key, served: frozenset[Version] | None) -> bool:
    """Return whether a body belongs to no model version, or to one that is served."""
    return key.version is None or served is None or key.version in served
