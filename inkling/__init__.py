"""Python interface of Inkling: networks in process, and a client of the service.

    from inkling import Model
    Model.load("models/ink").predict("seven.png")

    from inkling import Client
    Client("http://127.0.0.1:8000").predict("seven.png")

Names are imported when they are first used, so that each use loads only what it needs.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inkling.client.asynchronous import AsyncClient
    from inkling.client.responses import ModelInfo
    from inkling.client.sync import Client
    from inkling.errors import InklingError
    from inkling.inputs import Images
    from inkling.model import Model
    from inkling.predictions import ClassProbability, Prediction, Predictions

_PLACES = {
    "AsyncClient": "inkling.client.asynchronous",
    "Client": "inkling.client.sync",
    "ModelInfo": "inkling.client.responses",
    "ClassProbability": "inkling.predictions",
    "Images": "inkling.inputs",
    "InklingError": "inkling.errors",
    "Model": "inkling.model",
    "Prediction": "inkling.predictions",
    "Predictions": "inkling.predictions",
}
"""The module of each public name."""

__all__ = [
    "AsyncClient",
    "ClassProbability",
    "Client",
    "Images",
    "InklingError",
    "Model",
    "ModelInfo",
    "Prediction",
    "Predictions",
]


def __getattr__(name: str) -> object:
    """Import a public name."""
    if name not in _PLACES:
        raise AttributeError(f"module 'inkling' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
