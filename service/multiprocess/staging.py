"""Worker side of two-phase changes: stages a change in a thread, then commits or drops it."""

import asyncio
import itertools
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from service.multiprocess.change import ChangeResult, ServedVersions
from service.multiprocess.channel import Message

_STOPPING = "The service should not be stopping; it is."


class Staged(Protocol):
    """A change that is loaded and checked but not visible yet.

    Attributes:
        served: Versions that are served after it.
        error: Error of published folders; raised to the requester after the commit.
    """

    @property
    def served(self) -> ServedVersions: ...  # noqa: D102 - described above

    @property
    def error(self) -> Exception | None: ...  # noqa: D102 - described above

    def commit(self) -> None:
        """Make the change visible."""


class ChangeStager(Protocol):
    """Loads and checks a change aside. Called in a thread, one call at a time."""

    def __call__(self, kind: str, model: str, published: Collection[tuple[str, str]], /) -> Staged:
        """Return the staged change.

        Args:
            kind: "load", "unload" or "reload".
            model: Model name; empty for a reload.
            published: Names and versions to consider; other folders are ignored.

        Raises:
            Exception: The change is refused; the message is returned to the requester.
        """


class Participant:
    """One worker's part in changes: stages and commits them, and requests them.

    All methods are called in the event loop.
    """

    def __init__(self, send: Callable[[Message], None]) -> None:
        """Create it; `start` must be called before any other method.

        Args:
            send: Sends a message to the supervisor.
        """
        self._send = send
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stage: ChangeStager | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._preparing: set[int] = set()  # numbers of changes that are in the thread
        self._aborted: set[int] = set()  # those of them that were aborted meanwhile
        self._staged: tuple[int, Staged] | None = None
        self._requests = itertools.count(1)
        self._errors: dict[int, Exception | None] = {}  # of changes that this worker requested, by request
        self._results: dict[int, asyncio.Future[ChangeResult]] = {}

    def start(self, stage: ChangeStager | None) -> None:
        """Start staging in the running event loop.

        Args:
            stage: Stages changes; None refuses them.
        """
        self._loop = asyncio.get_running_loop()
        self._stage = stage
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reload")

    def stop(self) -> None:
        """Stop staging; requests of this worker that wait for their result fail."""
        assert self._thread
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._loop = None
        for future in self._results.values():
            if not future.done():
                future.set_exception(ConnectionError(_STOPPING))

    async def request(self, kind: str, model: str) -> ChangeResult:
        """Request a change; as `WorkerProcess.request_change`."""
        if self._loop is None:
            raise ConnectionError(_STOPPING)
        number = next(self._requests)
        future: asyncio.Future[ChangeResult] = self._loop.create_future()
        self._results[number] = future
        try:
            self._send({"type": "change", "request": number, "kind": kind, "model": model})
            return await future
        finally:
            del self._results[number]

    def prepare(self, message: Mapping[str, Any]) -> None:
        """Stage a change in the thread, and report the versions that would be served or why it is refused."""
        assert self._loop
        assert self._thread
        number = message["number"]
        published = {(name, version) for name, version in message["published"]}
        self._preparing.add(number)
        staging = self._thread.submit(self._stage_one, message["kind"], message["model"], published)

        def report() -> None:
            self._preparing.discard(number)
            staged = staging.result()
            error = staged if isinstance(staged, Exception) else staged.error
            if message["request"] in self._results:  # this worker requested it
                self._errors[message["request"]] = error and error.with_traceback(None)
            if number in self._aborted:  # while it was staged
                self._aborted.discard(number)
                return
            served = None
            if not isinstance(staged, Exception):
                self._staged = number, staged
                served = {name: list(versions) for name, versions in staged.served.items()}
            reasons = [str(error)] if error else []
            self._send({"type": "prepared", "number": number, "served": served, "reasons": reasons})

        def report_in_loop(_: object) -> None:
            if (loop := self._loop) and not loop.is_closed():
                loop.call_soon_threadsafe(report)

        staging.add_done_callback(report_in_loop)

    def commit(self, number: int) -> None:
        """Make the staged change visible, and report it."""
        staged_number, staged = self._staged or (0, None)
        assert staged is not None, "a change is committed after it was prepared"
        assert staged_number == number, "a change is committed before the next one is prepared"
        self._staged = None
        staged.commit()
        self._send({"type": "committed", "number": number})

    def abort(self, number: int) -> None:
        """Drop a change that is staged or being staged."""
        if number not in self._preparing:
            self._staged = None
        else:
            self._aborted.add(number)

    def on_result(self, message: Mapping[str, Any]) -> None:
        """Pass the result of a change to the request that waits for it."""
        future = self._results.get(message["request"])
        error = self._errors.pop(message["request"], None)
        if future is not None and not future.done():  # else the request was cancelled
            future.set_result(ChangeResult(message["outcome"], message["reasons"], error, message["queued"]))

    def _stage_one(self, kind: str, model: str, published: Collection[tuple[str, str]]) -> Staged | Exception:
        try:
            if self._stage is None:
                raise RuntimeError("this worker has no models to change")
            return self._stage(kind, model, published)
        except Exception as error:  # any error refuses the change in all workers
            return error
