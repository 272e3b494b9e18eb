"""Loads and unloads models for clients: the protocol's model repository, for HTTP and gRPC.

The changes themselves are `service.inference.models.registry`'s work.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.core.errors import MalformedRequest, ManagementOff, ServiceError
from service.core.wording import quote
from service.inference.admission import audit
from service.inference.admission.audit import Actor
from service.inference.models.changes import LOAD, UNLOAD, Changes
from service.inference.models.registry import Registry
from service.inference.models.versions import ModelStatus


@dataclass(frozen=True)
class Management:
    """The model repository.

    Attributes:
        registry: The models that are served.
        changes: Loads and unloads models, in every process or in none.
        is_on: Whether callers may do any of this.
    """

    registry: Registry
    changes: Changes
    is_on: bool
    _applying: set[asyncio.Task[None]] = field(default_factory=set)

    def index(self, only_ready: bool = False) -> list[ModelStatus]:
        """Return how every published version stands, or every one that can answer.

        Raises:
            ManagementOff: It is.
        """
        self.check()
        return [standing for standing in self.registry.index() if standing.is_ready or not only_ready]

    async def load(self, name: str, parameters: Mapping[str, Any], actor: Actor) -> list[ModelStatus]:
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
            UnknownModel, ReloadRefused: As `Changes.apply`.
            Overloaded, DeadlineExceeded, Stopping: As `Changes.apply`.
        """
        self.check()
        if parameters:
            expected = "none, because published folders are served as they are"
            raise MalformedRequest("Parameters", expected, quote(next(iter(parameters))))
        await self._apply(LOAD, name, actor)
        return self._of(name)

    async def unload(self, name: str, actor: Actor) -> list[ModelStatus]:
        """Stop serving a model, and write an audit record.

        Args:
            name: Of the model.
            actor: Who asks for it.

        Returns:
            How its versions stand.

        Raises:
            ManagementOff: It is.
            UnknownModel, ReloadRefused: As `Changes.apply`.
            Overloaded, DeadlineExceeded, Stopping: As `Changes.apply`.
        """
        self.check()
        await self._apply(UNLOAD, name, actor)
        return self._of(name)

    async def _apply(self, kind: str, name: str, actor: Actor) -> None:
        """Make a change and record it, to the end even if its client leaves."""
        task = asyncio.create_task(self._apply_and_record(kind, name, actor))
        self._applying.add(task)
        task.add_done_callback(self._applying.discard)
        await asyncio.shield(task)

    async def _apply_and_record(self, kind: str, name: str, actor: Actor) -> None:
        before, outcome = self._ready(name), "failed"
        try:
            await self.changes.apply(kind, name)
            outcome = "done"
        except ServiceError as error:
            outcome = type(error).__name__
            raise
        finally:
            audit.record(actor, kind, name, before, self._ready(name), outcome)

    def _ready(self, name: str) -> list[str]:
        return [standing.version for standing in self._of(name) if standing.is_ready]

    def _of(self, name: str) -> list[ModelStatus]:
        return [standing for standing in self.registry.index() if standing.name == name]

    def check(self) -> None:
        """Raise ManagementOff if it is."""
        if not self.is_on:
            raise ManagementOff
