"""Write pinned requirements with the digests of their wheels: `make lock`, after constraints.txt has changed.

    service.txt       what the container's image holds: the base install and all that it brings along
    image.txt         what builds the image and lists what is in it; stays out of the image
    development.txt   every line of constraints.txt but torch

Versions come from constraints.txt. Digests are those of the index that pip is configured for; no address is
written. Listed are wheels alone, for CPython 3.11 to 3.13 on Linux (x86_64 and aarch64, glibc) and macOS: a
source distribution would run its own code while it is built. What has no wheel for Linux stops the script.

PyTorch is left out: its builds for processors and for CUDA bear one version and come from different indexes.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename

HERE = Path(__file__).parent
ROOT = HERE.parent

LEFT_OUT = {"torch"}

PYTHONS = ("11", "12", "13")

LINUX = re.compile(r"(many|)linux\w*_(x86_64|aarch64)")

PLATFORM = re.compile(rf"any|{LINUX.pattern}|macosx_\w+")

HEADER = """\
# Written by `make lock`; versions are those of constraints.txt. Digests of wheels for CPython 3.11 to 3.13 on
# Linux (x86_64, aarch64) and macOS. To use: pip install --require-hashes --only-binary=:all: -r THIS_FILE
"""


def versions() -> dict[NormalizedName, tuple[str, str]]:
    """Return name and version of every line of constraints.txt, by normalised name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    pairs = [line.split("==") for line in lines]
    return {canonicalize_name(name): (name, version) for name, version in pairs}


def closure(requirements: Iterable[str]) -> set[NormalizedName]:
    """Return what pip would install for requirements, without installing it.

    Args:
        requirements: As pyproject.toml has them.
    """
    options = ["--dry-run", "--ignore-installed", "--quiet", "--only-binary=:all:", "--report", "-"]
    done = subprocess.run(  # noqa: S603 - the interpreter that runs this
        [sys.executable, "-m", "pip", "install", *options, "-c", ROOT / "constraints.txt", *requirements],
        stdout=subprocess.PIPE,
        check=True,
    )
    return {canonicalize_name(entry["metadata"]["name"]) for entry in json.loads(done.stdout)["install"]}


def is_target(tag: Tag) -> bool:
    """Return whether a wheel with this tag can be used on a supported Python and platform."""
    exact = tag.interpreter in {f"cp3{minor}" for minor in PYTHONS} and not tag.abi.endswith("t")
    stable = tag.abi == "abi3" and re.fullmatch(r"cp3([2-9]|1[0-3])", tag.interpreter)
    pure = tag.abi == "none" and re.fullmatch(r"py3|py31[123]|cp31[123]", tag.interpreter)
    return bool((exact or stable or pure) and PLATFORM.fullmatch(tag.platform))


def covers_linux(tags: Iterable[Tag]) -> bool:
    """Return whether wheels fit every supported Python on both of Linux's processors."""
    found = [tag for tag in tags if is_target(tag)]
    return all(
        any(
            (tag.platform == "any" or (tag.platform.endswith(processor) and LINUX.fullmatch(tag.platform)))
            and (tag.abi == "abi3" or tag.interpreter in {"py3", f"py3{minor}", f"cp3{minor}"})
            for tag in found
        )
        for minor in PYTHONS
        for processor in ("x86_64", "aarch64")
    )


def digests(pins: Mapping[NormalizedName, tuple[str, str]]) -> dict[NormalizedName, list[str]]:
    """Ask the configured index for the SHA-256 of each version's wheels.

    Args:
        pins: Name and version, by normalised name.

    Raises:
        SystemExit: A version has no wheel for Linux.
    """
    found: dict[NormalizedName, list[str]] = {}
    for key, files in files_of(pins).items():
        name, version = pins[key]
        wheels: dict[str, Iterable[Tag]] = {}
        for file, digest in files:
            try:
                _, its, _, tags = parse_wheel_filename(file)
            except InvalidWheelFilename:  # of a release long ago
                continue
            if str(its) == version and any(map(is_target, tags)):
                wheels[digest] = tags
        if not covers_linux(tag for tags in wheels.values() for tag in tags):
            raise SystemExit(f"{name} {version} has no wheels for Linux and each Python.")
        found[key] = sorted(wheels)
    return found


def files_of(names: Iterable[NormalizedName]) -> dict[NormalizedName, list[tuple[str, str]]]:
    """Return name and SHA-256 of every wheel that the configured index lists, by normalised name.

    pip has no public way to list them for other platforms, so its own parts are used: the session and the
    parser of `pip install`. Indexes on this machine's disk are passed over; they hold no digests of others.
    """
    from pip._internal.commands.install import InstallCommand  # noqa: PLC0415 - no public interface
    from pip._internal.index.collector import parse_links  # noqa: PLC0415 - as above
    from pip._internal.models.link import Link  # noqa: PLC0415 - as above

    command = InstallCommand("install", "")
    options, _ = command.parse_args([])
    found: dict[NormalizedName, list[tuple[str, str]]] = {}
    with command._build_session(options) as session:
        collector = command._build_package_finder(options, session)._link_collector
        for name in names:
            found[name] = []
            for address in collector.search_scope.get_index_urls_locations(name):
                page = None if address.startswith("file:") else collector.fetch_response(Link(address))
                links = parse_links(page) if page else ()
                found[name] += [
                    (link.filename, link.hash)
                    for link in links
                    if link.is_wheel and link.hash_name == "sha256" and link.hash
                ]
    return found


def write(file: str, names: Iterable[NormalizedName], pins: Mapping[NormalizedName, tuple[str, str]],
          hashes: Mapping[NormalizedName, list[str]]) -> None:  # fmt: skip
    """Write one file of requirements, in the order of constraints.txt."""
    lines = [HEADER]
    for key in sorted(names):
        name, version = pins[key]
        lines.append(
            " \\\n".join([f"{name}=={version}", *(f"    --hash=sha256:{each}" for each in hashes[key])])
        )
        lines.append("\n")
    (HERE / file).write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Write the three files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    service = closure(project["dependencies"])
    image = closure(project["optional-dependencies"]["image"])
    pins = {key: pin for key, pin in versions().items() if key not in LEFT_OUT}
    if unpinned := sorted((service | image) - pins.keys()):
        raise SystemExit(f"constraints.txt lacks {', '.join(unpinned)}.")
    hashes = digests(pins)
    write("service.txt", service, pins, hashes)
    write("image.txt", image, pins, hashes)
    write("development.txt", pins, pins, hashes)


if __name__ == "__main__":
    main()
