"""Command `python -m service key NAME`: generates an API key and its line for the key file.

The key and the line are written to standard output, explanations to standard error. The key is not stored.
"""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from service.inference.admission import keys
from service.inference.admission.key_file import KeysInvalid, parse_keys
from service.inference.admission.keys import Scrypt
from service.inference.admission.rates import UNLIMITED


def main(arguments: Sequence[str], program: str = "python -m service") -> int:
    """Run the command.

    Args:
        arguments: The command line after `key`.
        program: Name of the program, for its help.

    Returns:
        The exit status: 2 if an argument or the file is not valid; the reason is one line on standard error.

    Raises:
        SystemExit: `--help` was given, or an unknown flag.
    """
    options = _parser(program).parse_args(arguments)
    try:
        key, line = _generate(options)
        if options.append is not None:
            _append(options.append, line)
    except (KeysInvalid, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if not options.passphrase:
        sys.stderr.write("The key for 'Authorization: Bearer' or 'X-API-Key'; it is not shown again:\n")
    else:
        sys.stderr.write("The key is the name, a dot and the passphrase:\n")
    sys.stderr.flush()
    sys.stdout.write(f"{key}\n")
    sys.stdout.flush()
    if options.append is None:
        sys.stderr.write("The line for the key file:\n")
        sys.stderr.flush()
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{program} key", description="Generate an API key and its line for the key file."
    )
    parser.add_argument("name", help="name of the client: 1 to 40 letters, digits, '-' or '_'")
    parser.add_argument("--rights", default="predict,read", help="predict, read or manage, with commas")
    parser.add_argument("--rate", help="rate limit of requests, such as 100/s or 6000/min; none is no limit")
    parser.add_argument("--burst", type=int, help="burst of requests")
    parser.add_argument("--images", help="rate limit of images, such as 5000/s; none is no limit")
    parser.add_argument("--images-burst", type=int, help="burst of images")
    parser.add_argument("--models", help="models that the key may use, separated by commas; all by default")
    parser.add_argument(
        "--passphrase",
        action="store_true",
        help="read a passphrase from the terminal or standard input instead of generating a key",
    )
    parser.add_argument("--append", type=Path, metavar="FILE", help="append the line to this key file")
    return parser


def _generate(options: argparse.Namespace) -> tuple[str, str]:
    """Return the key and its line, which is checked with the service's parser."""
    if options.passphrase:
        passphrase = _passphrase()
        try:
            key, hashed = f"{options.name}.{passphrase}", str(Scrypt.of(passphrase))
        except ValueError as error:
            raise ValueError(f"passphrase: should be {error}.") from error
    else:
        key = keys.new_key()
        hashed = keys.hash_of(key)
    words = [options.name, hashed, f"rights={options.rights}"]
    for option in ("rate", "burst", "images", "images-burst", "models"):
        value = getattr(options, option.replace("-", "_"))
        if value is not None:
            words.append(f"{option}={value}")
    if any("#" in word or word.split() != [word] for word in words):
        raise ValueError("each argument should have no spaces and no '#'; got one with.")
    line = "  ".join(words)
    parse_keys(line.encode(errors="replace"), UNLIMITED)
    return key, line


def _passphrase() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("Passphrase: ")
    return sys.stdin.readline().rstrip("\r\n")


def _append(path: Path, line: str) -> None:
    """Append a line to a key file with one write; the file is created if it does not exist.

    Raises:
        KeysInvalid: The file is not valid, would not be with the line, or cannot be written.
    """
    try:
        before = path.read_bytes() if path.exists() else b""
        start = "" if before.endswith(b"\n") or not before else "\n"
        parse_keys(before + f"{start}{line}\n".encode(), UNLIMITED)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            file.write(f"{start}{line}\n")
    except OSError as error:
        raise KeysInvalid(f"the key file should be writable; got {error.strerror}.") from error
