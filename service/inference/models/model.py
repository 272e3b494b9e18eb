"""A loaded model: its manifest, its engine and its layers."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from service.core.artifact.artifact import Artifact
from service.core.artifact.manifest import ROW_NAME, Manifest
from service.core.inputs import InputPreprocessing
from service.core.network import dense_layers
from service.core.network.dense_layers import Layer
from service.core.network.engine import Engine

_QUICK_PARAMETERS = 4_000_000
"""Parameters of a network that runs on the event loop; a larger one runs in the thread pool. `ink`, with 2.4
million, takes less than 1 ms an image."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """One version of a published model, in memory and ready to predict.

    Attributes:
        manifest: Its manifest.
        engine: Runs the network.
        layers: Weights and biases by layer name, from input to output; empty for a network with other than
            dense layers with ReLU.
    """

    manifest: Manifest
    engine: Engine
    layers: Mapping[str, Layer]

    @cached_property
    def name(self) -> str:
        """Model name."""
        return self.manifest.name

    @cached_property
    def version(self) -> str:
        """Version."""
        return self.manifest.version

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return self.manifest.input.shape[1:]

    @cached_property
    def preprocessing(self) -> InputPreprocessing:
        """How drawings and picture files become the input."""
        return self.manifest.input_preprocessing

    @cached_property
    def takes_rows(self) -> bool:
        """Whether its inputs are rows of float32 numbers, in place of images."""
        return self.manifest.input.name == ROW_NAME

    @cached_property
    def input_bytes(self) -> int:
        """Size of one input in bytes."""
        return math.prod(self.shape) * np.dtype(self.manifest.input.dtype).itemsize

    @cached_property
    def is_quick(self) -> bool:
        """Whether a prediction for one image is quick enough for the event loop, judged by the layers."""
        return bool(self.layers) and self.manifest.parameters <= _QUICK_PARAMETERS


def load_model(published: Artifact, engine_threads: int) -> Model:
    """Load a published version and check that it reproduces its golden examples.

    Args:
        published: The published folder.
        engine_threads: Threads of one inference.

    Raises:
        ArtifactError: The model cannot be loaded, or computes something else than its golden examples or
            its layers.
    """
    engine = Engine.load(published, engine_threads)
    layers = dense_layers.read(published)
    if layers:
        dense_layers.check(published, layers, lambda images: engine.run(images).logits)
    model = Model(published.manifest, engine, layers)
    fields = {"model": model.name, "version": model.version, "threads": engine_threads}
    log.info("model ready", extra={"fields": fields})
    return model
