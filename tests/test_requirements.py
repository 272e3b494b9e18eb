"""`requirements/`: pinned versions with digests, and the image's bill of materials."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from requirements import lock, sbom
from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "requirements"

FILES = ("service.txt", "image.txt", "development.txt")

PINS = {name: version for name, (_, version) in lock.versions().items()}

STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.41-12+deb13u1
Description: GNU C Library
 Shared libraries.
Depends: libgcc-s1

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: libstdc++6
Status: install ok installed
Architecture: arm64
Version: 1:14.2~rc1-19
"""

SUMS = "".join(
    f"{digit * 64}  ink/{version}/{file}\n"
    for version, digit in (("1", "a"), ("2", "b"))
    for file in ("golden.json", "manifest.json", "model.onnx")
)


def pinned(file: str) -> dict[str, tuple[str, list[str]]]:
    """Return version and hashes by package; every entry must have the same form."""
    text = re.sub(r"(?m)^#.*\n", "", (FOLDER / file).read_text()).replace(" \\\n", " ")
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(r"([\w.-]+)==([0-9][A-Za-z0-9.]*)((?: +--hash=sha256:[0-9a-f]{64})+)", line)
        assert match, f"{file}: {line[:80]}"
        found[canonicalize_name(match[1])] = (match[2], match[3].split())
    return {str(name): pin for name, pin in found.items()}


@pytest.mark.parametrize("file", FILES)
def test_pinned_versions_equal_the_constraints(file: str) -> None:
    """
    Each has the hash of at least one wheel; the file has no option and no URL.
    """
    for name, (version, digests) in pinned(file).items():
        assert version == PINS[canonicalize_name(name)], f"run `make lock`: {name}"
        assert len(digests) == len(set(digests)) >= 1


def test_all_dependencies_are_pinned() -> None:
    """
    Dependencies of the service and of the image build, and all constraints except torch.
    """
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for file, asked in (
        ("service.txt", project["dependencies"]),
        ("image.txt", project["optional-dependencies"]["image"]),
    ):
        assert {canonicalize_name(Requirement(each).name) for each in asked} <= pinned(file).keys()
    assert pinned("development.txt").keys() == PINS.keys() - {"torch"}


@pytest.mark.parametrize(
    ("wheel", "fits"),
    [
        ("a-1-py3-none-any.whl", True),
        ("a-1-py2.py3-none-any.whl", True),
        ("a-1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", True),
        ("a-1-cp39-abi3-manylinux_2_28_aarch64.whl", True),
        ("a-1-cp313-cp313-macosx_11_0_arm64.whl", True),
        ("a-1-cp311-cp311-linux_x86_64.whl", True),
        ("a-1-cp310-cp310-manylinux_2_28_x86_64.whl", False),
        ("a-1-cp313-cp313t-manylinux_2_28_x86_64.whl", False),
        ("a-1-cp314-abi3-manylinux_2_28_x86_64.whl", False),
        ("a-1-cp312-cp312-win_amd64.whl", False),
        ("a-1-cp312-cp312-musllinux_1_2_x86_64.whl", False),
        ("a-1-cp312-cp312-manylinux_2_28_i686.whl", False),
        ("a-1-pp311-pypy311_pp73-manylinux_2_28_x86_64.whl", False),
    ],
)
def test_wheels_of_supported_platforms_are_listed(wheel: str, fits: bool) -> None:
    """
    CPython 3.11 to 3.13, Linux with glibc and macOS.
    """
    assert any(lock.is_target(tag) for tag in parse_wheel_filename(wheel)[3]) == fits


def test_every_python_on_both_processors_needs_a_wheel() -> None:
    """
    A missing one is detected; a wheel for macOS does not replace it.
    """
    wheels = [
        f"a-1-cp3{minor}-cp3{minor}-manylinux_2_28_{processor}.whl"
        for minor in (11, 12, 13)
        for processor in ("x86_64", "aarch64")
    ]

    def covers(names: list[str]) -> bool:
        return lock.covers_linux(tag for name in names for tag in parse_wheel_filename(name)[3])

    assert covers(wheels)
    for missing in wheels:
        rest = [wheel for wheel in wheels if wheel != missing]
        assert not covers(rest)
        assert not covers([*rest, missing.replace("manylinux_2_28", "macosx_11_0")])


def test_bill_of_materials_has_debian_packages_and_networks() -> None:
    """
    Package URLs encode + and ~ as specified; each network has its digest.
    """
    bom = {"bomFormat": "CycloneDX", "components": [{"name": "numpy"}]}

    whole = sbom.completed(bom, STATUS, SUMS)

    assert whole["bomFormat"] == "CycloneDX"
    assert [(it["name"], it.get("purl") or it.get("hashes")) for it in whole["components"]] == [
        ("numpy", None),
        ("libc6", "pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=amd64"),
        ("libstdc++6", "pkg:deb/debian/libstdc%2B%2B6@1%3A14.2~rc1-19?arch=arm64"),
        ("ink", [{"alg": "SHA-256", "content": "a" * 64}]),
        ("ink", [{"alg": "SHA-256", "content": "b" * 64}]),
    ]
    assert len({it["bom-ref"] for it in whole["components"][1:]}) == 4
    json.dumps(whole)


def test_image_is_built_from_pinned_requirements() -> None:
    """
    pip checks the hash of every download, and the base image can be given by digest.
    """
    dockerfile = Path(REPOSITORY / "Dockerfile").read_text()

    installs = re.findall(r"pip install .*", dockerfile)
    assert len(installs) == 3
    for install in installs:
        assert (
            "--require-hashes --only-binary=:all:" in install or "--no-index --no-build-isolation" in install
        )
    assert re.findall(r"(?m)^FROM (\S+)", dockerfile) == ["${BASE}", "base", "runtime", "runtime"]
