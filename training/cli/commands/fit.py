"""`fit`: fit a recipe's networks, on Inkling's data or a person's own, and publish the last one if asked."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from service.core.artifact.artifact import Artifact
from training.cli import own_data, preflight
from training.cli.console import accuracy_table, fit_callbacks, print_line, print_notice
from training.cli.progress_bars import ProgressBars
from training.cli.release import FINISHED, conclude, write_own_report
from training.data.data_sets import DataSet, FitJob
from training.data.own.data_set import FOLD
from training.evaluation import own_data as own_evaluation
from training.fitting.jobs import FitContext
from training.fitting.precision import choose_precision
from training.publishing.release import find_finished
from training.recipes.lesson import LESSON_FIGURES
from training.recipes.recipe import Recipe
from training.run import Evaluation, fit_split
from training.run import run as run_recipe


@dataclass(frozen=True)
class _Task:
    """A recipe on its data.

    Attributes:
        recipe: The hyperparameters.
        jobs: The fit jobs; the last one is the published one.
        evaluation: None as for the recipes of Inkling.
    """

    recipe: Recipe
    jobs: Sequence[FitJob]
    evaluation: Evaluation | None = None


def run(arguments: Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:
    """Run a recipe, or only its fits on one split."""
    preflight.check_folder(arguments.runs, preflight.needed_bytes(0))
    preflight.check_folder(arguments.models, preflight.needed_bytes(0))
    task = _own_task(arguments) if arguments.own else _recipe_task(arguments, data, data_sets)
    parameters = _parameters(task)
    preflight.check_folder(arguments.runs, preflight.needed_bytes(parameters))
    finished = None
    if not (arguments.fresh or arguments.only):
        finished = find_finished(arguments.runs / FINISHED, task.recipe, task.jobs)
    if finished is None:
        finished = _fit(task, arguments)
    else:
        manifest = finished.manifest
        print_line(f"\nThis fit is finished: {arguments.runs / FINISHED / manifest.name / manifest.version}")
    if finished is None:
        return
    print_line("")
    for line in accuracy_table(finished.manifest.metrics, LESSON_FIGURES.get(task.recipe.model_name, {})):
        print_line(line)
    conclude(arguments, finished, task.jobs[-1].split)


def _recipe_task(arguments: Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> _Task:
    recipe: Recipe = choose_precision(arguments.recipe, print_notice)
    jobs = data_sets[recipe.data].fit_jobs(data, recipe, arguments.runs, print_notice)
    print_line(f"{recipe.name}: {recipe.description}")
    _print_recipe(recipe)
    for job in jobs:
        if job.seeds:
            print_line(f"  {len(job.seeds)} x {job.split.name}: {_PURPOSES[job.role]}")
    return _Task(recipe, jobs)


_PURPOSES = {
    "published": "the network that is kept",
    "lesson": "for comparison with the lesson's figures",
    "held-out": "without some writers, who measure it and choose temperature and threshold",
}


def _own_task(arguments: Namespace) -> _Task:
    own = own_data.read_own(arguments)
    own_data.describe(own, arguments.runs, arguments.model)
    recipe = choose_precision(own_data.choose_recipe(arguments, own), print_notice)
    jobs = own.fit_jobs(recipe.seed)
    own_data.describe_plan(recipe, own, len(jobs))
    _print_recipe(recipe)
    return _Task(recipe, jobs, Evaluation(own_evaluation.measure, own.target.preprocessing))


def _fit(task: _Task, arguments: Namespace) -> Artifact | None:
    """Run the fits, and return the finished network; None if only one split was asked for."""
    planned = task.recipe.epochs * sum(len(job.seeds) for job in task.jobs)
    estimates = [None if task.recipe.teacher else planned]  # a teacher's epochs take another time
    with ProgressBars() as bars:
        context = FitContext(
            runs=arguments.runs,
            callbacks=lambda title, epochs: fit_callbacks(
                title,
                epochs,
                bars,
                print_line,
                planned=estimates.pop() if estimates else None,
                is_brief=task.evaluation is not None and FOLD in title,
            ),
            notice=print_notice,
        )
        if arguments.only:
            fit_split(arguments.only, task.recipe, task.jobs, context, arguments.fresh)
            return None
        root = arguments.runs / FINISHED
        published = run_recipe(task.recipe, task.jobs, context, root, arguments.fresh, task.evaluation)
    if task.evaluation:
        write_own_report(published.artifact, task.jobs[-1].split, root)
    return published.artifact


def _parameters(task: _Task) -> int:
    split = task.jobs[-1].split
    widths = [int(np.prod(split.train.pixels.shape[1:])), *task.recipe.hidden, len(split.classes)]
    return sum(inputs * units + units for inputs, units in pairwise(widths))


def _print_recipe(recipe: Recipe) -> None:
    for name, value in recipe.to_dict().items():
        if name not in ("name", "description"):
            print_line(f"  {name.replace('_', ' '):<18} {_text(value)}")


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(each) for each in value) or "none"
    if isinstance(value, dict):
        return str(value["name"])  # a teacher; the manifest has its hyperparameters
    return str(value)
