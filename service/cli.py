"""Command line: reads and checks the settings, then serves in this process or starts the supervisor.

It imports nothing heavy, so that an invalid setting is reported at once and forked workers start small.
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
from service.inference.admission.rates import RateLimits
from service.multiprocess.worker import WorkerProcess
from service.observability import json_logging
from service.settings import ENVIRONMENT_PREFIX, BadSettings, Settings, load

_STOP_MARGIN_S = 5.0
"""Time in seconds that a worker may take to stop beyond `drain_timeout_s`; then it is killed."""


def main(arguments: Sequence[str], program: str = "python -m service") -> int:
    """Serve until a signal stops the service.

    Args:
        arguments: The command line without the program's name.
        program: Name of the program, for its help.

    Returns:
        The exit status: 0 after a signal; 2 for an invalid setting, or one whose packages are missing; 3 if
        an address is not free, or a model is refused and `strict` is set. The reason is one line on standard
        error.
    """
    if arguments[:1] == ["key"]:
        from service import key_cli  # noqa: PLC0415 - it is not needed to serve

        return key_cli.main(arguments[1:], program)
    try:
        settings = load(arguments, program)
        _check(settings)
    except BadSettings as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        return _serve_in_this_process(settings) if settings.workers == 1 else _serve_with_workers(settings)
    except CannotServe as error:
        sys.stderr.write(f"{error}\n")
        return 3


def _check(settings: Settings) -> None:
    check_models(settings.models)
    if settings.grpc_port is not None:
        for package in ("grpc", "grpc_health", "grpc_reflection"):
            if importlib.util.find_spec(package) is None:
                install = "pip install -e '.[grpc]' -c constraints.txt"
                needed = f"needs further packages; install them with {install}, in this project's folder"
                raise BadSettings(f"{_named('grpc_port')}: {needed}.")
    if settings.workers > 1 and not hasattr(os, "fork"):
        raise BadSettings(f"{_named('workers')}: should be 1 on this system; got {settings.workers}.")

    if (settings.tls_cert is None) != (settings.tls_key is None):
        missing = "tls_cert" if settings.tls_cert is None else "tls_key"
        expected = "should be given together, or neither"
        raise BadSettings(f"{_named('tls_cert', 'tls_key')}: {expected}; got no {missing}.")
    _check_admission(settings)


def check_models(folder: Path) -> None:
    """Check that the folder of published networks exists.

    Raises:
        BadSettings: There is no such folder.
    """
    if not folder.is_dir():
        expected = "should be a folder of published networks, such as models/ of Inkling's repository"
        raise BadSettings(f"{_named('models')}: {expected}; got {str(folder.absolute())!r}.")


def _check_admission(settings: Settings) -> None:
    """Check the key file and the rate limits."""
    names = ("rate", "rate_burst")
    try:
        requests = rates.per_second(settings.rate, settings.rate_burst)
        names = ("rate_images", "rate_images_burst")
        images = rates.per_second(settings.rate_images, settings.rate_images_burst)
    except ValueError as error:
        raise BadSettings(f"{_named(*names)}: should be {error}.") from error
    if settings.keys is not None:
        try:
            KeyFile(settings.keys, RateLimits(requests, images))
        except KeysInvalid as error:
            raise BadSettings(f"{_named('keys')}: {error}") from error


def _named(*names: str) -> str:
    """Return the environment variables and flags of settings, for an error message."""
    variables = ", ".join(f"{ENVIRONMENT_PREFIX}{name.upper()}" for name in names)
    flags = ", ".join(f"--{name.replace('_', '-')}" for name in names)
    return f"{variables} ({flags})"


def _serve_in_this_process(settings: Settings) -> int:
    from service.server import process  # noqa: PLC0415 - takes half a second, and a supervisor does not need it

    if hasattr(signal, "SIGHUP"):  # handled once the service has started
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    json_logging.set_up(settings.log_level)
    return process.serve(settings)


def _serve_with_workers(settings: Settings) -> int:
    """Start the supervisor, which forks the workers; each worker serves like a single process."""
    from service.inference.admission.buckets import BucketTable  # noqa: PLC0415 - only for several workers
    from service.multiprocess.supervisor import Supervisor  # noqa: PLC0415 - needs fork

    json_logging.set_up(settings.log_level)
    bound = addresses.bind_workers(settings, settings.workers)
    settings, reserved = addresses.reserve(settings, "grpc_port")
    settings, operators = addresses.reserve(settings, "admin_port")
    buckets = BucketTable(is_shared=True)  # mapped before the fork, so shared by all workers

    def serve(worker: WorkerProcess, own: socket.socket) -> int:
        from service.server import process  # noqa: PLC0415 - only in the child: the supervisor stays small

        try:
            return process.serve(settings, own, worker, buckets)
        except CannotServe as error:
            worker.report_failure(str(error))
            return 3

    try:
        supervisor = Supervisor(
            bound,
            partial(_list_published, settings.models),
            serve,
            # HTTP drains first, then gRPC.
            stop_timeout_s=2 * settings.drain_timeout_s + _STOP_MARGIN_S,
            lame_duck_s=settings.lame_duck_s,
        )
    except OSError as error:
        raise addresses.unreadable(settings.models, error) from error
    with reserved or nullcontext(), operators or nullcontext():
        return supervisor.run(
            lambda: addresses.announce(
                bound[0], settings.workers, operators, is_secure=settings.tls_cert is not None
            )
        )


def _list_published(models: Path) -> frozenset[tuple[str, str]]:
    """Return name and version of every folder `<name>/<version>` in the models folder, valid or invalid.

    Raises:
        OSError: The models folder cannot be read.
    """
    found = set()
    for name in models.iterdir():
        try:
            found |= {(name.name, version.name) for version in name.iterdir() if version.name.isdecimal()}
        except OSError:  # a file, or an unreadable folder; the registry reports it
            continue
    return frozenset(found)
