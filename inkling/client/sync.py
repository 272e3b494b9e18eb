"""`Client`: calls the service from ordinary functions, through `AsyncClient` on an event loop of its own."""

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from inkling.client.asynchronous import AsyncClient, Prepare
from inkling.client.responses import ModelInfo
from inkling.inputs import Images
from inkling.predictions import Predictions

if TYPE_CHECKING:
    import httpx2

Result = TypeVar("Result")


class _Running(NamedTuple):
    """The event loop of a client, in a thread of its own.

    Attributes:
        pid: Process in which the thread runs; a forked process needs another one.
        loop: The event loop.
        client: The client that runs on it.
        stop: Closes the client and stops the loop.
    """

    pid: int
    loop: asyncio.AbstractEventLoop
    client: AsyncClient
    stop: Callable[[], object]


class Client:
    """Client of the service.

    Any number of threads may share it. A forked process opens connections of its own. Use it as a context
    manager, or call `close`; a client that is not closed is closed when it is no longer referenced.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        model: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 4,
        concurrency: int = 4,
        transport: "httpx2.AsyncBaseTransport | None" = None,
    ) -> None:
        """Create a client; nothing is sent yet. Arguments and errors are those of `AsyncClient`."""

        def make() -> AsyncClient:
            return AsyncClient(
                url,
                key=key,
                model=model,
                timeout_s=timeout_s,
                retries=retries,
                concurrency=concurrency,
                transport=transport,
            )

        self._make = make
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._unused: AsyncClient | None = make()  # now, so that a wrong argument is an error at once

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        running, self._running = self._running, None
        if running is not None and running.pid == os.getpid():
            running.stop()

    def models(self) -> list[ModelInfo]:
        """Return the newest version of each model; as `AsyncClient.models`."""
        return self._call(lambda client: client.models())

    def predict(
        self,
        images: Images,
        *,
        model: str | None = None,
        version: str | None = None,
        top: int = 3,
        prepare: Prepare = "auto",
    ) -> Predictions:
        """Classify images.

        Args:
            images: One image or many: arrays, pictures, paths, strokes or a data frame (`inkling.Images`).
            model: Name of the model; None for the client's.
            version: Version; None for the newest one.
            top: Number of top classes of each image.
            prepare: Preprocessing, as `Model.predict` takes it.

        Returns:
            One prediction per image, in order.

        Raises:
            RequestError: An image is not valid; nothing was sent for it.
            ApiError: The service refused a request.
            ClientError: The call failed otherwise.
            OSError: A file cannot be read.
        """
        return self._call(
            lambda client: client.predict(images, model=model, version=version, top=top, prepare=prepare)
        )

    def probabilities(
        self,
        images: Images,
        *,
        model: str | None = None,
        version: str | None = None,
        prepare: Prepare = "auto",
    ) -> NDArray[np.float32]:
        """Return the probability of every class.

        Args:
            images: As for `predict`.
            model: As for `predict`.
            version: As for `predict`.
            prepare: As for `predict`.

        Returns:
            (B, classes) float32; the classes are the `labels` of `models`.

        Raises:
            RequestError, ApiError, ClientError, OSError: As `predict`.
        """
        return self._call(
            lambda client: client.probabilities(images, model=model, version=version, prepare=prepare)
        )

    def _call(self, start: Callable[[AsyncClient], Coroutine[Any, Any, Result]]) -> Result:
        """Run a coroutine on the event loop, and wait for it."""
        running = self._running
        if running is None or running.pid != os.getpid():
            running = self._start()
        future = asyncio.run_coroutine_threadsafe(start(running.client), running.loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C too: nobody waits for the answer any more
            future.cancel()
            raise

    def _start(self) -> _Running:
        if self._running is not None and self._running.pid != os.getpid():
            self._lock = threading.Lock()  # the parent may have held it when this process was forked
        with self._lock:
            running = self._running
            if running is None or running.pid != os.getpid():
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=loop.run_forever, name="inkling-client", daemon=True)
                thread.start()
                client, self._unused = self._unused or self._make(), None
                stop = weakref.finalize(self, _stop, loop, thread, client, os.getpid())
                running = self._running = _Running(os.getpid(), loop, client, stop)
            return running


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread, client: AsyncClient, pid: int) -> None:
    """Close a client and stop its event loop; not in a forked process, whose thread does not exist."""
    if pid != os.getpid() or not thread.is_alive():
        return
    asyncio.run_coroutine_threadsafe(client.close(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()
