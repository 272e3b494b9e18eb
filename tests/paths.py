"""The paths in ARCHITECTURE.md, and a record of the calls to compare them with."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tests.conftest import REPOSITORY

CODE = (f"{REPOSITORY}/service/", f"{REPOSITORY}/")
"""Folders that paths in the steps are relative to."""


def steps(title: str) -> list[tuple[str, str]]:
    """Return the module and the function of each step in a section of ARCHITECTURE.md."""
    section = (REPOSITORY / "ARCHITECTURE.md").read_text("utf-8").partition(f"\n## {title}\n")[2]
    block = section.partition("```\n")[2].partition("```")[0]
    words = [line.split() for line in block.splitlines()]
    assert [row[0] for row in words] == [str(number) for number in range(1, len(words) + 1)]
    return [(row[1], row[2]) for row in words]


@contextmanager
def recorded() -> Iterator[list[tuple[str, str]]]:
    """Record the calls of functions in `service/` (by their paths in it) and `training/`, in order."""
    found: list[tuple[str, str]] = []

    def record(frame: FrameType, event: str, argument: Any) -> None:  # noqa: ANN401 - as sys.setprofile has it
        del argument
        if event == "call":
            path = frame.f_code.co_filename
            for root in CODE:
                if path.startswith(root):
                    found.append((path.removeprefix(root).removesuffix(".py"), frame.f_code.co_qualname))
                    return

    sys.setprofile(record)
    try:
        yield found
    finally:
        sys.setprofile(None)


def missing(documented: list[tuple[str, str]], calls: list[tuple[str, str]]) -> tuple[str, str] | None:
    """Return the first documented step that was not called after the one before it; None if all were."""
    position = 0
    for step in documented:
        try:
            position = calls.index(step, position) + 1
        except ValueError:
            return step
    return None
