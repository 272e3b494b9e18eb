"""The command line: read and check the settings, then serve with one process or start the supervisor.

It imports nothing heavy, so that a bad setting is reported at once and forked workers start small.
"""

import importlib.util
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from service import addresses
from service.addresses import CannotServe
from service.inference.admission import rates
from service.inference.admission.key_file import KeyFile, KeysInvalid
from service.inference.admission.rates import Limits
from service.multiprocess.worker import WorkerProcess
from service.observability import json_logging
from service.settings import ENVIRONMENT_PREFIX, BadSettings, Settings, load

_STOP_MARGIN_S = 5.0
"""How long a worker may take to stop beyond `drain_timeout_s`, in seconds; then it is killed."""


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal says stop.

    Args:
        arguments: The command line without the program's name.

    Returns:
        The exit status: 2 for a bad setting, or one whose packages are missing; 3 for an address that is not
        free, or a model that was refused where the settings are strict. One line on standard error says why.
    """
    if arguments[:1] == ["key"]:
        from service import key_cli  # noqa: PLC0415 - it is not needed to serve

        return key_cli.main(arguments[1:])
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
                install = "pip install -e '.[grpc]' -c constraints.txt"
                needed = f"needs more packages; {install}, in this project's folder, installs them"
                raise BadSettings(f"{_named('grpc_port')}: {needed}.")
    if settings.workers > 1 and not hasattr(os, "fork"):
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
    """Return how settings are spelled in the environment and as flags."""
    variables = ", ".join(f"{ENVIRONMENT_PREFIX}{name.upper()}" for name in names)
    flags = ", ".join(f"--{name.replace('_', '-')}" for name in names)
    return f"{variables} ({flags})"


def _serve_alone(settings: Settings) -> int:
    from service import server  # noqa: PLC0415 - half a second of imports, which a supervisor need not spend

    if hasattr(signal, "SIGHUP"):  # it reloads a service that has started; there is nothing to reload before
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    json_logging.set_up(settings.log_level)
    return server.serve(settings)


def _serve_together(settings: Settings) -> int:
    """Start the supervisor, which forks the workers; each of them serves as a single process does."""
    from service.inference.admission.buckets import BucketTable  # noqa: PLC0415 - one process makes its own
    from service.multiprocess.supervisor import Supervisor  # noqa: PLC0415 - it needs fork, which not every system has

    json_logging.set_up(settings.log_level)
    bound = addresses.bind_together(settings, settings.workers)
    settings, reserved = addresses.reserve(settings, "grpc_port")
    settings, operators = addresses.reserve(settings, "admin_port")
    buckets = BucketTable(is_shared=True)  # memory that is mapped before the fork is shared by all workers

    def serve(worker: WorkerProcess, own: socket.socket) -> int:
        from service import server  # noqa: PLC0415 - in the child alone: the parent stays small

        try:
            return server.serve(settings, own, worker, buckets)
        except CannotServe as error:
            worker.report_failure(str(error))
            return 3

    try:
        supervisor = Supervisor(
            bound,
            partial(_list_published, settings.models),
            serve,
            # HTTP drains, and then gRPC.
            stop_timeout_s=2 * settings.drain_timeout_s + _STOP_MARGIN_S,
            lame_duck_s=settings.lame_duck_s,
        )
    except OSError as error:
        raise addresses.unreadable(error) from error
    with reserved or nullcontext(), operators or nullcontext():
        return supervisor.run(
            lambda: addresses.announce(
                bound[0], settings.workers, operators, is_secure=settings.tls_cert is not None
            )
        )


def _list_published(models: Path) -> frozenset[tuple[str, str]]:
    """Return name and version of every folder `<name>/<version>` in the models folder, valid or not.

    Raises:
        OSError: The models folder cannot be read.
    """
    found = set()
    for name in models.iterdir():
        try:
            found |= {(name.name, version.name) for version in name.iterdir() if version.name.isdecimal()}
        except OSError:  # a file, or a folder that cannot be read; the registry reports it
            continue
    return frozenset(found)
