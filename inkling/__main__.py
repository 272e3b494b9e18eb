"""Entry point of the command `inkling`, and of `python -m inkling`."""

import sys


def main() -> None:
    """Run the command line, and exit with its status."""
    if sys.argv[1:2] == ["serve"]:
        from service import __main__ as service  # noqa: PLC0415 - handles SIGTERM before anything slow is imported

        service.main(sys.argv[2:], "inkling serve")
    from inkling.cli import commands  # noqa: PLC0415 - not needed to serve

    sys.exit(commands.main(sys.argv[1:]))


if __name__ == "__main__":
    main()
