"""Loads and unloads models for clients: the protocol's model repository, for HTTP and gRPC.

The changes themselves are `service.serving.registry`'s work.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.core.errors import MalformedRequest, ManagementOff, ServiceError
from service.http.drawings import quote
from service.inference.admission import audit
from service.inference.admission.audit import Actor
from service.serving.registry import Registry, Standing
from service.serving.workers import Workers


@dataclass(frozen=True)
class Management:
    """The model repository.

    Attributes:
        registry: What is served.
        workers: Where a model is loaded, beside the event loop.
        is_on: Whether callers may do any of this.
    """

    registry: Registry
    workers: Workers
    is_on: bool
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def index(self, only_ready: bool = False) -> list[Standing]:
        """Return how every published version stands, or every one that can answer.

        Raises:
            ManagementOff: It is.
        """
        self.check()
        return [standing for standing in self.registry.index() if standing.is_ready or not only_ready]

    async def load(self, name: str, parameters: Mapping[str, Any], actor: Actor) -> list[Standing]:
        """Load what is published of a model now, and write an audit record.

        Args:
            name: Of the model.
            parameters: What the caller would have changed about it; there must be nothing.
            actor: Who asks for it.

        Returns:
            How its versions stand.

        Raises:
            ManagementOff: It is.
            MalformedRequest: A parameter came: published folders are served as they are.
            UnknownModel, ReloadRefused: As `Registry.reload`.
            Overloaded, DeadlineExceeded: As `Workers.run`.
        """
        self.check()
        if parameters:
            expected = "none, because published folders are served as they are"
            raise MalformedRequest("Parameters", expected, quote(next(iter(parameters))))
        await self.workers.run(lambda: self._change("load", name, self.registry.reload, actor))
        return self._of(name)

    async def unload(self, name: str, actor: Actor) -> list[Standing]:
        """Stop serving a model, and write an audit record.

        Args:
            name: Of the model.
            actor: Who asks for it.

        Returns:
            How its versions stand.

        Raises:
            ManagementOff: It is.
            UnknownModel: As `Registry.unload`.
            Overloaded, DeadlineExceeded: As `Workers.run`.
        """
        self.check()
        await self.workers.run(lambda: self._change("unload", name, self.registry.unload, actor))
        return self._of(name)

    def _change(self, operation: str, name: str, change: Callable[[str], None], actor: Actor) -> None:
        """Make a change and record it, on the thread that makes it: its client may be gone by then."""
        with self._changing:  # else `before` and `after` could be those of another change
            before = self._ready(name)
            outcome = "failed"
            try:
                change(name)
                outcome = "done"
            except ServiceError as error:
                outcome = type(error).__name__
                raise
            finally:
                after = self._ready(name)
                audit.record(actor, operation, name, before, after, outcome)

    def _ready(self, name: str) -> list[str]:
        return [standing.version for standing in self._of(name) if standing.is_ready]

    def _of(self, name: str) -> list[Standing]:
        return [standing for standing in self.registry.index() if standing.name == name]

    def check(self) -> None:
        """Raise ManagementOff if it is."""
        if not self.is_on:
            raise ManagementOff
