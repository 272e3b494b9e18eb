"""Cache of rendered response bodies, counted in the memory budget for as long as anybody needs them.

A body is rendered once: concurrent requests for one key wait for the same rendering and share the same bytes
object. Rendering happens in a thread pool of its own. Small bodies are retained after use, up to a limit, the
least recently used are evicted first; a body that is evicted, or too large to be retained, lives as long as
responses send it, and requests that come meanwhile share it.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

from service.core.artifact.manifest import MODEL_FILE
from service.core.errors import TooManyBytes
from service.inference.models.model import Model
from service.inference.thread_pool import DEFAULT_PRIORITY, ThreadPool
from service.memory.budget import Budget

_MAX_KNOWN = 1024
"""Keys whose ETag and length are remembered after their bodies are gone."""


class Version(NamedTuple):
    """One published version of a model.

    Attributes:
        model: Its name.
        version: Its number.
        sha256: Digest of its `model.onnx`.
    """

    model: str
    version: str
    sha256: str


def version_of(model: Model) -> Version:
    """Return which version a model in memory is."""
    return Version(model.name, model.version, model.manifest.sha256[MODEL_FILE])


class Key(NamedTuple):
    """What a body is rendered from. Equal keys must give equal bodies.

    Attributes:
        kind: What is rendered.
        version: The version of a model that it belongs to; None for none.
        details: Everything else that the body depends on.
    """

    kind: str
    version: Version | None = None
    details: tuple[str | int, ...] = ()


class Facts(NamedTuple):
    """What is known of a body that was rendered before.

    Attributes:
        etag: Strong entity tag, in quotes: a digest of the body.
        length: Bytes.
    """

    etag: str
    length: int


@dataclass(eq=False)
class _Entry:
    """A body that is being rendered or is in memory.

    Attributes:
        users: Requests that wait for it or send it.
        retain: Whether it may be kept when nobody uses it.
        body, facts: None until it is rendered.
    """

    key: Key
    retain: bool
    users: int = 0
    body: bytes | None = None
    facts: Facts | None = None
    future: "Future[None]" = field(default_factory=Future)


class Rendered:
    """One user's share of a rendered body, until `release`."""

    def __init__(self, cache: "ResponseCache", entry: _Entry) -> None:
        """Take over a use of an entry that was counted already."""
        assert entry.body is not None
        assert entry.facts is not None
        self.body = entry.body
        self.facts = entry.facts
        self._cache = cache
        self._entry: _Entry | None = entry

    def release(self) -> None:
        """Give up the share; from then on the body is no longer counted for it. More calls do nothing."""
        entry, self._entry = self._entry, None
        self.body = b""
        if entry is not None:
            self._cache._leave(entry)


