"""Execution of fit jobs: teachers first, then one fit per seed, each with a checkpoint."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from training.batches.augmented import AugmentedBatches
from training.batches.ink import InkBatches
from training.batches.source import BatchSource
from training.batches.strokes import STROKES, StrokeBatches
from training.data.data_sets import FitJob, Notice
from training.data.examples import Split
from training.fitting.checkpoint import Checkpoint
from training.fitting.fingerprint import read_code
from training.fitting.loop import THREADS, FitCallbacks, FitResult, fit
from training.recipes.recipe import Recipe


@dataclass(frozen=True)
class FitContext:
    """Folder and callbacks of the fits of a command.

    Attributes:
        runs: Folder of the checkpoints.
        callbacks: Returns the callbacks of a fit, given its title and its number of epochs.
        notice: Called with a message for the user.
    """

    runs: Path
    callbacks: Callable[[str, int], FitCallbacks]
    notice: Notice


@dataclass(frozen=True)
class JobResult:
    """The fits of a job.

    Attributes:
        job: The job.
        fits: One per seed.
    """

    job: FitJob
    fits: Sequence[FitResult]


def run_job(recipe: Recipe, job: FitJob, context: FitContext) -> JobResult:
    """Fit a recipe once per seed of a job. Its teachers are fitted first, on the same images.

    Every fit has a checkpoint, so that a fit that was finished before is only loaded.

    Raises:
        TrainingError: A fit failed.
        OSError: A checkpoint cannot be written.
    """
    return JobResult(job, _fits(_recipe_of(recipe, job), job, context))


def run_held_out_jobs(recipe: Recipe, jobs: Sequence[FitJob], context: FitContext) -> list[JobResult]:
    """Run those jobs that hold out donors; raises as `run_job` does."""
    return [run_job(recipe, job, context) for job in jobs if job.role == "held-out"]


def remove_checkpoints(recipe: Recipe, jobs: Sequence[FitJob], context: FitContext) -> None:
    """Delete the checkpoints of a recipe's fits, but not those of its teachers."""
    for job in jobs:
        for seed in job.seeds:
            _checkpoint(_recipe_of(recipe, job), job.split, seed, context).remove()


def remove_all_checkpoints(recipe: Recipe, jobs: Sequence[FitJob], context: FitContext) -> None:
    """Delete the checkpoints of a recipe's fits and of its teachers."""
    remove_checkpoints(recipe, jobs, context)
    if recipe.teacher:
        teacher_jobs = [replace(job, seeds=recipe.seeds_of_teachers) for job in jobs]
        remove_checkpoints(recipe.teacher, teacher_jobs, context)


def _recipe_of(recipe: Recipe, job: FitJob) -> Recipe:
    return recipe.of_held_out_fits() if job.role == "held-out" else recipe.of_published_fit()


def _fits(recipe: Recipe, job: FitJob, context: FitContext) -> list[FitResult]:
    if not job.seeds:
        return []
    teachers = []
    if recipe.teacher:
        teachers = _fits(recipe.teacher, replace(job, seeds=recipe.seeds_of_teachers), context)
    split = job.split
    nets = [result.net for result in teachers]
    source: BatchSource  # shared by the fits, since cached augmentations are expensive
    if job.ink:
        source = InkBatches(recipe, job.ink, nets)
    elif job.strokes and recipe.augmentation == STROKES:
        source = StrokeBatches(recipe, job.strokes, split.train.labels)
    else:
        source = AugmentedBatches(recipe, split.train, nets)
    return [
        fit(
            recipe,
            seed,
            len(split.classes),
            split.train,
            split.valid,
            callbacks=context.callbacks(f"{recipe.name}: {_title(job)}, seed {seed}", recipe.epochs),
            checkpoint=_checkpoint(recipe, split, seed, context),
            source=source,
        )
        for seed in job.seeds
    ]


def _title(job: FitJob) -> str:
    return f"fit {job.split.name}" if job.role == "held-out" else f"{job.role} fit"


def _checkpoint(recipe: Recipe, split: Split, seed: int, context: FitContext) -> Checkpoint:
    """Return the checkpoint of a fit; jobs with the same split and seed share it."""
    facts = [recipe.digest, str(seed), split.train.sha256, str(torch.__version__), str(THREADS)]
    facts += [split.valid.sha256] if split.valid else []
    facts += read_code()
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    return Checkpoint(context.runs / recipe.name / f"{split.name}-{seed}.pt", key, context.notice)
