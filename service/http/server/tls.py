"""TLS certificates, read again when their files change."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from time import monotonic

log = logging.getLogger(__name__)

_CHECK_S = 1.0
"""How often the files are looked at, at most."""


class Certificates:
    """A certificate chain and its key, as an SSL context for new connections."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read both files.

        Raises:
            OSError: A file cannot be read, or is no certificate or key in PEM; `ssl.SSLError` is one.
        """
        self._files = (certificate, key)
        self._stamp = self._look()
        self._context = self._read()
        self._checked = monotonic()

    def context(self) -> ssl.SSLContext:
        """Return the context for a new connection; a changed pair of files is read first."""
        now = monotonic()
        if now - self._checked >= _CHECK_S:
            self._checked = now
            self.reload()
        return self._context

    def reload(self) -> None:
        """Read the files again if they have changed; a pair that cannot be used is logged and not taken."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._context = self._read()
        except OSError as error:
            log.error("certificate not taken", extra={"fields": {"reason": error.strerror or str(error)}})
        else:
            log.info("certificate taken")

    def prepare(self) -> Callable[[], None]:
        """Read the files; a reload hook, which returns what makes them current.

        Raises:
            ValueError: They cannot be read, or are no certificate and its key.
        """
        try:
            stamp, context = self._look(), self._read()
        except OSError as error:
            expected = "The TLS certificate and its key should be a pair in PEM"
            raise ValueError(f"{expected}; got {error.strerror or 'other content'}.") from error

        def commit() -> None:
            self._stamp, self._context = stamp, context

        return commit

    def _look(self) -> tuple[object, ...]:
        return tuple(_stamp(path) for path in self._files)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        certificate, key = self._files
        context.load_cert_chain(certificate, key, password=b"")  # without one it would ask at the terminal
        return context


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what changes with a file; None if it cannot be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
