"""TLS certificate of the HTTP listener, reloaded when its files change."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from service.core.artifact.files import file_stamp

log = logging.getLogger(__name__)

_CHECK_S = 1.0
"""Shortest time between two checks whether the files have changed, in seconds."""


class Certificates:
    """A certificate chain and its private key, as an SSL context for new connections."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Load both files.

        Raises:
            OSError: A file cannot be read, or is not a certificate or unencrypted key in PEM
            (`ssl.SSLError`).
        """
        self._files = (certificate, key)
        self._stamp = self._read_stamp()
        self._context = self._load()
        self._checked = monotonic()

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection, reloaded if the files have changed."""
        now = monotonic()
        if now - self._checked >= _CHECK_S:
            self._checked = now
            self.reload()
        return self._context

    def reload(self) -> None:
        """Reload the files if they have changed. An invalid pair is logged, and the present one is kept."""
        try:
            stamp = self._read_stamp()
            if stamp == self._stamp:
                return
            self._stamp = stamp  # first: an invalid pair is logged once
            self._context = self._load()
        except OSError as error:
            reason = error.strerror or str(error)
            log.error("TLS certificate not reloaded", extra={"fields": {"reason": reason}})
        else:
            log.info("TLS certificate reloaded")

    def prepare(self) -> Callable[[], None]:
        """Load the files without using them yet; first phase of a reload of all workers.

        Returns:
            Function that replaces the present pair.

        Raises:
            ValueError: They cannot be read, or are not a certificate and its key.
        """
        try:
            stamp, context = self._read_stamp(), self._load()
        except OSError as error:
            expected = "The TLS certificate and its key should be a pair in PEM"
            raise ValueError(f"{expected}; got {error.strerror or 'other content'}.") from error

        def commit() -> None:
            self._stamp, self._context = stamp, context

        return commit

    def _read_stamp(self) -> tuple[object, ...]:
        return tuple(file_stamp(path) for path in self._files)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        certificate, key = self._files
        context.load_cert_chain(certificate, key, password=b"")  # without it, OpenSSL asks at the terminal
        return context
