"""Where and with what a network is made: commit, libraries, processor."""

import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

_ROOT = Path(__file__).parents[2]

_CODE = ("training", "service/core", "pyproject.toml", "constraints.txt")
"""What decides how a network comes out. Published folders and documents may change meanwhile."""

_LIBRARIES = ("numpy", "onnx", "onnxruntime", "onnxscript", "pillow", "torch")


def commit() -> str:
    """Return the repository's commit, with `-dirty` where the code has changed since.

    Without git, or outside a repository, it is `unknown`.
    """
    head = _git("rev-parse", "HEAD")
    if head is None:
        return "unknown"
    return f"{head}-dirty" if _git("status", "--porcelain", "--", *_CODE) else head


def libraries() -> dict[str, str]:
    """Return the versions of Python and of the libraries that the numbers come from."""
    return {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}


def processor(described_in: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name as the system gives it."""
    try:
        lines = described_in.read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine() or "unknown"


def _git(*arguments: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    # S603 warns of strangers' words in a command; these are all our own
    done = subprocess.run(  # noqa: S603
        [program, *arguments], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None
