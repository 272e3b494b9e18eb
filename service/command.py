"""The command: settings, checks, and then one process that serves or several.

It imports nothing heavy, so that what is wrong is said at once, and several processes begin small.
"""

import importlib.util
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from service import addresses
from service.addresses import CannotServe
from service.inference.admission import rates
from service.inference.admission.keyring import KeyFile
from service.inference.admission.keys import KeysInvalid
from service.inference.admission.rates import Limits
from service.observability import json_logging
from service.processes.member import Member
from service.settings import ENVIRONMENT_PREFIX, BadSettings, Settings, load

_SPARE_S = 5.0
"""How long processes may take to stop beyond what the settings let running requests take."""


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal says stop.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit status: 2 for a bad setting, or one whose packages are missing; 3 for an address that is not
        free, or a model that was refused where the settings are strict. One line on standard error says why.
    """
    if arguments[:1] == ["key"]:
        from service import key_command  # noqa: PLC0415 - it is not needed to serve

        return key_command.main(arguments[1:])
    try:
        settings = load(arguments)
        _check(settings)
    except BadSettings as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        return _serve_alone(settings) if settings.workers == 1 else _serve_together(settings)
    except CannotServe as error:
        sys.stderr.write(f"{error}\n")
        return 3


def _check(settings: Settings) -> None:
    if not settings.models.is_dir():
        raise BadSettings(f"{_named('models')}: should be a folder; got {str(settings.models)!r}.")
    if settings.grpc_port is not None:
        for package in ("grpc", "grpc_health", "grpc_reflection"):
            if importlib.util.find_spec(package) is None:
                needed = "needs more packages; pip install 'inkling[grpc]' installs them"
                raise BadSettings(f"{_named('grpc_port')}: {needed}.")
    if settings.workers > 1:
        if settings.management:
            expected = "should not both be used, as a change would reach one process alone"
            got = f"{settings.workers} workers with management"
            raise BadSettings(f"{_named('workers', 'management')}: {expected}; got {got}.")
        if not hasattr(os, "fork"):
            raise BadSettings(f"{_named('workers')}: should be 1 on this system; got {settings.workers}.")

    if (settings.tls_cert is None) != (settings.tls_key is None):
        missing = "tls_cert" if settings.tls_cert is None else "tls_key"
        expected = "should be given together, or neither"
        raise BadSettings(f"{_named('tls_cert', 'tls_key')}: {expected}; got no {missing}.")
    _check_admission(settings)


def _check_admission(settings: Settings) -> None:
    """Check the key file and the rates, before anything heavy is loaded."""
    names = ("rate", "rate_burst")
    try:
        requests = rates.per_second(settings.rate, settings.rate_burst)
        names = ("rate_images", "rate_images_burst")
        images = rates.per_second(settings.rate_images, settings.rate_images_burst)
    except ValueError as error:
        raise BadSettings(f"{_named(*names)}: should be {error}.") from error
    if settings.keys is not None:
        try:
            KeyFile(settings.keys, Limits(requests, images))
        except KeysInvalid as error:
            raise BadSettings(f"{_named('keys')}: {error}") from error


def _named(*names: str) -> str:
    variables = ", ".join(f"{ENVIRONMENT_PREFIX}{name.upper()}" for name in names)
    flags = ", ".join(f"--{name.replace('_', '-')}" for name in names)
    return f"{variables} ({flags})"


def _serve_alone(settings: Settings) -> int:
    from service import server  # noqa: PLC0415 - half a second of imports, which a supervisor need not spend

    json_logging.set_up(settings.log_level)
    return server.serve(settings)


def _serve_together(settings: Settings) -> int:
    """Let several processes serve, each as one would alone."""
    from service.processes.supervisor import Supervisor  # noqa: PLC0415 - it needs fork, which not every system has

    json_logging.set_up(settings.log_level)
    bound = addresses.bind_together(settings, settings.workers)
    settings, reserved = addresses.reserve_grpc(settings)

    def serve(member: Member, own: socket.socket) -> int:
        from service import server  # noqa: PLC0415 - in the child alone: the parent stays small

        try:
            return server.serve(settings, own, member)
        except CannotServe as error:
            member.tell_why_not(str(error))
            return 3

    supervisor = Supervisor(
        bound,
        _published(settings.models),
        serve,
        # HTTP drains, and then gRPC.
        patience_s=2 * settings.drain_timeout_s + _SPARE_S,
    )
    with reserved or nullcontext():
        return supervisor.run(lambda: addresses.announce(bound[0], settings.workers))


def _published(models: Path) -> frozenset[tuple[str, str]]:
    """Return every name and version that a folder has below the models folder, whether it is sound or not.

    Raises:
        CannotServe: The models folder cannot be read.
    """
    found = set()
    try:
        for name in models.iterdir():
            try:
                found |= {(name.name, version.name) for version in name.iterdir()}
            except OSError:  # a file, or it cannot be read: the registry says so
                continue
    except OSError as error:
        raise addresses.unreadable(error) from error
    return frozenset(found)
