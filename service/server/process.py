"""Serves in this process: binds the sockets, creates the application, and runs the server until a signal."""

import gc
import socket
import ssl
from pathlib import Path

from service import addresses
from service.addresses import CannotServe
from service.app import create_app
from service.core.errors import ArtifactError
from service.http.server.tls import Certificates
from service.inference.admission.buckets import Buckets
from service.multiprocess.worker import WorkerProcess
from service.server.http_server import Server
from service.settings import ENVIRONMENT_PREFIX, Settings

_GARBAGE_THRESHOLD = 5_000
"""Number of new containers after which Python collects garbage. A request creates some hundreds and no
reference cycle; with Python's default of 700, collections ran every few requests."""


def serve(
    settings: Settings,
    bound: socket.socket | None = None,
    worker: WorkerProcess | None = None,
    buckets: Buckets | None = None,
) -> int:
    """Serve until a signal stops the process.

    Args:
        settings: The settings.
        bound: Bound socket of this worker; None binds one now. It listens once the models are loaded.
        worker: This worker process; None if only one process serves.
        buckets: Shared token buckets of several processes; None creates new ones.

    Returns:
        The exit status.

    Raises:
        CannotServe: The address is not free, the models folder or a certificate cannot be read, or a model
            is refused and `strict` is set.
    """
    listening = addresses.bind(settings) if bound is None else bound
    operators = addresses.bind_operators(settings, is_shared=worker is not None)
    certificates = _certificates(settings)
    try:
        app = create_app(settings, worker, buckets)
    except ArtifactError as error:
        strict = f"{ENVIRONMENT_PREFIX}STRICT (--strict)"
        raise CannotServe(f"{strict}: every model should be valid; got {error}") from error
    except OSError as error:
        raise addresses.unreadable(settings.models, error) from error
    addresses.listen(listening)
    if operators is not None:
        addresses.listen(operators, "admin_port")
    if bound is None:
        addresses.announce(listening, operators=operators, is_secure=certificates is not None)
    _freeze_garbage_collector()
    if certificates is not None:
        app.stager.hooks.append(certificates.prepare)
    server = Server(app, settings, certificates, operators, worker)
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        return 0
    return 0 if server.started else 3


def _freeze_garbage_collector() -> None:
    """Exclude all loaded objects from garbage collection: they live as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_THRESHOLD)


def _certificates(settings: Settings) -> Certificates | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    try:
        return Certificates(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        names = f"{ENVIRONMENT_PREFIX}TLS_CERT, {ENVIRONMENT_PREFIX}TLS_KEY (--tls-cert, --tls-key)"
        got = _wrong_file(settings.tls_cert.absolute(), settings.tls_key.absolute())
        raise CannotServe(f"{names}: should be a certificate and its key, in PEM; got {got}.") from error


def _wrong_file(certificate: Path, key: Path) -> str:
    """Return which of two files is not a certificate or its key, and why."""
    for path, content in ((certificate, "CERTIFICATE"), (key, "PRIVATE KEY")):
        try:
            if f"{content}-----".encode() not in path.read_bytes():
                return f"{str(path)!r}, which has no {content}"
        except OSError as error:
            return f"{str(path)!r}, {error.strerror}"
    return f"{str(certificate)!r} and {str(key)!r}, which do not match or are damaged"
