"""TLS for gRPC: a certificate that is read again when its files change, without a restart."""

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
    """Return credentials for a server; connections that begin after the files have changed get the new pair.

    A new pair that cannot be used is logged, and the old one is kept.

    Args:
        certificate: PEM file of the certificate, and those that lead to its issuer.
        key: PEM file of the private key, without a passphrase.

    Raises:
        OSError: A file cannot be read.
        ssl.SSLError: The files are no pair of certificate and key.
    """
    pair = _Pair(certificate, key)
    return grpc.dynamic_ssl_server_credentials(
        pair.current, pair.fetcher(), require_client_authentication=False
    )


class _Pair:
    """A certificate and its key, as they were last read. Thread-safe: gRPC asks on threads of its own."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._lock = threading.Lock()
        self._stamp = self._read_stamp()
        self.current = self._load()

    def fetcher(self) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
        """Return what gRPC calls for each new connection: it returns a new pair, or None for the same one."""

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            with self._lock:
                try:
                    stamp = self._read_stamp()
                    if stamp == self._stamp:
                        return None
                    self._stamp = stamp  # first: a broken pair is logged once
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
        # Python checks that they are a pair; gRPC would say so at the first handshake, and no more.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key, password=_no_passphrase)
        return grpc.ssl_server_certificate_configuration([(key.read_bytes(), certificate.read_bytes())])


def _no_passphrase() -> str:
    raise ValueError("the private key should have no passphrase")  # else OpenSSL asks at the terminal
