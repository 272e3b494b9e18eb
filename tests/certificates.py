"""Creates self-signed TLS certificates with `openssl`, and reads the certificates of servers."""

import hashlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

PATIENCE_S = 60


class Pair(NamedTuple):
    """PEM files of a certificate and its key."""

    certificate: Path
    key: Path

    def fingerprint(self) -> str:
        """Return the SHA-256 of the certificate."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).hexdigest()

    def replace(self, other: "Pair") -> None:
        """Replace each file atomically by that of another pair, as programs do that renew certificates."""
        for own, new in zip(self, other, strict=True):
            beside = own.with_name(own.name + ".new")
            shutil.copyfile(new, beside)
            beside.replace(own)


def make(folder: Path, name: str, *, host: str = "") -> Pair:
    """Create a self-signed certificate; skip the test if `openssl` is not installed.

    Args:
        folder: Folder of the files.
        name: Name of the subject and of the files.
        host: Host name for which the certificate is valid, besides 127.0.0.1.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the command openssl")
    folder.mkdir(parents=True, exist_ok=True)
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    names = f"DNS:{host},IP:127.0.0.1" if host else "IP:127.0.0.1"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}"]
    command += ["-keyout", str(pair.key), "-out", str(pair.certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
    return pair


def encrypt(pair: Pair) -> Pair:
    """Encrypt the key of a pair; return the file."""
    encrypted = pair.key.with_suffix(".encrypted")
    command = ["openssl", "ec", "-aes256", "-passout", "pass:secret", "-in", str(pair.key)]
    command += ["-out", str(encrypted)]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
    return Pair(pair.certificate, encrypted)


def connect(port: int, protocols: Sequence[str] = ()) -> ssl.SSLSocket:
    """Open a TLS connection to 127.0.0.1; any certificate will do.

    Args:
        port: Where.
        protocols: What is offered to be spoken over it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(protocols)
    raw = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    try:
        return context.wrap_socket(raw)
    except BaseException:
        raw.close()
        raise


def shown(port: int, protocols: Sequence[str] = ()) -> str:
    """Return the SHA-256 of the certificate that a server sends."""
    with connect(port, protocols) as connection:
        found = connection.getpeercert(binary_form=True)
    assert found
    return hashlib.sha256(found).hexdigest()
