"""`fit`: fit a recipe's networks and publish the last one."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from training.cli.console import accuracy_table, fit_callbacks, print_line, print_notice
from training.cli.progress_bars import ProgressBars
from training.data.data_sets import DataSet
from training.fitting.jobs import FitContext
from training.fitting.precision import choose_precision
from training.publishing.publish import Published
from training.recipes.lesson import LESSON_FIGURES
from training.recipes.recipe import Recipe
from training.run import fit_split
from training.run import run as run_recipe


def run(arguments: Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:
    """Run a recipe, or only its fits on one split."""
    recipe: Recipe = choose_precision(arguments.recipe, print_notice)
    jobs = data_sets[recipe.data].fit_jobs(data, recipe, arguments.runs, print_notice)
    print(f"{recipe.name}: {recipe.description}")
    for name, value in recipe.to_dict().items():
        if name not in ("name", "description"):
            print(f"  {name.replace('_', ' '):<18} {_text(value)}")
    with ProgressBars() as bars:
        context = FitContext(
            runs=arguments.runs,
            callbacks=lambda title, epochs: fit_callbacks(title, epochs, bars, print_line),
            notice=print_notice,
        )
        if arguments.only:
            fit_split(arguments.only, recipe, jobs, context, arguments.fresh)
            return
        published = run_recipe(recipe, jobs, context, arguments.models, arguments.fresh)
    manifest = published.artifact.manifest
    print()
    for line in accuracy_table(manifest.metrics, LESSON_FIGURES.get(recipe.model_name, {})):
        print(line)
    print()
    print_published(published, arguments.models)


def print_published(published: Published, models: Path) -> None:
    """Print the folder of a published network."""
    manifest = published.artifact.manifest
    folder = models / manifest.name / manifest.version
    if published.is_new:
        size = len(published.artifact.model)
        print(f"Published {folder}: {manifest.parameters:,} parameters, {size:,} bytes.")
    else:
        print(f"Nothing to publish: {folder} is the same network.")


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(each) for each in value) or "none"
    if isinstance(value, dict):
        return str(value["name"])  # a teacher; the manifest has its hyperparameters
    return str(value)
