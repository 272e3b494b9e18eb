"""Helpers of tests: a service in process, single ASGI requests, blocked predictions, background work."""

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
"""Time limit for events that happen at once in a working service."""


@contextmanager
def service(settings: Settings, **changed: Any) -> Iterator[TestClient]:  # noqa: ANN401 - as settings are
    """Run a service in process, with some settings changed."""
    app = create_app(settings.model_copy(update=changed))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@dataclass
class RecordedResponse:
    """The response that an ASGI application sent."""

    status_code: int = 0
    headers: Headers = field(default_factory=Headers)
    content: bytes = b""

    def json(self) -> Any:  # noqa: ANN401 - JSON can be anything
        """Parse the body."""
        return orjson.loads(self.content)


def send_request(
    app: ASGIApp,
    path: str,
    arriving: Sequence[Message],
    headers: Sequence[tuple[str, str]] = (),
    method: str = "POST",
) -> RecordedResponse:
    """Send a request to a started ASGI application; after the last message `receive` blocks."""
    messages = list(arriving)
    answer = RecordedResponse()

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
    """Return an ASGI message with a part of a body."""
    return {"type": "http.request", "body": body, "more_body": more}


class HeldPredictions:
    """Blocks every prediction until `release_all`, to keep a service busy."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Semaphore(0)
        self._go = threading.Event()
        real = Predictor.predict

        def predict(predictor: Predictor, *arguments: Any) -> object:  # noqa: ANN401 - whatever they are
            self.begun.release()
            assert self._go.wait(PATIENCE_S)
            return real(predictor, *arguments)

        monkeypatch.setattr(Predictor, "predict", predict)

    def wait_for_prediction(self) -> None:
        """Wait until one more prediction has started."""
        assert self.begun.acquire(timeout=PATIENCE_S)

    def release_all(self) -> None:
        """Let all predictions continue."""
        self._go.set()


class Background:
    """Runs a function in a thread."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._result: Any = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], Any]) -> None:
        self._result = work()

    def result(self) -> Any:  # noqa: ANN401 - whatever the work returns
        """Wait for the function and return its result."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self._result
