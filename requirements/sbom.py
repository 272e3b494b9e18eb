"""Complete the container image's bill of materials: `python requirements/sbom.py BOM DPKG_STATUS SHA256SUMS`.

cyclonedx-py has written the Python packages of an environment; this adds Debian's packages and the published
networks, checks the whole against CycloneDX's schema, and writes it back. The Dockerfile calls it.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

Component = dict[str, Any]


def debian_packages(status: str) -> Iterator[Component]:
    """Yield a component for each installed package.

    Args:
        status: Content of /var/lib/dpkg/status.
    """
    for stanza in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        if not fields.get("Status", "").endswith(" installed"):
            continue
        name, version = fields["Package"], fields["Version"]
        place = f"pkg:deb/debian/{quote(name, safe='')}@{quote(version, safe='')}"
        purl = f"{place}?arch={fields['Architecture']}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def networks(sums: str) -> Iterator[Component]:
    """Yield a component for each published network, with the digest of its file.

    Args:
        sums: Content of models/SHA256SUMS.
    """
    for line in sums.splitlines():
        digest, path = line.split("  ", 1)
        name, version, file = path.split("/")
        if file == "model.onnx":
            hashes = [{"alg": "SHA-256", "content": digest}]
            yield {
                "type": "machine-learning-model",
                "bom-ref": f"model:{name}@{version}",
                "name": name,
                "version": version,
                "hashes": hashes,
            }


def completed(bom: Component, status: str, sums: str) -> Component:
    """Return a bill of materials with Debian's packages and the networks in it.

    Args:
        bom: As cyclonedx-py wrote it.
        status: Content of /var/lib/dpkg/status.
        sums: Content of models/SHA256SUMS.
    """
    return {**bom, "components": [*bom["components"], *debian_packages(status), *networks(sums)]}


def main(bom: str, status: str, sums: str) -> None:
    """Complete the file `bom` in place."""
    # only where the image is built
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 - only the image has it
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415 - as above

    path = Path(bom)
    whole = completed(
        json.loads(path.read_text("utf-8")), Path(status).read_text("utf-8"), Path(sums).read_text("utf-8")
    )
    text = json.dumps(whole, indent=1) + "\n"
    if flaw := JsonStrictValidator(SchemaVersion.from_version(whole["specVersion"])).validate_str(text):
        raise SystemExit(f"The bill of materials breaks CycloneDX's schema: {flaw}")
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
