"""PINS: the version of a model that answers requests without a version.

    # a comment
    mlp-128/2
    ink/4

Without a pin the newest version answers. Requests for a version are not affected.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from service.core.artifact.files import read_file
from service.core.artifact.manifest import NAME_PATTERN, VERSION_PATTERN
from service.core.errors import ManifestInvalid

PINS_FILE = "PINS"

_PIN = re.compile(rf"({NAME_PATTERN[1:-1]})/({VERSION_PATTERN[1:-1]})")

_MAX_BYTES = 2**16


def read(root: Path) -> dict[str, str]:
    """Read `PINS`.

    Args:
        root: The models folder.

    Returns:
        The version that answers, by model name; empty if there is no `PINS`.

    Raises:
        ManifestInvalid: The file cannot be read, or a line is not `name/version`.
    """
    try:
        content = read_file(root / PINS_FILE, _MAX_BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        reason = error.strerror or str(error)
        raise ManifestInvalid(PINS_FILE, f"file should be readable; got {reason!r}.") from error
    lines = (line.partition("#")[0].strip() for line in content.decode("utf-8", "replace").splitlines())
    try:
        return parse(line for line in lines if line)
    except ValueError as error:
        raise ManifestInvalid(PINS_FILE, str(error)) from error


def parse(texts: Iterable[str]) -> dict[str, str]:
    """Parse pins such as `mlp-128/2`.

    Returns:
        The version by model name.

    Raises:
        ValueError: A text is not `name/version`, or a model occurs twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        match = _PIN.fullmatch(text)
        if match is None or match[1] in found:
            raise ValueError(
                f"each pin should be a model and a version such as mlp-128/2; got {text[:80]!r}."
            )
        found[match[1]] = match[2]
    return found
