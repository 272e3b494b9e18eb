"""Fixtures: the service that `test_clients.py` started, and asyncio clients as blocking ones.

Runs in the clients' own environment.
"""

import asyncio
import inspect
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.clients.served import Service


class Waiting:
    """Blocking wrapper of an asyncio client, so that one test can use both kinds of clients."""

    def __init__(self, make: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        async def made() -> Any:  # noqa: ANN401 - clients have no types
            return make()

        self._loop = loop
        self._client = loop.run_until_complete(made())

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as above
        return partial(self._wait, getattr(self._client, name))

    def _wait(self, call: Callable[..., Any], *arguments: object, **named: object) -> Any:  # noqa: ANN401 - as above
        answer = call(*arguments, **named)
        if not inspect.isawaitable(answer):
            return answer

        async def awaited() -> Any:  # noqa: ANN401 - as above
            return await answer

        return self._loop.run_until_complete(awaited())


@pytest.fixture(scope="session")
def service() -> Service:
    """The service that `test_clients.py` started."""
    folder = Path(os.environ["CLIENTS_FOLDER"])
    said = json.loads((folder / "service.json").read_text())
    return Service(said["http"], said["grpc"], Path(said["models"]), Path(said["spare"]), folder)


@pytest.fixture(scope="session")
def waiting() -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Return a function that wraps an asyncio client; all wrappers are closed at the end."""
    loop = asyncio.new_event_loop()
    clients: list[Waiting] = []

    def wait_for(make: Callable[[], Any]) -> Waiting:
        clients.append(Waiting(make, loop))
        return clients[-1]

    yield wait_for
    for client in clients:
        client.close()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
