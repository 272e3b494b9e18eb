"""TLS credentials of the gRPC server; a changed certificate is loaded without a restart."""

import logging
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import grpc

from service.core.artifact.files import file_stamp

log = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int] | None, ...]


def credentials(certificate: Path, key: Path) -> grpc.ServerCredentials:
    """Return server credentials that reload their files: new connections get the certificate as it is then.

    If a changed pair is not valid, that is logged and the previous pair stays in use.

    Args:
        certificate: PEM file of the certificate chain.
        key: PEM file of the private key, without a passphrase.

    Raises:
        OSError: A file cannot be read.
        ssl.SSLError: Certificate and key are not valid or do not match.
    """
    pair = _Pair(certificate, key)
    return grpc.dynamic_ssl_server_credentials(
        pair.current, pair.fetcher(), require_client_authentication=False
    )


class _Pair:
    """The loaded certificate and key. Thread-safe: gRPC calls the fetcher on its own threads."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._lock = threading.Lock()
        self._stamp = self._read_stamp()
        self.current = self._load()

    def fetcher(self) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
        """Return the callback for new connections: it returns a changed pair, or None."""

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            with self._lock:
                try:
                    stamp = self._read_stamp()
                    if stamp == self._stamp:
                        return None
                    self._stamp = stamp  # before loading, so that an invalid pair is logged once
                    self.current = self._load()
                except (OSError, ssl.SSLError, ValueError) as error:
                    reason = type(error).__name__
                    log.error("TLS certificate not reloaded", extra={"fields": {"reason": reason}})
                    return None
                log.info("TLS certificate reloaded")
                return self.current

        return fetch

    def _read_stamp(self) -> _Stamp:
        return tuple(file_stamp(file) for file in self._files)

    def _load(self) -> grpc.ServerCertificateConfiguration:
        certificate, key = self._files
        # Checks that certificate and key match; gRPC would only fail at the first handshake.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key, password=_no_passphrase)
        return grpc.ssl_server_certificate_configuration([(key.read_bytes(), certificate.read_bytes())])


def _no_passphrase() -> str:
    # Without this callback OpenSSL would prompt on the terminal.
    raise ValueError("the private key should have no passphrase")
