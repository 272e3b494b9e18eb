"""Who may change what is served, and how: the protocol's model repository, over whichever wire.

The changes themselves are `service.serving.registry`'s work.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.core.errors import MalformedRequest, ManagementOff
from service.http.drawings import quote
from service.serving.changes import LOAD, UNLOAD, Changes
from service.serving.registry import Registry, Standing


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

    def index(self, only_ready: bool = False) -> list[Standing]:
        """Return how every published version stands, or every one that can answer.

        Raises:
            ManagementOff: It is.
        """
        self.check()
        return [standing for standing in self.registry.index() if standing.is_ready or not only_ready]

    async def load(self, name: str, parameters: Mapping[str, Any]) -> list[Standing]:
        """Serve what is published of a model now.

        Args:
            name: Of the model.
            parameters: What the caller would have changed about it; there must be nothing.

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
        await self.changes.apply(LOAD, name)
        return self._of(name)

    async def unload(self, name: str) -> list[Standing]:
        """Serve a model no longer.

        Returns:
            How its versions stand.

        Raises:
            ManagementOff: It is.
            UnknownModel, ReloadRefused: As `Changes.apply`.
            Overloaded, DeadlineExceeded, Stopping: As `Changes.apply`.
        """
        self.check()
        await self.changes.apply(UNLOAD, name)
        return self._of(name)

    def _of(self, name: str) -> list[Standing]:
        return [standing for standing in self.registry.index() if standing.name == name]

    def check(self) -> None:
        """Raise ManagementOff if it is."""
        if not self.is_on:
            raise ManagementOff
