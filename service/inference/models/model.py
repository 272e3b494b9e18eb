"""A loaded model: its manifest, its engine and its layers."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from service.core.artifact.artifact import Artifact
from service.core.artifact.manifest import InputPreprocessing, Manifest
from service.core.network import dense_layers
from service.core.network.dense_layers import Layer
from service.core.network.engine import Engine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """One version of a published model, in memory and ready to predict.

    Attributes:
        manifest: Its manifest.
        engine: Runs the network.
        layers: Weights and biases by layer name, from input to output.
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
    dense_layers.check(published, layers, lambda images: engine.run(images).logits)
    model = Model(published.manifest, engine, layers)
    fields = {"model": model.name, "version": model.version, "threads": engine_threads}
    log.info("model ready", extra={"fields": fields})
    return model
