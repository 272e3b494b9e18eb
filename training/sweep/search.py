"""A sweep: runs trials of a study until enough are finished, together with other workers."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import optuna
import torch

from training.data.examples import Examples
from training.errors import Diverged
from training.fitting.fingerprint import CODE, read_code
from training.fitting.loop import Epoch, FitCallbacks, fit
from training.recipes.recipe import Recipe
from training.sweep.search_space import Point, Trial, counted_trials, recipe_at, search_space
from training.sweep.storage import Storage
from training.sweep.strategies import OneAtATime, TPESearch
from training.sweep.study import Study, Surplus, record_end

_CODE = ("sweep/search.py", "sweep/search_space.py", "sweep/strategies.py")
"""Source files that determine the trials, besides those that determine a fit."""

_POLL_S = 1.0
"""Interval between two checks of other workers' trials."""


@dataclass(frozen=True)
class SweepSettings:
    """Settings of a sweep.

    Attributes:
        recipe: The recipe to vary, with the epochs of each trial.
        classes: Number of classes.
        train: Training examples of every trial.
        valid: Examples on which trials are compared.
        storage: Location of the study.
        one_at_a_time: Vary one hyperparameter after another, instead of TPE.
        trials: Number of wanted trials; None for all points of the one-at-a-time search.
        worker: Name of this worker.
        grace_s: A worker without heartbeat for this time is lost.
    """

    recipe: Recipe
    classes: int
    train: Examples
    valid: Examples
    storage: Storage
    one_at_a_time: bool
    trials: int | None
    worker: str
    grace_s: int


@dataclass(frozen=True)
class SweepCallbacks:
    """Callbacks of a sweep.

    Attributes:
        fit: Callbacks of every fit.
        on_start: Called once with the study's name and its existing trials.
        on_wait: Called when this worker starts to wait for others, with the number of their trials.
        on_trial: Called after each trial of this worker, with all counted trials.
        sleep: Waits a number of seconds.
    """

    fit: FitCallbacks
    on_start: Callable[[str, Sequence[Trial]], None]
    on_wait: Callable[[int], None]
    on_trial: Callable[[Trial, Sequence[Trial]], None]
    sleep: Callable[[float], None] = time.sleep


def sweep(settings: SweepSettings, callbacks: SweepCallbacks) -> list[Trial]:
    """Run trials until the wanted number is finished, together with other workers of the study.

    The same settings, except for the number of trials, name the same study: an interrupted sweep resumes, and
    a finished one returns at once.

    Returns:
        All trials of the study.

    Raises:
        StorageFailed: The storage failed.
    """
    strategy = OneAtATime(settings.recipe) if settings.one_at_a_time else TPESearch(settings.recipe)
    study = Study(
        settings.storage,
        study_name(settings),
        search_space(settings.recipe),
        strategy.choose,
        settings.worker,
        settings.grace_s,
        strategy.pruner,
    )
    callbacks.on_start(study.name, counted_trials(study.trials(), settings.trials))
    is_waiting = False
    while True:
        study.mark_lost_trials()
        trials = study.trials()
        counted = counted_trials(trials, settings.trials)
        if (settings.trials is None or len(counted) < settings.trials) and strategy.has_next(trials):
            trial = study.run_trial(
                lambda trial, point: _objective(trial, point, settings, study, callbacks.fit)
            )
            is_waiting = False
            if trial.state != "surplus":
                callbacks.on_trial(trial, counted_trials(study.trials(), settings.trials))
        elif others := sum(trial.state == "running" for trial in counted):
            if not is_waiting:
                callbacks.on_wait(others)
            is_waiting = True
            callbacks.sleep(_POLL_S)
        else:
            return trials


def study_name(settings: SweepSettings) -> str:
    """Return the name of a study; it depends on everything that makes trials comparable."""
    facts = [settings.recipe.digest, settings.train.sha256, settings.valid.sha256, str(torch.__version__)]
    facts += read_code((*CODE, *_CODE))
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    return f"{settings.recipe.name} {mode(settings.one_at_a_time)} {digest[:12]}"


def mode(one_at_a_time: bool) -> str:
    """Return the name of the search strategy."""
    return "one-at-a-time" if one_at_a_time else "optuna"


def _objective(
    trial: optuna.Trial, point: Point, settings: SweepSettings, study: Study, callbacks: FitCallbacks
) -> float:
    """Fit the recipe at a point, and return its valid accuracy."""
    if trial.number not in [known.number for known in counted_trials(study.trials(), settings.trials)]:
        raise Surplus
    seconds = 0.0

    def on_epoch(epoch: Epoch) -> None:
        nonlocal seconds
        seconds += epoch.seconds
        callbacks.on_epoch(epoch)
        assert epoch.valid_accuracy is not None  # there is a valid part
        trial.report(epoch.valid_accuracy, epoch.number)
        if epoch.number < settings.recipe.epochs and trial.should_prune():
            record_end(trial, seconds)
            raise optuna.TrialPruned

    recipe = recipe_at(settings.recipe, point)
    try:
        fitted = fit(
            recipe,
            recipe.seed,
            settings.classes,
            settings.train,
            settings.valid,
            callbacks=replace(callbacks, on_epoch=on_epoch),
        )
    except Diverged:
        record_end(trial, seconds, diverged=True)
        raise optuna.TrialPruned from None
    record_end(trial, seconds)
    accuracy = fitted.history[-1].valid_accuracy
    assert accuracy is not None
    return accuracy
