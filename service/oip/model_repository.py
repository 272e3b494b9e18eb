"""The protocol's model repository: lists, loads and unloads models, and writes audit records."""

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
        is_on: The setting `management`.
    """

    registry: Registry
    changes: Changes
    is_on: bool
    _applying: set[asyncio.Task[None]] = field(default_factory=set)

    def index(self, only_ready: bool = False) -> list[ModelStatus]:
        """Return the status of every published version, or of those that are ready.

        Raises:
            ManagementOff: Management is off.
        """
        self.check()
        return [status for status in self.registry.index() if status.is_ready or not only_ready]

    async def load(self, name: str, parameters: Mapping[str, Any], actor: Actor) -> list[ModelStatus]:
        """Load the published versions of a model, and write an audit record.

        Args:
            name: Name of the model.
            parameters: Parameters of the request; must be empty.
            actor: The client, for the audit record.

        Returns:
            The status of every version of the model.

        Raises:
            ManagementOff: Management is off.
            MalformedRequest: There are parameters.
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
        """Unload a model, and write an audit record.

        Args:
            name: Name of the model.
            actor: The client, for the audit record.

        Returns:
            The status of every version of the model.

        Raises:
            ManagementOff: Management is off.
            UnknownModel, ReloadRefused: As `Changes.apply`.
            Overloaded, DeadlineExceeded, Stopping: As `Changes.apply`.
        """
        self.check()
        await self._apply(UNLOAD, name, actor)
        return self._of(name)

    async def _apply(self, kind: str, name: str, actor: Actor) -> None:
        """Make a change and record it, even if the client disconnects meanwhile."""
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
        return [status.version for status in self._of(name) if status.is_ready]

    def _of(self, name: str) -> list[ModelStatus]:
        return [status for status in self.registry.index() if status.name == name]

    def check(self) -> None:
        """Raise ManagementOff if management is off."""
        if not self.is_on:
            raise ManagementOff
