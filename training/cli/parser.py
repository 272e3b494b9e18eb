"""Command line arguments of the trainer."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

from training.recipes.recipe import Recipe
from training.recipes.registry import RECIPES
from training.sweep.search_space import with_epochs

RUNS = Path("runs")
"""Default folder of checkpoints, caches and studies."""

TRIALS, EPOCHS, GRACE_S = 20, 5, 60
"""Defaults of a sweep."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of a subcommand.

    Args:
        argv: Arguments without the program's name.

    Returns:
        `command` and its arguments; for `fit` and `sweep` also `recipe`, with overridden hyperparameters.

    Raises:
        SystemExit: The arguments are invalid, or a number is out of range; the message is on stderr.
        NotSearchable: The recipe has no hyperparameter that a sweep could vary.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "fit":
            arguments.recipe = _overridden(arguments)
        elif arguments.command == "sweep":
            arguments.recipe = with_epochs(RECIPES[arguments.name], arguments.epochs)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Fit networks and publish them for the service.",
        epilog="INKLING_DATA names the folder of the data sets; the default is data/.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show the recipes")
    _add_data(commands.add_parser("data", help="download, verify and summarise the data sets"))
    models = commands.add_parser("models", help="verify the published networks, and write their table")
    _add_models_folder(models)
    _add_steps(
        commands.add_parser(
            "steps", help="measure each preprocessing step, and write docs/explanation/preprocessing.md"
        )
    )
    _add_fit(commands.add_parser("fit", help="fit a network, verify it and publish it"))
    _add_quantise(commands.add_parser("quantise", help="publish a network's next version in int8"))
    _add_sweep(commands.add_parser("sweep", help="search for better hyperparameters"))
    _add_report(commands.add_parser("report", help="evaluate published networks, and write their reports"))
    _add_sample(commands.add_parser("sample", help="draw images of one class"))
    return parser


def _add_models_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of published networks")


def _add_runs_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of checkpoints and caches")


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--unipen",
        type=Path,
        metavar="PATH",
        help="first convert UNIPEN's archive, or the folder it was unpacked to, to the pen digit file",
    )


def _add_steps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--digits", type=int, default=600, metavar="N", help="digits per donor")
    parser.add_argument(
        "--page", type=Path, default=Path("docs/explanation/preprocessing.md"), help="page to write into"
    )
    parser.add_argument(
        "--folds",
        type=Path,
        default=Path("runs/ink/folds"),
        help="folder of <donor>.onnx: the network for pen strokes, fitted without that donor",
    )
    _add_models_folder(parser)


def _add_fit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=list(RECIPES), help="name of the recipe")
    for name, (kind, meaning) in _hyperparameters().items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N", help=meaning)
    _add_models_folder(parser)
    _add_runs_folder(parser)
    parser.add_argument(
        "--only",
        metavar="SPLIT",
        help="fit on this split only, without publishing; a later run uses the checkpoints, so that several "
        "processes can share the work",
    )
    parser.add_argument("--fresh", action="store_true", help="ignore existing checkpoints")


def _add_quantise(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="model", help="name of the model")
    parser.add_argument("version", nargs="?", help="a float32 version; default: the newest one")
    parser.add_argument(
        "--epochs",
        type=_count,
        metavar="N",
        help="epochs of the fits that measure the effect on held-out writers; default: the recipe's",
    )
    parser.add_argument("--only-measure", action="store_true", help="measure the effect, do not publish")
    _add_runs_folder(parser)
    _add_models_folder(parser)


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=list(RECIPES), help="name of the recipe to start at")
    parser.add_argument(
        "--one-at-a-time", action="store_true", help="vary one hyperparameter after another; default: Optuna"
    )
    parser.add_argument(
        "--trials", type=_count, metavar="N", help=f"number of trials; default with Optuna: {TRIALS}"
    )
    parser.add_argument("--epochs", type=int, default=EPOCHS, metavar="N", help="epochs of each trial")
    parser.add_argument(
        "--storage", metavar="URL", help="shared study: postgresql://USER:PASSWORD@HOST/DATABASE"
    )
    parser.add_argument("--into", type=Path, help="folder of study, table and charts")
    parser.add_argument(
        "--grace",
        type=_count,
        default=GRACE_S,
        metavar="S",
        help="seconds without heartbeat after which a worker is lost",
    )


def _add_report(parser: argparse.ArgumentParser) -> None:
    _add_published(parser)
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="also draw typical and troublesome images here"
    )


def _add_sample(parser: argparse.ArgumentParser) -> None:
    _add_published(parser)
    parser.add_argument("--class", dest="label", required=True, help="name of the class")
    parser.add_argument("--part", default="train", help="train, valid or test; default: train")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="PNG file to write")


def _add_published(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="model", help="name of the model")
    parser.add_argument("version", nargs="?", help="version; default: all versions")
    parser.add_argument(
        "--theme", choices=("light", "dark"), default="light", help="theme of pictures of the data"
    )
    _add_models_folder(parser)


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"should be at least 1; got {count}")
    return count


def _hyperparameters() -> dict[str, tuple[type, str]]:
    """Return the recipe's scalar hyperparameters: type and meaning of each name."""
    hints = get_type_hints(Recipe, include_extras=True)
    pairs = {name: get_args(hint) for name, hint in hints.items()}
    return {name: pair for name, pair in pairs.items() if pair[0] in (int, float)}


def _overridden(arguments: argparse.Namespace) -> Recipe:
    """Return the recipe with the hyperparameters given on the command line."""
    given = {name: getattr(arguments, name) for name in _hyperparameters()}
    recipe = RECIPES[arguments.name]
    return replace(recipe, **{name: value for name, value in given.items() if value is not None})
