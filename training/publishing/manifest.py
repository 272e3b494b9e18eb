"""Manifest of a fitted network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.core.artifact.manifest import (
    INPUT_NAME,
    LOGITS_NAME,
    PROBABILITIES_NAME,
    Certainty,
    DataSource,
    Making,
    Measurement,
    Tensor,
)
from service.core.inputs import InputPreprocessing
from training.data.examples import Split
from training.model.mlp import MLP
from training.publishing import onnx_float
from training.recipes.recipe import Recipe


@dataclass(frozen=True)
class FittedModel:
    """A fitted network and the contents of its folder.

    Attributes:
        recipe: Recipe of the fit.
        net: The network, in evaluation mode.
        model: The exported ONNX file.
        splits: Data of the fits and evaluations. The first split gives image shape, class names and the
            images for verification.
        making: Provenance.
        metrics: Measurements.
        report: Files for `report/`, by name.
        temperature: Temperature in the exported file.
        certainty: OOD threshold at this temperature; None for a network without one.
        preprocessing: Member of the manifest; None for the default of the input's shape.
    """

    recipe: Recipe
    net: MLP
    model: bytes
    splits: tuple[Split, ...]
    making: Making
    metrics: tuple[Measurement, ...]
    report: Mapping[str, bytes]
    temperature: float = 1.0
    certainty: Certainty | None = None
    preprocessing: InputPreprocessing | None = None


def manifest_of(fitted: FittedModel) -> dict[str, Any]:
    """Return the manifest as `service.core.artifact.artifact.publish` takes it."""
    classes = fitted.splits[0].classes
    layers = onnx_float.layers(fitted.net)
    image = Tensor(
        name=INPUT_NAME,
        dtype="uint8",
        shape=(-1, *fitted.splits[0].train.pixels.shape[1:]),
    )
    scores = (
        Tensor(name=name, dtype="float32", shape=(-1, len(classes)))
        for name in (LOGITS_NAME, PROBABILITIES_NAME)
    )
    sources = [
        DataSource(
            name=split.data_set,
            split=f"{split.name} {name}",
            examples=len(part),
            sha256=part.sha256,
        )
        for split in fitted.splits
        for name, part in split.parts.items()
    ]
    preprocessing = {"preprocessing": fitted.preprocessing} if fitted.preprocessing else {}
    return {
        "format": 1,
        "name": fitted.recipe.model_name,
        "description": fitted.recipe.description,
        "input": image.model_dump(),
        "outputs": [tensor.model_dump() for tensor in scores],
        **preprocessing,
        "labels": classes,
        "layers": [layer.model_dump(exclude_unset=True) for layer in layers],
        "parameters": sum(layer.parameters for layer in layers),
        "temperature": fitted.temperature,
        "certainty": fitted.certainty and fitted.certainty.model_dump(),
        "opset": onnx_float.OPSET,
        "recipe": fitted.recipe.to_dict(),
        "data": [source.model_dump() for source in sources],
        "making": fitted.making.model_dump(),
        "metrics": [measurement.model_dump() for measurement in fitted.metrics],
    }
