"""Pins in force: those of the settings before those of the file `PINS`."""

from collections.abc import Callable, Sequence
from pathlib import Path

from service.core.artifact import pins
from service.inference.models.registry import Registry


def prepare(root: Path, chosen: Sequence[str], registry: Registry) -> Callable[[], None]:
    """Read the pins, and return the function that puts them in force: a reload hook.

    Args:
        root: The models folder.
        chosen: Pins of the settings, such as `mlp-128/2`.
        registry: Receives the pins.

    Raises:
        ManifestInvalid: The file `PINS` is not valid.
    """
    found = pins.read(root) | pins.parse(chosen)
    return lambda: registry.pin(found)
