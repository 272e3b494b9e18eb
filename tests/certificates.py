"""Self-signed TLS certificates for 127.0.0.1, made by the `openssl` command."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Pair:
    """A certificate and its key.

    Attributes:
        certificate: PEM file; its own issuer, so clients can be told to trust it.
        key: PEM file.
    """

    certificate: Path
    key: Path

    def copy_to(self, other: "Pair") -> None:
        """Replace another pair's files, each at once, as programs do that renew certificates."""
        for source, target in ((self.certificate, other.certificate), (self.key, other.key)):
            beside = target.with_name(target.name + ".new")
            shutil.copy(source, beside)
            beside.replace(target)


def make(folder: Path, name: str) -> Pair:
    """Make a certificate whose subject has a name; skips the test where there is no `openssl`."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the command openssl")
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    folder.mkdir(parents=True, exist_ok=True)
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    command += ["-keyout", str(pair.key), "-out", str(pair.certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return pair
