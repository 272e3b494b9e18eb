"""Write the generated files of the repository; with --check, report those that are out of date."""

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pages
from grpc_tools import protoc

from service.core.artifact import manifest
from training.publishing import catalogue

ROOT = Path(__file__).resolve().parent.parent


def messages(suffix: str) -> str:
    """Return protoc's output for the gRPC messages: the module (`.py`) or its type stub (`.pyi`)."""
    source = "service/grpc/messages/inference.proto"
    with tempfile.TemporaryDirectory() as folder:
        status = protoc.main(
            ["protoc", f"-I{ROOT}", f"--python_out={folder}", f"--pyi_out={folder}", str(ROOT / source)]
        )
        assert status == 0, "protoc failed"
        return (Path(folder) / source).with_name(f"inference_pb2{suffix}").read_text("utf-8")


GENERATED: Mapping[str, Callable[[], str]] = {
    "models/manifest.schema.json": manifest.schema,
    "models/README.md": lambda: catalogue.page(ROOT / "models"),
    "docs/reference/settings.md": pages.settings_page,
    "docs/reference/api.md": pages.api_page,
    "docs/reference/metrics.md": pages.metrics_page,
    "docs/reference/manifest.md": pages.manifest_page,
    "docs/decisions/README.md": pages.decisions_page,
    "service/grpc/messages/inference_pb2.py": lambda: messages(".py"),
    "service/grpc/messages/inference_pb2.pyi": lambda: messages(".pyi"),
}
"""Generated files: path in the repository, and the function that returns the text."""


def outdated() -> dict[Path, str]:
    """Return the new text of every generated file that is missing or out of date."""
    texts = {ROOT / name: text() for name, text in GENERATED.items()}
    return {path: text for path, text in texts.items() if _read(path) != text}


def _read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.exists() else None


def main(arguments: list[str]) -> int:
    """Run the command line and return its exit status."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python docs/generate.py [--check]\n")
        return 2
    checking = bool(arguments)
    changes = outdated()
    for path, text in changes.items():
        name = path.relative_to(ROOT)
        if checking:
            sys.stderr.write(f"{name} is out of date; `make docs` rewrites it.\n")
        else:
            path.write_text(text, "utf-8")
            sys.stdout.write(f"{name}: written.\n")
    return 1 if checking and changes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
