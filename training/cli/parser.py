"""The words of the trainer's command line, and what they mean."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

from training.recipes.recipe import Recipe
from training.recipes.registry import RECIPES
from training.sweep.search_space import shortened

RUNS = Path("runs")
"""Where what is worth keeping between runs is kept, unless a flag says otherwise."""

TRIALS, EPOCHS, GRACE_S = 20, 5, 60
"""Of a sweep, where the command line does not say."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the words of a command.

    Args:
        argv: Without the program's name.

    Returns:
        `command` and what belongs to it; where a recipe was named, `recipe` with the numbers that flags
        replace.

    Raises:
        SystemExit: The words make no command, or a number is out of its range; said on stderr.
        NotSearchable: The recipe has nothing that a sweep could vary.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "fit":
            arguments.recipe = _replaced(arguments)
        elif arguments.command == "sweep":
            arguments.recipe = shortened(RECIPES[arguments.name], arguments.epochs)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Train the networks and publish them for the service.",
        epilog="INKLING_DATA names the folder with the data sets; without it, it is data/.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show the recipes")
    data = commands.add_parser("data", help="fetch, verify and describe the data sets")
    data.add_argument(
        "--unipen",
        type=Path,
        metavar="PATH",
        help="first make the file of pen strokes from UNIPEN's archive, or the folder it was unpacked to",
    )
    models = commands.add_parser("models", help="verify what is published, and write its table")
    each_step = commands.add_parser("steps", help="measure each step of preparation, and write docs/ink.md")
    each_step.add_argument("--digits", type=int, default=600, metavar="N", help="of each donor")
    each_step.add_argument("--page", type=Path, default=Path("docs/ink.md"), help="the page to write into")
    each_step.add_argument(
        "--folds",
        type=Path,
        default=Path("runs/ink/folds"),
        help="the folder of <donor>.onnx: the network that learns from strokes, fitted without that donor",
    )
    fit = commands.add_parser("fit", help="train a network, verify it and publish it")
    fit.add_argument("name", choices=list(RECIPES), help="of the recipe")
    for name, (kind, meaning) in _numbers().items():
        fit.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N", help=meaning)
    _add_quantise(commands.add_parser("quantise", help="publish a network's next version in whole numbers"))
    _add_sweep(commands.add_parser("sweep", help="search for better numbers, as the lesson advises"))
    reporting = commands.add_parser("report", help="measure what is published, and draw it")
    sampling = commands.add_parser("sample", help="draw images of one class")
    for command in (reporting, sampling):
        command.add_argument("name", metavar="model", help="as it is published")
        command.add_argument("version", nargs="?", help="as it is published; all versions without it")
        command.add_argument(
            "--theme", choices=("light", "dark"), default="light", help="of pictures of the data"
        )
    reporting.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="draw typical and troublesome images here too"
    )
    sampling.add_argument("--class", dest="label", required=True, help="name of the class")
    sampling.add_argument("--part", default="train", help="train, valid or test; train without it")
    sampling.add_argument("--out", type=Path, required=True, metavar="FILE", help="the picture, a PNG file")
    for command in (models, fit, each_step, reporting, sampling):
        command.add_argument(
            "--models", type=Path, default=Path("models"), help="the folder of what is published"
        )
    fit.add_argument("--runs", type=Path, default=RUNS, help="where to keep checkpoints")
    fit.add_argument(
        "--only",
        metavar="SPLIT",
        help="make the fits on this split alone and keep them for the run that publishes, so that "
        "several processes can share the work",
    )
    fit.add_argument("--fresh", action="store_true", help="begin anew, whatever was kept")
    return parser


def _add_quantise(quantise: argparse.ArgumentParser) -> None:
    quantise.add_argument("name", metavar="model", help="as it is published")
    quantise.add_argument("version", nargs="?", help="in floats; the newest such version without it")
    quantise.add_argument(
        "--epochs",
        type=_count,
        metavar="N",
        help="of the fits without some donors that tell what is lost on strangers; the recipe's without it",
    )
    quantise.add_argument("--only-measure", action="store_true", help="say what is lost, and publish nothing")
    quantise.add_argument("--runs", type=Path, default=RUNS, help="where to keep checkpoints")
    quantise.add_argument(
        "--models", type=Path, default=Path("models"), help="the folder of what is published"
    )


def _add_sweep(sweep: argparse.ArgumentParser) -> None:
    sweep.add_argument("name", choices=list(RECIPES), help="of the recipe to begin with")
    sweep.add_argument(
        "--one-at-a-time", action="store_true", help="vary one thing after another; else Optuna chooses"
    )
    sweep.add_argument("--trials", type=_count, metavar="N", help=f"in all; Optuna makes {TRIALS}")
    sweep.add_argument("--epochs", type=int, default=EPOCHS, metavar="N", help="of each trial")
    sweep.add_argument(
        "--storage", metavar="URL", help="of a study to share: postgresql://USER:PASSWORD@HOST/DATABASE"
    )
    sweep.add_argument("--into", type=Path, help="folder of study, table and pictures")
    sweep.add_argument(
        "--grace", type=_count, default=GRACE_S, metavar="S", help="silence after which a worker is lost"
    )


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"should be at least 1; got {count}")
    return count


def _numbers() -> dict[str, tuple[type, str]]:
    """Return the recipe's single numbers: for each name its type and its meaning."""
    hints = get_type_hints(Recipe, include_extras=True)
    pairs = {name: get_args(hint) for name, hint in hints.items()}
    return {name: pair for name, pair in pairs.items() if pair[0] in (int, float)}


def _replaced(arguments: argparse.Namespace) -> Recipe:
    """Return the named recipe with the numbers that flags replace."""
    numbers = {name: getattr(arguments, name) for name in _numbers()}
    recipe = RECIPES[arguments.name]
    return replace(recipe, **{name: given for name, given in numbers.items() if given is not None})
