"""Storage of a study: an SQLite file or a PostgreSQL database, without passwords in messages."""

import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import URL, NullPool, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from training.errors import StorageFailed, StorageUrlInvalid

_HEARTBEATS = 4
"""Heartbeats within the grace period."""

_ATTEMPTS = 5
"""Attempts to open a storage: workers that start together conflict while they create the tables."""

_CONNECT_S = 10
_LOCKED_S = 60
"""Longest wait for another worker's lock on an SQLite file."""


@dataclass(frozen=True)
class Storage:
    """Location of a study.

    Attributes:
        url: URL with password.
        label: Name in messages, without user and password.
    """

    url: URL
    label: str


def parse_storage(text: str) -> Storage:
    """Parse a storage URL.

    Args:
        text: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`.

    Raises:
        StorageUrlInvalid: The URL is neither; the message does not repeat it.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # ValueError: an invalid port, perhaps part of a password
        raise StorageUrlInvalid from None
    kind = url.drivername.partition("+")[0]
    # an @ in the host is part of a password that was not percent-encoded
    if not url.database or "@" in f"{url.host}{url.database}" or kind not in ("sqlite", "postgresql"):
        raise StorageUrlInvalid
    if kind == "sqlite":
        if url.query or "\0" in url.database:  # Python's driver would raise its own error
            raise StorageUrlInvalid
        return Storage(url.set(drivername="sqlite"), url.database)
    location = f" at {url.host}" if url.host else ""
    return Storage(url.set(drivername="postgresql+psycopg"), f"the database {url.database}{location}")


def sqlite_storage(file: Path) -> Storage:
    """Return the storage in an SQLite file."""
    return Storage(URL.create("sqlite", database=str(file)), str(file))


class Database(RDBStorage):
    """Optuna's storage; a failed heartbeat is ignored, so that a short outage does not end a trial."""

    def send_heartbeat(self, trial_id: int) -> None:
        """Record a heartbeat; raises if the storage fails."""
        super().record_heartbeat(trial_id)

    def record_heartbeat(self, trial_id: int) -> None:
        """Record a heartbeat, called by Optuna's thread; a lasting failure is raised at the trial's end."""
        with suppress(SQLAlchemyError, StorageInternalError):
            self.send_heartbeat(trial_id)


def open_storage(storage: Storage, grace_s: int) -> Database:
    """Connect to a storage, and create its tables if they are missing.

    Raises:
        StorageFailed: The tables are of another version of Optuna.
        SQLAlchemyError, StorageInternalError: The storage cannot be reached.
    """
    is_postgres = storage.url.drivername != "sqlite"
    arguments = {"connect_timeout": _CONNECT_S} if is_postgres else {"timeout": _LOCKED_S}
    # Optuna formats the URL: braces must be doubled
    url = storage.url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)  # the heartbeat is experimental
                return Database(
                    url,
                    # a new connection each time, since the database may close idle ones
                    engine_kwargs={"connect_args": arguments, "poolclass": NullPool},
                    heartbeat_interval=max(1, grace_s // _HEARTBEATS),
                    grace_period=grace_s,
                )
        except RuntimeError as error:  # tables of another version of Optuna
            raise StorageFailed(storage.label, _first_line(error)) from error
        except (SQLAlchemyError, StorageInternalError) as error:
            is_conflict = isinstance(error, IntegrityError) or "already exists" in reason(error, storage)
            if not is_conflict or attempt == _ATTEMPTS:
                raise
            time.sleep(0.2 * attempt)
    raise AssertionError("the last attempt returns or raises")


def reason(error: BaseException, storage: Storage) -> str:
    """Return the database's message in one line, without the password."""
    while error.__cause__ or getattr(error, "orig", None):
        error = getattr(error, "orig", None) or error.__cause__ or error
    line = _first_line(error)
    password = storage.url.password
    return "no reason given" if password and password in line else line


def _first_line(error: BaseException) -> str:
    lines: Sequence[str] = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
