"""Evaluation of the fits of a run: accuracy, loss and calibration per part, temperature and OOD threshold."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.core.artifact.manifest import Certainty, Measurement
from training.data.data_sets import Role
from training.evaluation import calibration, ood
from training.fitting.jobs import JobResult
from training.fitting.scoring import predict, score

ALL_HELD_OUT = "all that was left out, by the fit that has not met it"
"""Name in a manifest of the held-out data of all fits, each part predicted by the fit that excluded it."""


@dataclass(frozen=True)
class LabelledLogits:
    """Logits of a fit on labelled examples.

    Attributes:
        logits: (N, classes) float32.
        labels: (N,) int64.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]


ByPart = dict[str, list[LabelledLogits]]
"""By part, the predictions of each fit of a job."""


def measure(results: Sequence[JobResult]) -> tuple[list[Measurement], float, Certainty | None]:
    """Evaluate all fits of a run.

    Temperature and threshold are chosen on held-out donors, using the fits that excluded them; never on a
    test part.

    Args:
        results: All jobs; those without a fit are skipped.

    Returns:
        One measurement per part of each job, and one per held-out part over all donors; the temperature, 1
        without held-out donors; the OOD threshold, None without held-out donors.
    """
    predicted = [(result, predict_parts(result)) for result in results if result.fits]
    held_out = _held_out(predicted)
    if not held_out:
        return [each for result, parts in predicted for each in measure_parts(result, parts, 1.0)], 1.0, None
    everything = concatenate(list(held_out.values()))
    temperature = calibration.best_temperature(everything.logits, everything.labels)
    together = [
        measurement(("held-out", ALL_HELD_OUT, part), [found], _held_out_seeds(predicted), temperature)
        for part, found in held_out.items()
    ]
    apart = [each for result, parts in predicted for each in measure_parts(result, parts, temperature)]
    digits = {f"digits, not met: {part}": found.logits for part, found in held_out.items()}
    others = _nondigit_logits([result for result, _ in predicted])
    return together + apart, temperature, ood.choose_threshold(digits, others, temperature)


def measurement(
    names: tuple[Role, str, str],
    predictions: Sequence[LabelledLogits],
    seeds: tuple[int, ...],
    temperature: float,
) -> Measurement:
    """Measure one part.

    Args:
        names: Role of the fits, name of the data, name of the part.
        predictions: Logits of each fit.
        seeds: Seed of each fit.
        temperature: Temperature of the network.
    """
    role, data, part = names
    scores = [score(each.logits, each.labels, temperature) for each in predictions]
    accuracies = [each.accuracy for each in scores]
    errors = [calibration.calibration_error(each.logits, each.labels, temperature) for each in predictions]
    return Measurement(
        fit=role,
        data=data,
        split=part,
        examples=scores[0].examples,
        seeds=seeds,
        accuracy=statistics.fmean(accuracies),
        spread=statistics.stdev(accuracies) if len(scores) > 1 else None,
        loss=statistics.fmean(each.loss for each in scores),
        calibration_error=statistics.fmean(errors),
    )


def predict_parts(result: JobResult) -> ByPart:
    """Return the predictions of every fit of a job on every part of its data."""
    return {
        name: [LabelledLogits(predict(fit.net, part.pixels), part.labels) for fit in result.fits]
        for name, part in result.job.split.parts.items()
    }


def _held_out(predicted: Sequence[tuple[JobResult, ByPart]]) -> dict[str, LabelledLogits]:
    """Return by part the predictions of held-out data, over all jobs with held-out donors."""
    jobs = [(result, parts) for result, parts in predicted if result.job.role == "held-out"]
    names = dict.fromkeys(name for result, _ in jobs for name in result.job.split.extra)
    return {name: concatenate([each for _, parts in jobs for each in parts[name]]) for name in names}


def concatenate(predictions: Sequence[LabelledLogits]) -> LabelledLogits:
    """Return the predictions of all parts, in order."""
    return LabelledLogits(
        np.concatenate([each.logits for each in predictions]),
        np.concatenate([each.labels for each in predictions]),
    )


def _held_out_seeds(predicted: Sequence[tuple[JobResult, object]]) -> tuple[int, ...]:
    return tuple(
        seed for result, _ in predicted if result.job.role == "held-out" for seed in result.job.seeds
    )


def measure_parts(
    result: JobResult, parts: Mapping[str, Sequence[LabelledLogits]], temperature: float
) -> list[Measurement]:
    """Measure every part of a job.

    Args:
        result: The job.
        parts: Predictions of its fits, by part.
        temperature: Temperature of the network.
    """
    job = result.job
    data = job.split.data_set if job.role != "held-out" else f"{job.split.data_set}, {job.split.name}"
    return [
        measurement((job.role, data, part), found, job.seeds, temperature) for part, found in parts.items()
    ]


def _nondigit_logits(results: Sequence[JobResult]) -> dict[str, NDArray[np.float32]]:
    """Return (N, classes) logits of non-digits by the fits with held-out donors, by kind."""
    images, kinds = ood.nondigit_images()
    jobs = [result for result in results if result.job.role == "held-out"]
    fits = [fit for result in jobs for fit in result.fits]
    logits = np.concatenate([predict(fit.net, images) for fit in fits])
    masks = ood.kind_masks(np.tile(kinds, len(fits)))
    found = {name: logits[mask] for name, mask in masks.items()}
    for kind in dict.fromkeys(kind for result in jobs for kind in result.job.nondigits):
        parts = [
            predict(fit.net, result.job.nondigits[kind])
            for result in jobs
            if kind in result.job.nondigits
            for fit in result.fits
        ]
        found[f"{ood.NO_DIGIT}: {kind}"] = np.concatenate(parts)
    return found
