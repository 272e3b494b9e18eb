"""Command line arguments of the trainer."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from service.core.artifact.manifest import NAME_PATTERN
from service.core.inputs import InputPreprocessing
from training.cli import hyperparameters
from training.recipes import toml_file
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
        `command` and its arguments; for `fit` and `sweep` also `recipe`, with overridden hyperparameters;
        None for `fit --data` without a recipe, which depends on the data.

    Raises:
        SystemExit: The arguments are invalid, or a number is out of range; the message is on stderr.
        RecipeInvalid: A recipe file is not valid.
        NotSearchable: The recipe has no hyperparameter that a sweep could vary.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "fit":
            arguments.recipe = _recipe(arguments, parser)
        elif arguments.command == "sweep":
            arguments.recipe = with_epochs(RECIPES[arguments.name], arguments.epochs)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def _recipe(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> Recipe | None:
    """Return the recipe that the arguments of `fit` name; None if it is chosen by the data."""
    named = [each for each in (arguments.name, arguments.like, arguments.recipe_file) if each]
    if len(named) > 1:
        parser.error("one recipe should be named: RECIPE, --like or --recipe")
    if arguments.own and not arguments.model:
        parser.error("--data should be with --name, the name of the network")
    if not arguments.own and (arguments.model or arguments.like):
        parser.error("--name and --like should be with --data, the path of your own data")
    if not arguments.own and not named:
        parser.error("a recipe should be named, or your own data with --data PATH --name NAME")
    if arguments.model and not re.fullmatch(NAME_PATTERN, arguments.model):
        parser.error(f"--name should be of a-z, 0-9 and -, at most 64; got {arguments.model!r}")
    if not named:
        return None
    path: Path | None = arguments.recipe_file
    recipe = toml_file.read(path) if path else RECIPES[named[0]]
    return replace(recipe, **hyperparameters.given(arguments))


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
    _add_numbers(
        commands.add_parser(
            "numbers", help="measure reading of numbers, and write docs/explanation/numbers.md"
        )
    )
    _add_fit(commands.add_parser("fit", help="fit a network, verify it and publish it"))
    _add_import(commands.add_parser("import", help="publish a network that was trained elsewhere"))
    _add_quantise(commands.add_parser("quantise", help="publish a network's next version in int8"))
    _add_sweep(commands.add_parser("sweep", help="search for better hyperparameters"))
    _add_report(commands.add_parser("report", help="evaluate published networks, and write their reports"))
    _add_sample(commands.add_parser("sample", help="draw images of one class"))
    return parser


def _add_models_folder(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--models", type=_path, default=Path("models"), help="folder of published networks")


def _add_runs_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=_path, default=RUNS, help="folder of checkpoints and caches")


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
    _add_folds(parser)
    _add_models_folder(parser)


def _add_folds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--folds",
        type=Path,
        default=Path("runs/ink/folds"),
        help="folder of <donor>.onnx: the network for pen strokes, fitted without that donor",
    )


def _add_numbers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--numbers", type=_count, default=400, metavar="N", help="numbers per group of writers and form"
    )
    parser.add_argument(
        "--page", type=Path, default=Path("docs/explanation/numbers.md"), help="page to write into"
    )
    parser.add_argument(
        "--learn",
        type=_count,
        metavar="N",
        help="first learn weights from N numbers of training writers, and print them",
    )
    _add_folds(parser)
    _add_models_folder(parser)


def _add_fit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", choices=list(RECIPES), metavar="RECIPE", help=_recipes())
    parser.add_argument(
        "--recipe", dest="recipe_file", type=_path, metavar="FILE", help="a recipe file, see training/recipes"
    )
    own = parser.add_argument_group("your own data")
    own.add_argument(
        "--data",
        dest="own",
        type=_path,
        metavar="PATH",
        help="pictures in a folder per class, IDX, .npz, .csv, .parquet, or .jsonl of pen strokes",
    )
    own.add_argument("--name", dest="model", metavar="NAME", help="name of the network")
    own.add_argument("--like", choices=list(RECIPES), metavar="RECIPE", help="use this recipe")
    own.add_argument("--labels", type=_texts, default=(), metavar="A,B,…", help="names of the labels 0, 1, …")
    own.add_argument("--ignore-case", action="store_true", help="labels a and A are one class")
    own.add_argument(
        "--preprocessing",
        choices=("mnist", "resize"),
        help="mnist: drawings, cropped and centred; resize: anything else; default: by looking at the images",
    )
    own.add_argument(
        "--hold-out", type=_texts, default=(), metavar="A,B,…", help="donors or writers of the test part"
    )
    publication = parser.add_argument_group("publication")
    publication.add_argument(
        "--publish", action="store_true", help="publish, even as a new version of a network that is served"
    )
    publication.add_argument(
        "--anyway", action="store_true", help="publish although it is worse than the version that is served"
    )
    _add_models_folder(publication)
    _add_runs_folder(parser)
    parser.add_argument(
        "--only",
        metavar="SPLIT",
        help="fit on this split only, without publishing; a later run uses the checkpoints, so that several "
        "processes can share the work",
    )
    parser.add_argument("--fresh", action="store_true", help="ignore existing checkpoints and finished fits")
    hyperparameters.add_flags(parser)


def _recipes() -> str:
    return f"name of a recipe: {', '.join(RECIPES)}"


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE.onnx", help="an ONNX file")
    parser.add_argument("--sklearn", type=Path, metavar="FILE", help="a file of joblib.dump or pickle.dump")
    parser.add_argument(
        "--torch",
        metavar="MODULE:FACTORY",
        help="a function or class that makes the module, called without arguments; this runs its code",
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="state of --torch, as safetensors")
    parser.add_argument("--name", required=True, help="name of the model, which must be new")
    parser.add_argument("--labels", metavar="A,B,C|FILE", help="names of the classes, or a file of them")
    parser.add_argument(
        "--input",
        type=_shape,
        metavar="28,28",
        help="shape of an image, or length of a row",
    )
    parser.add_argument(
        "--scale", type=float, metavar="N", help="what the network's numbers were divided by: 255 or 1"
    )
    parser.add_argument("--mean", type=_numbers, default=(0.0,), metavar="A,B,C", help="mean subtracted then")
    parser.add_argument("--std", type=_numbers, default=(1.0,), metavar="A,B,C", help="divisor after that")
    parser.add_argument(
        "--preprocessing",
        choices=get_args(InputPreprocessing),
        help="how pictures and strokes become the input; default: resize, of 28 x 28 none",
    )
    _add_models_folder(parser)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split(","))


def _shape(text: str) -> tuple[int, ...]:
    sides = tuple(int(side) for side in text.split(","))
    if not 1 <= len(sides) <= 3 or min(sides) < 1 or (len(sides) == 3 and sides[2] != 3):
        raise argparse.ArgumentTypeError(f"should be n, H,W or H,W,3; got {text}")
    return sides


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


def _path(text: str) -> Path:
    """Return a path; `~` is the home folder also where the shell does not replace it."""
    return Path(text).expanduser()


def _texts(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"should be at least 1; got {count}")
    return count