class ResponseCache:
    """Renders bodies once and shares them; thread-safe.

    Attributes:
        workers: The threads that render.
    """

    def __init__(self, workers: ThreadPool, budget: Budget, retained_bytes: int, share: float = 0.5) -> None:
        """Create an empty cache.

        Args:
            workers: Threads that render, and nothing else; their queue bounds how many bodies are asked for.
            budget: Where every rendered body counts, and what rendering it takes.
            retained_bytes: Upper limit of bodies that are kept though nobody uses them. They make room when
                the budget needs it.
            share: Fraction of the budget that all rendered bodies and their rendering may take, so that slow
                readers of large bodies leave the rest to predictions.
        """
        self.workers = workers
        self._budget = budget
        self._retained_limit = retained_bytes
        self._limit = int(budget.max_bytes * share)
        self._alive = 0  # bytes, acquired in the budget
        self._entries: dict[Key, _Entry] = {}
        self._retained: OrderedDict[Key, _Entry] = OrderedDict()  # least recently used first
        self._retained_bytes = 0
        self._known: OrderedDict[Key, Facts] = OrderedDict()  # as above
        self._versions: frozenset[Version] | None = None  # that are served; None: not told yet
        self._lock = threading.Lock()
        budget.reclaim_with(self.reclaim)

    @property
    def alive_bytes(self) -> int:
        """Bytes of all bodies in memory, and of those being rendered the estimate."""
        return self._alive

    @property
    def retained_bytes(self) -> int:
        """Bytes of the bodies that are kept for later."""
        return self._retained_bytes

    def facts(self, key: Key) -> Facts | None:
        """Return the ETag and length of a body that was rendered before, also if it is not in memory now."""
        with self._lock:
            facts = self._known.get(key)
            if facts is not None:
                self._known.move_to_end(key)
            return facts

    def find(self, key: Key) -> Rendered | None:
        """Return a share of a body that is in memory, to be released; None if it is not."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry.body is None:
                return None
            self._use(entry)
        return Rendered(self, entry)

    async def get(
        self,
        key: Key,
        render: Callable[[], bytes],
        cost_bytes: int,
        *,
        retain: bool = True,
        priority: int = DEFAULT_PRIORITY,
    ) -> Rendered:
        """Return a body, rendered now, by a request before, or by one that waits for it already.

        Args:
            key: What is asked for.
            render: Makes the body, in a rendering thread.
            cost_bytes: Upper limit of the memory that `render` takes at its peak, its result included.
            retain: Whether to keep it for later requests.
            priority: In the queue for rendering, as `ThreadPool.run` takes it.

        Returns:
            The caller's share of it, to be released. If this is cancelled while it waits, nothing is left
            to release, and rendering that nobody else waits for does not begin.

        Raises:
            Overloaded: The queue for rendering is full.
            TooManyBytes: There is no room for it in the budget, or in the part of it for rendered bodies.
            DeadlineExceeded: It was not ready in time.
            ServiceError: Whatever `render` raised; it is not kept.
        """
        entry = self._join(key, render, cost_bytes, retain, priority)
        try:
            if entry.body is None:
                await self.workers.wait(entry.future)
            return Rendered(self, entry)
        except BaseException:
            self._leave(entry)
            raise

    def serve_only(self, versions: Iterable[Version]) -> None:
        """Forget the bodies of all model versions but these; those being sent live until they are sent."""
        served = frozenset(versions)
        with self._lock:
            self._versions = served
            for key in [key for key in self._known if not _is_of(key, served)]:
                del self._known[key]
            for key in [key for key in self._retained if not _is_of(key, served)]:
                self._evict(self._retained[key])

    def reclaim(self, size: int) -> None:
        """Evict retained bodies that nobody sends, least recently used first, until `size` bytes are free."""
        with self._lock:
            self._reclaim(size)

    def _join(
        self, key: Key, render: Callable[[], bytes], cost_bytes: int, retain: bool, priority: int
    ) -> _Entry:
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._use(found)
                return found
            entry = _Entry(key, retain, users=1)
            entry.future = self.workers.submit(
                lambda: self._render(entry, render, cost_bytes), priority=priority
            )
            self._entries[key] = entry
        entry.future.add_done_callback(lambda _: self._drop_failed(entry))  # it may be done: without the lock
        return entry

    def _use(self, entry: _Entry) -> None:
        """Count one more user of an entry; the lock is held."""
        entry.users += 1
        if entry.key in self._retained:
            self._retained.move_to_end(entry.key)

    def _render(self, entry: _Entry, render: Callable[[], bytes], cost_bytes: int) -> None:
        self._acquire(cost_bytes)
        counted = cost_bytes
        try:
            body = render()
            facts = Facts(f'"{hashlib.sha256(body).hexdigest()[:32]}"', len(body))
            if facts.length > counted:  # the estimate was too low
                self._acquire(facts.length - counted)
                counted = facts.length
        except BaseException:
            self._give_back(counted)
            raise
        self._give_back(counted - facts.length)
        with self._lock:
            entry.body, entry.facts = body, facts
            is_served = _is_of(entry.key, self._versions)
            if entry.retain and is_served:
                self._known[entry.key] = facts
                while len(self._known) > _MAX_KNOWN:
                    self._known.popitem(last=False)
            is_listed = self._entries.get(entry.key) is entry
            if is_listed and entry.retain and is_served and facts.length <= self._retained_limit:
                self._retained[entry.key] = entry
                self._retained_bytes += facts.length
                while self._retained_bytes > self._retained_limit:
                    self._evict(next(iter(self._retained.values())))
            elif not entry.users:
                self._drop(entry)

    def _leave(self, entry: _Entry) -> None:
        unwanted = None
        with self._lock:
            entry.users -= 1
            if entry.users:
                return
            if entry.body is not None:
                if self._retained.get(entry.key) is not entry:
                    self._drop(entry)
            elif not entry.future.running() and self._entries.get(entry.key) is entry:
                del self._entries[entry.key]  # so that nobody joins what is cancelled
                unwanted = entry.future
        if unwanted is not None:
            unwanted.cancel()  # which calls callbacks

    def _drop_failed(self, entry: _Entry) -> None:
        """Forget an entry whose rendering failed, so that the next request tries again."""
        with self._lock:
            if entry.body is None and self._entries.get(entry.key) is entry:
                del self._entries[entry.key]

    def _evict(self, entry: _Entry) -> None:
        """Retain an entry no longer; the lock is held."""
        del self._retained[entry.key]
        assert entry.facts is not None
        self._retained_bytes -= entry.facts.length
        if not entry.users:
            self._drop(entry)

    def _drop(self, entry: _Entry) -> None:
        """Forget a body that nobody uses; the lock is held."""
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]
        assert entry.facts is not None
        entry.body = None
        self._alive -= entry.facts.length
        self._budget.release(entry.facts.length)

    def _reclaim(self, size: int) -> None:
        for entry in list(self._retained.values()):
            if size <= 0:
                break
            if not entry.users:
                assert entry.facts is not None
                size -= entry.facts.length
                self._evict(entry)

    def _acquire(self, size: int) -> None:
        with self._lock:
            if size <= self._limit:
                self._reclaim(self._alive + size - self._limit)
            if self._alive + size > self._limit:
                raise TooManyBytes(self._limit)
            self._alive += size
        try:
            self._budget.acquire(size)  # without the lock: it may call `reclaim`
        except TooManyBytes:
            with self._lock:
                self._alive -= size
            raise

    def _give_back(self, size: int) -> None:
        with self._lock:
            self._alive -= size
        self._budget.release(size)


def _is_of(key: Key, served: frozenset[Version] | None) -> bool:
    return key.version is None or served is None or key.version in served
