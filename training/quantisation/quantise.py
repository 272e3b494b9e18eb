"""Post-training quantisation of a published float32 network to int8, as its next version.

Calibration uses training images only. The test part only decides whether the result is published.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.core.artifact.artifact import Artifact
from service.core.artifact.manifest import MODEL_FILE, DataSource
from service.core.network import dense_layers
from service.core.network.int8 import LARGEST_WEIGHT
from training.data.data_sets import FitJob
from training.data.examples import Examples, Split
from training.evaluation.measurements import LabelledLogits, measurement
from training.fitting.jobs import FitContext, run_held_out_jobs
from training.fitting.loop import THREADS
from training.publishing import onnx_int8, provenance
from training.publishing.onnx_float import OPSET
from training.publishing.publish import QuantisedModel
from training.quantisation import gptq
from training.quantisation.comparison import Comparison, EnergyThreshold, compare, logit_pair
from training.quantisation.held_out import SEED, calibration_images, compare_held_out
from training.recipes.recipe import Recipe
from training.report.records import HISTORY_FILE


@dataclass(frozen=True)
class Quantised:
    """A quantised network and the effect of quantisation.

    Attributes:
        model: The network, ready to publish.
        comparisons: The network before and after, on each kind of image.
    """

    model: QuantisedModel
    comparisons: tuple[Comparison, ...]


def quantise(
    published: Artifact,
    history: bytes,
    recipe: Recipe,
    jobs: Sequence[FitJob],
    context: FitContext,
    unseen: Mapping[str, Examples],
) -> Quantised:
    """Quantise a published network, and measure the effect.

    Args:
        published: The version in float32.
        history: Its `history.json`; empty if there is none.
        recipe: Recipe of the fits with held-out donors, if the jobs hold out donors. With fewer epochs than
            the published network's recipe, it gives other networks of the same kind.
        jobs: Fit jobs of the recipe; the last is the published one.
        context: Folder and callbacks of the fits.
        unseen: Evaluation data that the network was not fitted on, by name.

    Raises:
        DataMismatch: The network was fitted or evaluated on other data.
        TrainingError, OSError: As for `run_job`.
    """
    commit = provenance.commit()  # now, since files may change during the fits
    split, manifest = jobs[-1].split, published.manifest
    split.check_against(manifest)
    began = time.perf_counter()
    calibration = calibration_images(split.train)
    before = dense_layers.read(published)
    after = gptq.quantise_layers(before, calibration.pixels)
    seconds = time.perf_counter() - began
    threshold = None
    if manifest.certainty:
        threshold = EnergyThreshold(manifest.certainty.threshold, manifest.temperature)
    logits = {name: logit_pair(before, after, part.pixels) for name, part in split.parts.items()}
    comparisons = [
        compare(f"{split.data_set}, {name}", logits[name], part.labels, threshold, is_gate=name == "test")
        for name, part in split.parts.items()
    ]
    for name, part in unseen.items():
        pair = logit_pair(before, after, part.pixels)
        comparisons.append(compare(f"{name}, not met", pair, part.labels, threshold, is_gate=True))
    held_out, certainty = compare_held_out(
        run_held_out_jobs(recipe, jobs, context),
        f"fits of {recipe.of_held_out_fits().epochs} epochs",
        threshold,
    )
    comparisons += held_out
    own: dict[str, Any] = {
        "recipe": {**manifest.recipe, "quantised": _record(published, calibration, comparisons)},
        "certainty": certainty and certainty.model_dump(),
        "making": provenance.making(manifest.making.seed, seconds, commit, THREADS).model_dump(),
        "data": [source.model_dump() for source in (*manifest.data, _source(split, calibration))],
        "metrics": [
            measurement(
                ("published", split.data_set, name),
                [LabelledLogits(logits[name].after, part.labels)],
                (manifest.making.seed,),
                manifest.temperature,
            ).model_dump()
            for name, part in split.parts.items()
        ],
    }
    model = QuantisedModel(
        manifest=_inherited(published) | own,
        model=onnx_int8.to_onnx(after, manifest.input.shape[1:], manifest.temperature),
        layers=after,
        images=split.train.pixels,
        temperature=manifest.temperature,
        report={HISTORY_FILE: _published_history(history)} if history else {},
    )
    return Quantised(model, tuple(comparisons))


def _inherited(published: Artifact) -> dict[str, Any]:
    """Return the members of the manifest that follow from the float32 version's."""
    manifest = published.manifest
    content = manifest.model_dump(mode="json", exclude_unset=True, exclude={"version", "sha256"})
    return content | {
        "description": f"{manifest.description} Quantised: int8 weights, uint8 activations.",
        "layers": [layer.model_dump() for layer in onnx_int8.layers(manifest.layers)],
        "opset": OPSET,
    }


def _record(
    published: Artifact, calibration: Examples, comparisons: Sequence[Comparison]
) -> dict[str, object]:
    """Return the parameters and the effect of the quantisation, as in a manifest."""
    return {
        "from": published.identity,
        "sha256": published.manifest.sha256[MODEL_FILE],
        "calibration": len(calibration),
        "calibration_seed": SEED,
        "calibration_sha256": calibration.sha256,
        "damping": gptq.DAMPING,
        "largest_weight": LARGEST_WEIGHT,
        "losses": [each.to_dict() for each in comparisons],
    }


def _source(split: Split, calibration: Examples) -> DataSource:
    return DataSource(
        name=split.data_set,
        split=f"calibration, of {split.name} train",
        examples=len(calibration),
        sha256=calibration.sha256,
    )


def _published_history(history: bytes) -> bytes:
    """Return the learning curve of the published fit, without those of other fits."""
    fits = [fit for fit in json.loads(history)["fits"] if fit["fit"] == "published"]
    return (json.dumps({"fits": fits}, separators=(",", ":"), allow_nan=False) + "\n").encode()
