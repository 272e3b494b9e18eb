"""Services for tests: in process with other settings, and one request at a time below HTTP."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from starlette.datastructures import Headers
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message

from service.app import create_app
from service.inference.predictor import Predictor
from service.settings import Settings

PATIENCE_S = 10.0
"""How long a test waits for something that happens at once; only a broken service takes that long."""


@contextmanager
def service(settings: Settings, **changed: Any) -> Iterator[TestClient]:  # noqa: ANN401 - as settings are
    """Run a service in process, with some settings changed."""
    app = create_app(settings.model_copy(update=changed))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@dataclass
class Exchanged:
    """What an application sent for one request."""

    status_code: int = 0
    headers: Headers = field(default_factory=Headers)
    content: bytes = b""

    def json(self) -> Any:  # noqa: ANN401 - JSON can be anything
        """Parse the body."""
        return orjson.loads(self.content)


def exchange(
    app: ASGIApp,
    path: str,
    arriving: Sequence[Message],
    headers: Sequence[tuple[str, str]] = (),
    method: str = "POST",
) -> Exchanged:
    """Ask an application whose lifespan has begun; once all messages have arrived, nothing more does."""
    messages = list(arriving)
    answer = Exchanged()

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop(0)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status_code = message["status"]
            answer.headers = Headers(raw=list(message["headers"]))
        else:
            answer.content += message.get("body", b"")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    asyncio.run(asyncio.wait_for(app(scope, receive, send), PATIENCE_S))
    return answer


def chunk(body: bytes, more: bool = True) -> Message:
    """Return a part of a body as it arrives."""
    return {"type": "http.request", "body": body, "more_body": more}


class Held:
    """Holds every prediction until it is let go, so that a service is busy for as long as a test likes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Semaphore(0)
        self._go = threading.Event()
        real = Predictor.predict

        def predict(predictor: Predictor, *arguments: Any) -> object:  # noqa: ANN401 - whatever they are
            self.begun.release()
            assert self._go.wait(PATIENCE_S)
            return real(predictor, *arguments)

        monkeypatch.setattr(Predictor, "predict", predict)

    def wait_for_one(self) -> None:
        """Wait until one more prediction has begun."""
        assert self.begun.acquire(timeout=PATIENCE_S)

    def let_go(self) -> None:
        """Let all of them go on."""
        self._go.set()


class Background:
    """Work in a thread, and what it returned."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._answer: Any = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], Any]) -> None:
        self._answer = work()

    def answer(self) -> Any:  # noqa: ANN401 - whatever the work returns
        """Wait for the work to end and return what it returned."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self._answer
