"""Arguments of the command line, and the function of each command."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from inkling.errors import InklingError
from service.cli import check_models
from service.settings import BadSettings, Settings, load


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as those of the settings."""

    def error(self, message: str) -> NoReturn:
        """Write the error and exit with status 2."""
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help lists the arguments.\n")


def main(arguments: Sequence[str]) -> int:
    """Run a command.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit status: 0; 1 if an input cannot be predicted; 2 if an argument, a setting or a model is not
        valid. The reason is on standard error.

    Raises:
        SystemExit: `--help` was given, or an argument is not valid.
    """
    if arguments[:1] == ["key"]:
        from service import key_cli  # noqa: PLC0415 - only for this command

        return key_cli.main(arguments[1:], "inkling")
    options = _parser().parse_args(arguments)
    try:
        settings = load()
        if options.models is None:
            options.models = settings.models
        check_models(options.models)
        status = _run(options, settings)
        sys.stdout.flush()
    except (BadSettings, InklingError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it at exit
        return 1
    except OSError as error:
        sys.stderr.write(f"{error.filename or 'Output'}: {error.strerror}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return status


def _run(options: argparse.Namespace, settings: Settings) -> int:
    if options.command == "models":
        from inkling.cli import models  # noqa: PLC0415 - each command imports what it needs

        return models.run(options.models, options.format)
    from inkling.model import Model  # noqa: PLC0415 - ONNX Runtime

    model = Model.load(options.models / (options.model or settings.default_model))
    if options.command == "score":
        from inkling.cli import score  # noqa: PLC0415 - each command imports what it needs

        return score.run(model, options)
    from inkling.cli import predict  # noqa: PLC0415 - each command imports what it needs

    return predict.run(model, options.files, options.format, options.top, options.prepare)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="inkling", description="Recognise handwritten digits.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    commands.add_parser("serve", help="serve the published networks over HTTP", add_help=False)

    predict = commands.add_parser("predict", help="classify files", description="Classify files.")
    predict.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="a picture; an array of images, .npy; strokes, .json or .jsonl",
    )
    predict.add_argument("--format", choices=("table", "json", "csv"), default="table")
    predict.add_argument("--top", type=_positive, default=3, help="number of top classes in JSON; default: 3")
    _add_model(predict)

    _add_score(commands)
    models = commands.add_parser(
        "models", help="list the published networks", description="List the published networks."
    )
    models.add_argument("--format", choices=("table", "json"), default="table")
    _add_folder(models)
    commands.add_parser("key", help="generate an API key", add_help=False)
    return parser


def _add_score(commands: "argparse._SubParsersAction[_Parser]") -> None:
    score = commands.add_parser(
        "score",
        help="classify all images of a file or folder into a Parquet file",
        description="Classify all images of a file or folder into a Parquet file, with all cores. The same "
        "command continues a run that was interrupted.",
    )
    score.add_argument(
        "input",
        type=Path,
        metavar="INPUT",
        help="an array of images, .npy; a folder of pictures; a Parquet file, or a folder or a quoted "
        "pattern of them",
    )
    score.add_argument("output", type=Path, metavar="OUTPUT", help="the Parquet file to write")
    score.add_argument("--column", default="image", help="column of images in Parquet; default: image")
    score.add_argument(
        "--keep", default="", metavar="COLUMNS", help="columns of Parquet to copy to the output, with commas"
    )
    score.add_argument(
        "--probabilities", action="store_true", help="write the probability of every class as well"
    )
    score.add_argument("--jobs", type=_positive, help="number of processes; default: all cores")
    score.add_argument(
        "--restart",
        action="store_true",
        help="replace an existing output, and drop the parts of another interrupted run",
    )
    score.add_argument("--quiet", action="store_true", help="no progress bar")
    _add_model(score)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", help="name, or name/version; default: the setting default_model, the newest version"
    )
    parser.add_argument(
        "--prepare",
        choices=("auto", "mnist", "none"),
        default="auto",
        help="preprocessing: auto (the default) uses images that are like the training images unchanged, and "
        "preprocesses all others; mnist preprocesses all, none none",
    )
    _add_folder(parser)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models",
        type=Path,
        metavar="FOLDER",
        help="folder of published networks; default: the setting models (INKLING_MODELS, or ./models)",
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number
