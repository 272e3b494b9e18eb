"""The addresses that the service listens on, and what is said if it cannot serve there."""

import logging
import socket
import sys
from typing import Literal

from service.settings import ENVIRONMENT_PREFIX, Settings

log = logging.getLogger(__name__)

_QUEUE = 2048
"""Connections that wait to be taken."""


class CannotServe(Exception):
    """The service cannot start; the message is one line that names the settings."""


def unreadable(error: OSError) -> CannotServe:
    """Say that the models folder cannot be read."""
    variable = f"{ENVIRONMENT_PREFIX}MODELS (--models)"
    return CannotServe(f"{variable}: should be a folder that can be read; got {error.strerror}.")


def bind(settings: Settings) -> socket.socket:
    """Take the address for HTTP, without listening yet, and see whether that for gRPC is free.

    Raises:
        CannotServe: Somebody else listens there.
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
    """Take the address for operators, without listening yet; None if the settings name no port.

    Args:
        settings: `host` and `admin_port`.
        is_shared: Whether other processes of ours take it too.

    Raises:
        CannotServe: Somebody else listens there.
    """
    if settings.admin_port is None:
        return None
    return _bind(settings.host, settings.admin_port, "admin_port", is_shared)


def bind_together(settings: Settings, count: int) -> list[socket.socket]:
    """Take the address for HTTP for several processes, without listening yet.

    Returns:
        A socket for each. On Linux each is one of its own, so that the system deals connections out evenly:
        where all take them from one, a process that is awake takes most of those that come at once.
        Elsewhere all are the same.

    Raises:
        CannotServe: As `bind`.
    """
    bound = bind(settings)
    if sys.platform != "linux":
        return [bound] * count
    port = bound.getsockname()[1]
    bound.close()  # it was there to see that nobody else has the address, whom sharing would not disturb
    return [_bind(settings.host, port, "port", is_shared=True) for _ in range(count)]


def reserve(
    settings: Settings, name: Literal["grpc_port", "admin_port"]
) -> tuple[Settings, socket.socket | None]:
    """Take a port on behalf of several processes, each of which binds it by itself.

    Args:
        settings: The addresses.
        name: Of the port.

    Returns:
        The settings with the port's number, and a socket that holds it; None if the settings name no port.

    Raises:
        CannotServe: Somebody else has it.
    """
    port = getattr(settings, name)
    if port is None:
        return settings, None
    bound = _bind(settings.host, port, name, is_shared=True)
    return settings.model_copy(update={name: bound.getsockname()[1]}), bound


def listen(bound: socket.socket, setting: str = "port") -> None:
    """Let connections come.

    Args:
        bound: Where.
        setting: The setting that names the port, for the error.

    Raises:
        CannotServe: Somebody else listens there since.
    """
    host, port = bound.getsockname()[:2]
    try:
        bound.listen(_QUEUE)
    except OSError as error:
        raise _taken(host, port, setting, error) from error


def announce(
    bound: socket.socket,
    processes: int = 1,
    operators: socket.socket | None = None,
    is_secure: bool = False,
) -> None:
    """Log where the service listens."""
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
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_REUSEPORT") and is_shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise _taken(host, port, setting, error) from error
    return made


def _taken(host: str, port: int, setting: str, error: OSError) -> CannotServe:
    variables = f"{ENVIRONMENT_PREFIX}HOST, {ENVIRONMENT_PREFIX}{setting.upper()}"
    flags = f"--host, --{setting.replace('_', '-')}"
    return CannotServe(
        f"{variables} ({flags}): should be a free address; got {host}:{port}, {error.strerror}."
    )
