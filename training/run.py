"""A run: from a recipe's fit jobs to a published folder.

1. `fitting.jobs` fits the networks.
2. `evaluation` measures them, and chooses temperature and OOD threshold.
3. `publishing` exports the last one, verifies the file and writes the folder.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from service.core.artifact.manifest import Certainty, Measurement
from service.core.artifact.report import Confusion, write_confusions
from service.core.inputs import InputPreprocessing
from training.data.data_sets import FitJob
from training.errors import UnknownName
from training.evaluation.measurements import measure
from training.fitting.jobs import (
    FitContext,
    JobResult,
    remove_all_checkpoints,
    remove_checkpoints,
    run_job,
)
from training.fitting.loop import THREADS, reproducible
from training.fitting.scoring import predict
from training.model.mlp import MLP
from training.publishing import onnx_float, provenance
from training.publishing.manifest import FittedModel
from training.publishing.publish import Published, publish
from training.recipes.recipe import Recipe
from training.report.confusion import confusion
from training.report.records import HISTORY_FILE, LESSON_FILE, write_history

FOLDS = "folds"
"""Folder in a recipe's runs folder: the networks fitted without a donor, named after the donor."""


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of the fits of a run.

    Attributes:
        measure: Returns measurements, temperature and OOD threshold of the jobs, the published one first.
        preprocessing: Member of the manifest; None for the default of the input's shape.
    """

    measure: Callable[[Sequence[JobResult]], tuple[list[Measurement], float, Certainty | None]] = measure
    preprocessing: InputPreprocessing | None = None


def run(
    recipe: Recipe,
    jobs: Sequence[FitJob],
    context: FitContext,
    models: Path,
    fresh: bool = False,
    evaluation: Evaluation | None = None,
) -> Published:
    """Run all fit jobs of a recipe, and publish the network of the last one.

    Every fit has a checkpoint, so that an interrupted run loses at most one epoch. After the publication the
    checkpoints are removed, except those of teachers, which other recipes can use.

    Args:
        recipe: The hyperparameters.
        jobs: The fit jobs; the last one is the published one.
        context: Folder and callbacks of the fits.
        models: Folder to publish in.
        fresh: Remove existing checkpoints first.
        evaluation: How the fits are evaluated; None as all recipes of Inkling.

    Returns:
        The published folder.

    Raises:
        TrainingError, ArtifactError: The network could not be published.
        OSError: A folder cannot be written.
    """
    commit = provenance.commit()  # now, since files may change during the fits
    if fresh:
        remove_all_checkpoints(recipe, jobs, context)
    results = [run_job(recipe, job, context) for job in jobs]
    for result in results:
        _export_folds(recipe, context, result)
    published = publish(_fitted_model(recipe, results, commit, evaluation or Evaluation()), models)
    remove_checkpoints(recipe, jobs, context)
    return published


def fit_split(
    name: str, recipe: Recipe, jobs: Sequence[FitJob], context: FitContext, fresh: bool = False
) -> None:
    """Run only the fit jobs on one split, so that a later run finds their checkpoints.

    Args:
        name: Name of the split.
        recipe: The hyperparameters.
        jobs: The fit jobs of the recipe.
        context: Folder and callbacks of the fits.
        fresh: Remove existing checkpoints of these jobs first.

    Raises:
        UnknownName: The recipe has no fit job on a split of that name.
        TrainingError, OSError: As for `run`.
    """
    chosen = [job for job in jobs if job.split.name == name]
    if not chosen:
        raise UnknownName("Split", name, list(dict.fromkeys(job.split.name for job in jobs)))
    if fresh:
        remove_all_checkpoints(recipe, chosen, context)
    for job in chosen:
        run_job(recipe, job, context)


def _export_folds(recipe: Recipe, context: FitContext, result: JobResult) -> None:
    """Export the network of a job with held-out donors, one file per donor, for the ablation."""
    for donor in result.job.held_out:
        net = result.fits[0].net
        assert isinstance(net, MLP)
        path = context.runs / recipe.name / FOLDS / f"{donor}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(onnx_float.to_onnx(net, result.job.split.train.pixels.shape[1:]))


def _fitted_model(
    recipe: Recipe, results: Sequence[JobResult], commit: str, evaluation: Evaluation
) -> FittedModel:
    results = results[::-1]  # the published job first, in manifest and report
    published = results[0].fits[-1]
    assert isinstance(published.net, MLP)  # convolutional networks are teachers only
    with reproducible():
        metrics, temperature, certainty = evaluation.measure(results)
    image_shape = results[0].job.split.train.pixels.shape[1:]
    splits = {result.job.split.name: result.job.split for result in results if result.fits}
    return FittedModel(
        recipe=recipe,
        net=published.net,
        model=onnx_float.to_onnx(published.net, image_shape, temperature),
        splits=tuple(splits.values()),
        making=provenance.making(recipe.seed, published.seconds, commit, THREADS),
        metrics=tuple(metrics),
        report={
            HISTORY_FILE: _history(results),
            LESSON_FILE: write_confusions(_lesson_matrices(results)),
        },
        temperature=temperature,
        certainty=certainty,
        preprocessing=evaluation.preprocessing,
    )


def _lesson_matrices(results: Sequence[JobResult]) -> tuple[Confusion, ...]:
    """Return the confusion matrices of the fits on the lesson's split, which are not kept."""
    return tuple(
        confusion(
            "lesson",
            result.job.split,
            name,
            [predict(fit.net, part.pixels).argmax(1) for fit in result.fits],
            result.job.seeds,
        )
        for result in results
        if result.job.role == "lesson" and result.fits
        for name, part in result.job.split.parts.items()
    )


def _history(results: Sequence[JobResult]) -> bytes:
    return write_history(
        [
            {
                "fit": result.job.role,
                "data": result.job.split.name,
                "seed": seed,
                "epochs": [asdict(epoch) for epoch in fit.history],
            }
            for result in results
            for seed, fit in zip(result.job.seeds, result.fits, strict=True)
        ]
    )
