"""Binds the addresses that the service listens on, with an error message if that fails."""

import logging
import socket
import sys
from pathlib import Path
from typing import Literal

from service.settings import ENVIRONMENT_PREFIX, Settings

log = logging.getLogger(__name__)

_BACKLOG = 2048
"""Maximum number of connections that wait to be accepted."""


class CannotServe(Exception):
    """The service cannot start; the message is one line that names the settings."""


def unreadable(models: Path, error: OSError) -> CannotServe:
    """Return the error for a models folder that cannot be read."""
    variable = f"{ENVIRONMENT_PREFIX}MODELS (--models)"
    got = f"{str(models.absolute())!r}, {error.strerror}"
    return CannotServe(f"{variable}: should be a readable folder; got {got}.")


def bind(settings: Settings) -> socket.socket:
    """Bind the address for HTTP, without listening yet, and check that the address for gRPC is free.

    Raises:
        CannotServe: An address is not free.
    """
    bound = _bind(settings.host, settings.port, "port")
    if settings.grpc_port is not None:
        try:
            _bind(settings.host, settings.grpc_port, "grpc_port").close()  # gRPC binds it, in the event loop
        except CannotServe:
            bound.close()
            raise
    return bound


def bind_operators(settings: Settings, is_shared: bool) -> socket.socket | None:
    """Bind the address for operators, without listening yet; None if `admin_port` is not set.

    Args:
        settings: `host` and `admin_port`.
        is_shared: Whether other workers bind it too.

    Raises:
        CannotServe: The address is not free.
    """
    if settings.admin_port is None:
        return None
    return _bind(settings.host, settings.admin_port, "admin_port", is_shared)


def bind_workers(settings: Settings, count: int) -> list[socket.socket]:
    """Bind the address for HTTP for several workers, without listening yet.

    Returns:
        One socket for each worker. On Linux they are different sockets, so that the kernel distributes
        connections evenly: with a shared one, a worker that is awake accepts most of a burst. On other
        systems it is the same socket.

    Raises:
        CannotServe: As `bind`.
    """
    bound = bind(settings)
    if sys.platform != "linux":
        return [bound] * count
    port = bound.getsockname()[1]
    bound.close()  # it has checked that no other program uses the address; sharing would not fail then
    return [_bind(settings.host, port, "port", is_shared=True) for _ in range(count)]


def reserve(
    settings: Settings, name: Literal["grpc_port", "admin_port"]
) -> tuple[Settings, socket.socket | None]:
    """Reserve a port for several workers, which bind it themselves.

    Args:
        settings: The settings.
        name: Name of the setting.

    Returns:
        The settings with the actual port number, and a socket that reserves it; None if the port is not set.

    Raises:
        CannotServe: The address is not free.
    """
    port = getattr(settings, name)
    if port is None:
        return settings, None
    bound = _bind(settings.host, port, name, is_shared=True)
    return settings.model_copy(update={name: bound.getsockname()[1]}), bound


def listen(bound: socket.socket, setting: str = "port") -> None:
    """Listen on a bound socket.

    Args:
        bound: The socket.
        setting: Name of the setting for the port, for the error.

    Raises:
        CannotServe: Another program listens there by now.
    """
    host, port = bound.getsockname()[:2]
    try:
        bound.listen(_BACKLOG)
    except OSError as error:
        raise _not_free(host, port, setting, error) from error


def announce(
    bound: socket.socket,
    processes: int = 1,
    operators: socket.socket | None = None,
    is_secure: bool = False,
) -> None:
    """Log the addresses that the service listens on."""
    address = _url(bound, is_secure)
    fields: dict[str, object] = {"address": address, "documentation": f"{address}/docs"}
    if operators is not None:
        fields["operators"] = _url(operators, is_secure)
    if processes > 1:
        fields["processes"] = processes
    log.info("listening", extra={"fields": fields})


def _url(bound: socket.socket, is_secure: bool) -> str:
    host, port = bound.getsockname()[:2]
    scheme = "https" if is_secure else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _bind(host: str, port: int, setting: str, is_shared: bool = False) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_REUSEPORT") and is_shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise _not_free(host, port, setting, error) from error
    return sock


def _not_free(host: str, port: int, setting: str, error: OSError) -> CannotServe:
    variables = f"{ENVIRONMENT_PREFIX}HOST, {ENVIRONMENT_PREFIX}{setting.upper()}"
    flags = f"--host, --{setting.replace('_', '-')}"
    return CannotServe(
        f"{variables} ({flags}): should be a free address; got {host}:{port}, {error.strerror}."
    )
