"""`python -m service`: be ready to stop, and then begin."""

import logging
import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Serve until told to stop; exit with 0 after SIGTERM, with 2 and one line for a bad setting."""
    # Before the half second of imports: the first process of a container ignores the signal until somebody
    # asks for it. And uvicorn raises it again once it has stopped, which would end us with 143.
    signal.signal(signal.SIGTERM, _leave)
    if sys.stderr is None:  # closed; else the next socket would get its number, and other programs' errors
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - the process's own
    from service import cli  # noqa: PLC0415 - the signal is to be caught while this is imported

    status = cli.main(sys.argv[1:])
    # A worker thread may be deep in somebody's picture, and Python would wait for it; its caller is gone.
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)


def _leave(number: int, frame: FrameType | None) -> None:
    del number, frame
    os._exit(0)  # an exception could be lost in an import that is under way


if __name__ == "__main__":
    main()
