"""Provenance of a network: commit, library versions, processor."""

import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from service.core.artifact.manifest import Making

_ROOT = Path(__file__).parents[2]

_CODE = ("training", "service/core", "pyproject.toml", "constraints.txt")
"""Paths whose changes mark a commit as dirty; published folders and documents do not."""

_LIBRARIES = ("numpy", "onnx", "onnxruntime", "onnxscript", "pillow", "torch")


def making(seed: int, seconds: float, commit: str, threads: int) -> Making:
    """Return the manifest's record of a network that is finished now.

    Args:
        seed: Seed of the fit.
        seconds: Wall-clock time.
        commit: As returned by `commit` at the start.
        threads: Threads of torch.
    """
    return Making(
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        seed=seed,
        hardware=processor(),
        threads=threads,
        commit=commit,
        libraries=libraries(),
    )


def commit() -> str:
    """Return the repository's commit, with suffix `-dirty` if the code has uncommitted changes.

    Without git, or outside a repository, it is `unknown`.
    """
    head = _git("rev-parse", "HEAD")
    if head is None:
        return "unknown"
    return f"{head}-dirty" if _git("status", "--porcelain", "--", *_CODE) else head


def libraries() -> dict[str, str]:
    """Return the versions of Python and of the libraries that affect the result."""
    return {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's model name."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine() or "unknown"


def _git(*arguments: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    # S603 warns of untrusted input; all arguments are constants
    done = subprocess.run(  # noqa: S603 - constant arguments
        [program, *arguments], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None
