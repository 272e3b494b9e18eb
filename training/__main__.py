"""Entry point of the trainer's command line: parses the arguments and runs a subcommand.

The only file of the trainer that reads the environment.
"""

import importlib
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from service.core.errors import ServiceError
from training.cli.parser import parse
from training.data.data_sets import DATA_SETS, DataSet
from training.errors import TrainingError

DONE, FAILED, INTERRUPTED = 0, 1, 130
"""Exit codes; argparse exits with 2 for invalid arguments."""

PAGES = ("numbers", "steps")
"""Subcommands in `training/cli/commands/pages/`."""

_MODULES = {"import": "import_network"}
"""Modules of subcommands whose names are words of Python."""

Command = Callable[[Namespace, Path, Mapping[str, DataSet]], None]
"""Runs a subcommand with its arguments, the data folder and the data sets."""


def main(
    argv: Sequence[str], environ: Mapping[str, str], data_sets: Mapping[str, DataSet] = DATA_SETS
) -> int:
    """Run one subcommand.

    Args:
        argv: Arguments without the program's name.
        environ: Environment; INKLING_DATA names the data folder.
        data_sets: Data sets by the names in recipes.

    Returns:
        The exit code. An error that a user can act on is one line on stderr.
    """
    # a carriage return at the end is left by files that were edited on Windows
    data = Path(environ.get("INKLING_DATA", "").strip() or "data").expanduser()
    try:
        arguments = parse(argv)
        _command(arguments.command)(arguments, data, data_sets)
    except KeyboardInterrupt:
        return _exit("Interrupted. The same command resumes where it stopped.", INTERRUPTED)
    except ModuleNotFoundError as error:
        return _exit(f"The trainer needs {error.name}: pip install -e '.[training]'", FAILED)
    except (TrainingError, ServiceError, OSError) as error:
        return _exit(str(error), FAILED)
    return DONE


def _command(name: str) -> Command:
    # imported on demand: torch, Optuna and Matplotlib take seconds, and some commands need none of them
    module = f"pages.{name}" if name in PAGES else _MODULES.get(name, name)
    command: Command = importlib.import_module(f"training.cli.commands.{module}").run
    return command


def _exit(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
