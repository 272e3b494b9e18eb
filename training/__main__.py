"""The trainer's command line: fit a network, list the recipes, fetch the data, verify the models.

The only file of the trainer that reads the environment and prints.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

from service.core import artifact
from service.core.errors import ServiceError
from training import catalogue
from training.data.examples import Examples
from training.data.sets import DATA_SETS, DataSet
from training.errors import TrainingError
from training.recipes import LESSON_FIGURES, RECIPES, Recipe

CATALOGUE_FILE = "README.md"
"""In the models folder: the table of what is published."""

DONE, FAILED, INTERRUPTED = 0, 1, 130
"""Exit codes; argparse adds 2 for a command it does not understand."""


def main(
    argv: Sequence[str], environ: Mapping[str, str], data_sets: Mapping[str, DataSet] = DATA_SETS
) -> int:
    """Run one command.

    Args:
        argv: Its words, without the program's name.
        environ: INKLING_DATA names the data folder.
        data_sets: By the names that recipes call them.

    Returns:
        The exit code. What a person can mend is told in one line on stderr.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    data = Path(environ.get("INKLING_DATA") or "data")
    try:
        if arguments.command == "fit":
            try:
                recipe = _recipe(arguments)
            except ValueError as error:
                parser.error(str(error))
            _fit(recipe, arguments, data, data_sets)
        elif arguments.command == "data":
            _data(data, data_sets)
        elif arguments.command == "models":
            _models(arguments.models)
        else:
            _list()
    except KeyboardInterrupt:
        return _say("Interrupted. The same command goes on from where it was.", INTERRUPTED)
    except ModuleNotFoundError as error:
        return _say(f"The trainer needs {error.name}: pip install -e '.[training]'", FAILED)
    except (TrainingError, ServiceError, OSError) as error:
        return _say(str(error), FAILED)
    return DONE


def _fit(recipe: Recipe, arguments: argparse.Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:
    # imported here, so that the other commands answer at once and without torch
    from training import terminal  # noqa: PLC0415
    from training.bars import Bars  # noqa: PLC0415
    from training.run import Terms, run  # noqa: PLC0415

    turns = data_sets[recipe.data].turns(data, recipe)
    print(f"{recipe.name}: {recipe.description}")
    for name, value in recipe.numbers.items():
        if name not in ("name", "description"):
            print(f"  {name.replace('_', ' '):<18} {_shown(value)}")
    with Bars() as bars:
        published = run(
            recipe,
            Terms(
                turns=turns,
                models=arguments.models,
                runs=arguments.runs,
                watch=lambda title, epochs: terminal.watch(title, epochs, bars, _write),
                notice=lambda line: _write(f"  {line}"),
            ),
            arguments.fresh,
        )
    manifest = published.artifact.manifest
    print()
    for line in terminal.summary(manifest.metrics, LESSON_FIGURES.get(recipe.published_as, {})):
        print(line)
    folder = arguments.models / manifest.name / manifest.version
    size = len(published.artifact.model)
    print()
    if published.is_new:
        print(f"Published {folder}: {manifest.parameters:,} parameters, {size:,} bytes.")
    else:
        print(f"Nothing to publish: {folder} is this very network already.")


def _recipe(arguments: argparse.Namespace) -> Recipe:
    """Return the named recipe with the numbers that flags replace."""
    numbers = {name: getattr(arguments, name) for name in _numbers()}
    recipe = RECIPES[arguments.name]
    return replace(recipe, **{name: given for name, given in numbers.items() if given is not None})


def _list() -> None:
    for recipe in RECIPES.values():
        print(f"{recipe.name:<14}{recipe.description}")


def _data(folder: Path, data_sets: Mapping[str, DataSet]) -> None:
    from training.bars import Bars  # noqa: PLC0415

    for name, data_set in data_sets.items():
        with Bars() as bars:
            fetched = data_set.fetch(
                folder, lambda name, done, total: bars.show(name, done, total, "B", scale=True)
            )
        for file in fetched:
            print(f"fetched {folder / data_set.folder / file}")
        recipe = next(recipe for recipe in RECIPES.values() if recipe.data == name)
        splits = {turn.split.name: turn.split for turn in data_set.turns(folder, recipe)[::-1]}
        (title,) = {split.data_set for split in splits.values()}
        print(f"{name} in {folder / data_set.folder}: {title}; all as it should be")
        for split in splits.values():
            for part, examples in split.parts.items():
                print(f"  {f'{split.name} {part}':<16}{_described(examples)}")


def _models(root: Path) -> None:
    page = catalogue.page(root)
    (root / CATALOGUE_FILE).write_text(page, encoding="utf-8")
    for name, versions in artifact.versions(root).items():
        print(f"{name:<12}{', '.join(versions)}: as published")
    print(f"Wrote {root / CATALOGUE_FILE}.")


def _described(examples: Examples) -> str:
    counts = [int((examples.labels == label).sum()) for label in sorted(set(examples.labels))]
    pixels = examples.pixels / 255
    return (
        f"{len(examples):>7,} images, {min(counts):,} to {max(counts):,} a class, "
        f"mean {pixels.mean():.4f}, deviation {pixels.std():.4f}, sha256 {examples.sha256[:12]}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Train the networks and publish them for the service.",
        epilog="INKLING_DATA names the folder with the data sets; without it, it is data/.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show the recipes")
    commands.add_parser("data", help="fetch, verify and describe the data sets")
    models = commands.add_parser("models", help="verify what is published, and write its table")
    fit = commands.add_parser("fit", help="train a network, verify it and publish it")
    fit.add_argument("name", choices=list(RECIPES), help="of the recipe")
    for name, (kind, meaning) in _numbers().items():
        fit.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N", help=meaning)
    for command in (models, fit):
        command.add_argument(
            "--models", type=Path, default=Path("models"), help="the folder of what is published"
        )
    fit.add_argument("--runs", type=Path, default=Path("runs"), help="where to keep checkpoints")
    fit.add_argument("--fresh", action="store_true", help="begin anew, whatever was kept")
    return parser


def _numbers() -> dict[str, tuple[type, str]]:
    """Return the recipe's single numbers: for each name its type and its meaning."""
    hints = get_type_hints(Recipe, include_extras=True)
    pairs = {name: get_args(hint) for name, hint in hints.items()}
    return {name: pair for name, pair in pairs.items() if pair[0] in (int, float)}


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(each) for each in value) or "none"
    if isinstance(value, dict):
        return str(value["name"])  # a teacher, whose own numbers the manifest holds
    return str(value)


def _write(line: str) -> None:
    print(line, flush=True)


def _say(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
