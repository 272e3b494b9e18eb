"""Certificates for tests, made by OpenSSL when they are needed."""

import hashlib
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.service.http.running import PATIENCE_S


class Pair(NamedTuple):
    """A certificate and its key, in PEM."""

    certificate: Path
    key: Path

    def fingerprint(self) -> str:
        """Return the SHA-256 of the certificate."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).hexdigest()

    def replace(self, other: "Pair") -> None:
        """Let the files be those of another pair."""
        for own, new in zip(self, other, strict=True):
            fresh = own.with_suffix(".new")
            fresh.write_bytes(new.read_bytes())
            fresh.replace(own)


def make(folder: Path, name: str) -> Pair:
    """Make a certificate for 127.0.0.1, signed by itself; skip the test where there is no OpenSSL."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs the program openssl")
    pair = Pair(folder / f"{name}.pem", folder / f"{name}-key.pem")
    algorithm = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(pair.key), "-out", str(pair.certificate)]
    command = [program, "req", "-x509", "-nodes", "-days", "2", *algorithm, *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    return pair


def encrypt(pair: Pair) -> Pair:
    """Encrypt the key of a pair, in a file beside it."""
    encrypted = pair.key.with_suffix(".encrypted")
    command = ["openssl", "ec", "-aes256", "-passout", "pass:secret", "-in", str(pair.key)]
    command += ["-out", str(encrypted)]
    subprocess.run(command, check=True, capture_output=True)
    return Pair(pair.certificate, encrypted)


def connect(port: int) -> ssl.SSLSocket:
    """Open a TLS connection to 127.0.0.1; any certificate will do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    raw = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    try:
        return context.wrap_socket(raw)
    except BaseException:
        raw.close()
        raise


def shown(port: int) -> str:
    """Return the SHA-256 of the certificate that a server shows."""
    with connect(port) as connection:
        found = connection.getpeercert(binary_form=True)
    assert found
    return hashlib.sha256(found).hexdigest()
