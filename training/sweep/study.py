"""A study that several workers share: Optuna's, in an SQLite file or a PostgreSQL database.

What to try next, and trying it, is `sweep`'s affair.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import URL, NullPool, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from training.errors import StorageFailed, StorageUrlInvalid
from training.sweep.search_space import Point, Space, State, Trial

_BEATS = 4
"""Signs of life within the time after which a silent worker counts as lost."""

_ATTEMPTS = 5
"""Workers that start at the same moment get in each other's way while they make the tables."""

_CONNECT_S = 10
_LOCKED_S = 60
"""How long an SQLite file may be busy with another worker."""

_END = "end"
_WORKER = "worker"
_SECONDS = "seconds"

Choose = Callable[["Study", int], Point]
"""Takes a study and a trial's number; says what the trial should try."""

Objective = Callable[[optuna.Trial, Point], float]
"""Tries a point; gives its valid accuracy."""


class Surplus(Exception):
    """A trial that another worker has begun as well."""


@dataclass(frozen=True)
class Storage:
    """Where a study is kept.

    Attributes:
        url: Whole, with its password.
        shown: For people, without user and password.
    """

    url: URL
    shown: str


def storage_at(text: str) -> Storage:
    """Understand where a study should be kept.

    Args:
        text: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`.

    Raises:
        StorageUrlInvalid: It is neither; the message shows nothing of it.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number, perhaps of a password
        raise StorageUrlInvalid from None
    kind = url.drivername.partition("+")[0]
    # an @ in the host is the rest of a password that was not encoded
    if not url.database or "@" in f"{url.host}{url.database}" or kind not in ("sqlite", "postgresql"):
        raise StorageUrlInvalid
    if kind == "sqlite":
        if url.query or "\0" in url.database:  # Python's own driver refuses them in its own words
            raise StorageUrlInvalid
        return Storage(url.set(drivername="sqlite"), url.database)
    place = f" at {url.host}" if url.host else ""
    return Storage(url.set(drivername="postgresql+psycopg"), f"the database {url.database}{place}")


def storage_in(file: Path) -> Storage:
    """Return the storage that is an SQLite file."""
    return Storage(URL.create("sqlite", database=str(file)), str(file))


class Study:
    """One study, as one of its workers sees it."""

    def __init__(
        self,
        storage: Storage,
        name: str,
        values: Space,
        choose: Choose,
        worker: str,
        grace_s: int,
        pruner: optuna.pruners.BasePruner,
    ) -> None:
        """Open a study, or begin it.

        Args:
            storage: Where it is kept.
            name: Of the study; workers that give the same name share it.
            values: What a trial may try.
            choose: Says what a new trial should try.
            worker: This worker's name.
            grace_s: A worker that gave no sign of life for so long is lost.
            pruner: Says which trials are hopeless.

        Raises:
            StorageFailed: It cannot be opened.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # Optuna would tell of every trial itself
        self.storage, self.name = storage, name
        self._values, self._worker, self._grace_s = values, worker, grace_s
        self._silent: dict[int, float] = {}
        self._number, self._raised = -1, False
        with self._told():
            self._rdb = _opened(storage, grace_s)
            self._study = optuna.create_study(
                storage=self._rdb,
                study_name=name,
                direction="maximize",
                load_if_exists=True,
                sampler=Chosen(values, lambda number: choose(self, number)),
                pruner=pruner,
            )

    @property
    def shared(self) -> optuna.Study:
        """The study as Optuna knows it."""
        return self._study

    def trials(self) -> list[Trial]:
        """Return all trials, in the order of their numbers.

        Raises:
            StorageFailed: The storage does not answer.
        """
        with self._told():
            return [_trial(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    def attempt(self, objective: Objective) -> Trial:
        """Make one trial, of what the study's `choose` says.

        Args:
            objective: Called with the trial and its point. It may raise `optuna.TrialPruned`, and
                `Surplus`, after which the trial does not count.

        Returns:
            The trial as it ended; `lost` where others took this worker for lost meanwhile.

        Raises:
            StorageFailed: The storage does not answer.
        """
        with self._told():
            try:
                self._study.optimize(
                    lambda trial: self._attempted(trial, objective), n_trials=1, catch=(Surplus,)
                )
            except (UpdateFinishedTrialError, ValueError, AssertionError):
                # Optuna's ways to say that somebody has put an end to the trial already
                if self._raised or not self._study.trials[self._number].state.is_finished():
                    raise
            return _trial(self._study.trials[self._number])

    def bury(self) -> None:
        """Mark the trials of lost workers, so that they can be tried again.

        Optuna knows a worker as silent only after its first sign of life. One that was lost before
        is known by having no name for as long as this worker watches.

        Raises:
            StorageFailed: The storage does not answer.
        """
        with self._told():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                optuna.storages.fail_stale_trials(self._study)
            nameless = {
                trial.number
                for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
                if _WORKER not in trial.user_attrs
            }
            now = time.monotonic()
            self._silent = {number: self._silent.get(number, now) for number in nameless}
            for number, since in self._silent.items():
                if now - since > self._grace_s:
                    self._study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def _attempted(self, trial: optuna.Trial, objective: Objective) -> float:
        self._number, self._raised = trial.number, False
        self._rdb.beat(trial._trial_id)  # before the name, or `bury` could miss it
        trial.set_user_attr(_WORKER, self._worker)
        try:
            chosen: dict[str, Any] = {
                name: trial.suggest_categorical(name, choices) for name, choices in self._values.items()
            }
            return objective(trial, Point(**chosen))
        except Surplus:
            trial.set_user_attr(_END, "surplus")
            raise
        except (optuna.TrialPruned, UpdateFinishedTrialError):
            raise
        except Exception:
            self._raised = True
            raise
        except KeyboardInterrupt:
            trial.set_user_attr(_END, "interrupted")
            raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell in one line, without user and password, what is wrong with the storage."""
        try:
            yield
        except (SQLAlchemyError, StorageInternalError) as error:
            raise StorageFailed(self.storage.shown, _reason(error, self.storage)) from error
        except UnboundLocalError as error:  # Optuna's own, where the storage fails at a trial's end
            cause = error.__context__
            while cause and not isinstance(cause, SQLAlchemyError):
                cause = cause.__cause__ or cause.__context__
            if cause is None:
                raise
            raise StorageFailed(self.storage.shown, _reason(cause, self.storage)) from error


def ended(trial: optuna.Trial, seconds: float, diverged: bool = False) -> None:
    """Note at a trial's end how long it took, and whether it diverged."""
    trial.set_user_attr(_SECONDS, seconds)
    if diverged:
        trial.set_user_attr(_END, "diverged")


class Chosen(BaseSampler):  # names of arguments are Optuna's
    """Lets Optuna try what somebody else chose."""

    def __init__(self, values: Space, choose: Callable[[int], Point]) -> None:
        self._distributions = distributions(values)
        self._choose = choose

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Say that all is chosen together."""
        return dict(self._distributions)

    def sample_relative(
        self,
        study: optuna.Study,  # noqa: ARG002
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Ask for the point of a trial."""
        return asdict(self._choose(trial.number))

    def sample_independent(self, *_: object) -> NoReturn:
        """Never asked, since all is chosen together."""
        raise AssertionError


def distributions(values: Space) -> dict[str, BaseDistribution]:
    """Return a space as Optuna describes it."""
    return {name: CategoricalDistribution(choices) for name, choices in values.items()}


def _trial(frozen: FrozenTrial) -> Trial:
    names = [field.name for field in fields(Point)]
    params = frozen.params
    return Trial(
        number=frozen.number,
        point=Point(**params) if all(name in params for name in names) else None,
        state=_state(frozen),
        curve=tuple(value for _, value in sorted(frozen.intermediate_values.items())),
        seconds=frozen.user_attrs.get(_SECONDS, 0.0),
    )


def _state(frozen: FrozenTrial) -> State:
    end = frozen.user_attrs.get(_END)
    if frozen.state == TrialState.COMPLETE:
        return "done"
    if frozen.state == TrialState.PRUNED:
        return "diverged" if end == "diverged" else "stopped"
    if frozen.state == TrialState.FAIL:
        return end if end in ("surplus", "interrupted") else "lost"
    return "running"


class _Database(RDBStorage):
    """A storage whose heart misses a beat where Optuna's would stop: a moment's failure costs no trial."""

    def beat(self, trial_id: int) -> None:
        """Send a beat that has to arrive."""
        super().record_heartbeat(trial_id)

    def record_heartbeat(self, trial_id: int) -> None:
        """Send a beat, for Optuna's thread; a storage that is gone for good is told at the trial's end."""
        with suppress(SQLAlchemyError, StorageInternalError):
            self.beat(trial_id)


def _opened(storage: Storage, grace_s: int) -> _Database:
    postgres = storage.url.drivername != "sqlite"
    arguments = {"connect_timeout": _CONNECT_S} if postgres else {"timeout": _LOCKED_S}
    # Optuna fills in what stands in braces
    url = storage.url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)  # the heartbeat is one
                return _Database(
                    url,
                    # a new connection each time: what the database closed meanwhile is no matter
                    engine_kwargs={"connect_args": arguments, "poolclass": NullPool},
                    heartbeat_interval=max(1, grace_s // _BEATS),
                    grace_period=grace_s,
                )
        except RuntimeError as error:  # tables of another version of Optuna
            raise StorageFailed(storage.shown, _first_line(error)) from error
        except (SQLAlchemyError, StorageInternalError) as error:
            together = isinstance(error, IntegrityError) or "already exists" in _reason(error, storage)
            if not together or attempt == _ATTEMPTS:
                raise
            time.sleep(0.2 * attempt)
    raise AssertionError("the last attempt returns or raises")


def _reason(error: BaseException, storage: Storage) -> str:
    """Return what the database said, in a line without its password."""
    while error.__cause__ or getattr(error, "orig", None):
        error = getattr(error, "orig", None) or error.__cause__ or error
    line = _first_line(error)
    password = storage.url.password
    return "it does not say why" if password and password in line else line


def _first_line(error: BaseException) -> str:
    lines: Sequence[str] = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
