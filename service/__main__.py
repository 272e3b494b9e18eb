"""Entry point of `python -m service`: installs the handler of SIGTERM, then runs the command line."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType


def main(arguments: Sequence[str] | None = None, program: str = "python -m service") -> None:
    """Run the command line, and exit with its status; 0 after SIGTERM.

    Args:
        arguments: The command line without the program's name; None for that of this process.
        program: Name of the program, for its help.
    """
    # Before half a second of imports: process 1 of a container ignores signals without a handler. And uvicorn
    # raises the signal again after it has stopped, which would otherwise exit with 143.
    signal.signal(signal.SIGTERM, _exit)
    if sys.stderr is None:  # closed; else the next socket would get descriptor 2, and the output of errors
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - stays open
    from service import cli  # noqa: PLC0415 - after the handler is installed

    status = cli.main(sys.argv[1:] if arguments is None else arguments, program)
    # Not sys.exit: Python would wait for threads of the thread pool, whose clients are gone.
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)


def _exit(number: int, frame: FrameType | None) -> None:
    del number, frame
    os._exit(0)  # an exception could be lost in a running import


if __name__ == "__main__":
    main()
