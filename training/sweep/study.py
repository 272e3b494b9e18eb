"""A study shared by several workers: Optuna's study, with lost and surplus trials."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Any, NoReturn

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from training.errors import StorageFailed
from training.sweep.search_space import Point, Space, State, Trial
from training.sweep.storage import Storage, open_storage, reason

_END = "end"
_WORKER = "worker"
_SECONDS = "seconds"
"""User attributes of a trial."""

Choose = Callable[["Study", int], Point]
"""Returns the point of a new trial, given the study and the trial's number."""

Objective = Callable[[optuna.Trial, Point], float]
"""Returns the valid accuracy at a point."""


class Surplus(Exception):
    """Another worker has started the same trial."""


class Study:
    """A study, from the view of one worker."""

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
        """Open a study, or create it.

        Args:
            storage: Location of the study.
            name: Name of the study; workers with the same name share it.
            values: Search space.
            choose: Chooses the point of a new trial.
            worker: Name of this worker.
            grace_s: A worker without heartbeat for this time is lost.
            pruner: Decides which trials stop early.

        Raises:
            StorageFailed: The study cannot be opened.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # Optuna would log every trial
        self.storage, self.name = storage, name
        self._values, self._worker, self._grace_s = values, worker, grace_s
        self._first_seen: dict[int, float] = {}
        self._number, self._raised = -1, False
        with self._storage_errors():
            self._database = open_storage(storage, grace_s)
            self._study = optuna.create_study(
                storage=self._database,
                study_name=name,
                direction="maximize",
                load_if_exists=True,
                sampler=ChosenSampler(values, lambda number: choose(self, number)),
                pruner=pruner,
            )

    @property
    def optuna_study(self) -> optuna.Study:
        """Optuna's study object."""
        return self._study

    def trials(self) -> list[Trial]:
        """Return all trials, in the order of their numbers.

        Raises:
            StorageFailed: The storage failed.
        """
        with self._storage_errors():
            return [_trial(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    def run_trial(self, objective: Objective) -> Trial:
        """Run one trial at the point that `choose` returns.

        Args:
            objective: Called with the trial and its point. It may raise `optuna.TrialPruned`, and `Surplus`,
                after which the trial does not count.

        Returns:
            The finished trial; `lost` if other workers marked it as lost in the meantime.

        Raises:
            StorageFailed: The storage failed.
        """
        with self._storage_errors():
            try:
                self._study.optimize(
                    lambda trial: self._evaluate(trial, objective), n_trials=1, catch=(Surplus,)
                )
            except (UpdateFinishedTrialError, ValueError, AssertionError):
                # Optuna's errors if another worker has finished the trial
                if self._raised or not self._study.trials[self._number].state.is_finished():
                    raise
            return _trial(self._study.trials[self._number])

    def mark_lost_trials(self) -> None:
        """Mark the trials of lost workers as failed, so that their points can be tried again.

        Optuna detects a lost worker only after its first heartbeat. A trial whose worker was lost before that
        has no worker name; it is marked when this worker has seen it so for the grace period.

        Raises:
            StorageFailed: The storage failed.
        """
        with self._storage_errors():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                optuna.storages.fail_stale_trials(self._study)
            nameless = {
                trial.number
                for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
                if _WORKER not in trial.user_attrs
            }
            now = time.monotonic()
            self._first_seen = {number: self._first_seen.get(number, now) for number in nameless}
            for number, since in self._first_seen.items():
                if now - since > self._grace_s:
                    self._study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def _evaluate(self, trial: optuna.Trial, objective: Objective) -> float:
        self._number, self._raised = trial.number, False
        # before the name, so that `mark_lost_trials` does not miss the trial
        self._database.send_heartbeat(trial._trial_id)
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
    def _storage_errors(self) -> Iterator[None]:
        """Convert storage errors to `StorageFailed`, in one line without user and password."""
        try:
            yield
        except (SQLAlchemyError, StorageInternalError) as error:
            raise StorageFailed(self.storage.label, reason(error, self.storage)) from error
        except UnboundLocalError as error:  # Optuna's bug if the storage fails at a trial's end
            cause = error.__context__
            while cause and not isinstance(cause, SQLAlchemyError):
                cause = cause.__cause__ or cause.__context__
            if cause is None:
                raise
            raise StorageFailed(self.storage.label, reason(cause, self.storage)) from error


def record_end(trial: optuna.Trial, seconds: float, diverged: bool = False) -> None:
    """Record at a trial's end its duration, and whether it diverged."""
    trial.set_user_attr(_SECONDS, seconds)
    if diverged:
        trial.set_user_attr(_END, "diverged")


class ChosenSampler(BaseSampler):  # the names of the arguments are Optuna's
    """Optuna sampler that returns externally chosen points."""

    def __init__(self, values: Space, choose: Callable[[int], Point]) -> None:
        self._distributions = distributions(values)
        self._choose = choose

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002 - signature of Optuna
        trial: FrozenTrial,  # noqa: ARG002 - signature of Optuna
    ) -> dict[str, BaseDistribution]:
        """Return the whole search space: all hyperparameters are sampled jointly."""
        return dict(self._distributions)

    def sample_relative(
        self,
        study: optuna.Study,  # noqa: ARG002 - signature of Optuna
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002 - signature of Optuna
    ) -> dict[str, Any]:
        """Return the chosen point of a trial."""
        return asdict(self._choose(trial.number))

    def sample_independent(self, *_: object) -> NoReturn:
        """Not called, since all hyperparameters are sampled jointly."""
        raise AssertionError


def distributions(values: Space) -> dict[str, BaseDistribution]:
    """Return a search space as Optuna distributions."""
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
