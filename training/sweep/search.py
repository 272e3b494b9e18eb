"""The lesson's tuning advice as a search: fits, judged by the valid part alone.

What may be varied is `tuning`'s affair; where trials are kept, `study`'s.
"""

import hashlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.samplers import TPESampler

from training.data.examples import Examples
from training.errors import Diverged
from training.fitting.loop import Epoch, Watch, fit
from training.recipes.recipe import Recipe
from training.run import CODE
from training.sweep.search_space import (
    LIVES,
    Point,
    Trial,
    counted,
    lost_points,
    origin,
    recipe_at,
    space,
    walk,
)
from training.sweep.study import Storage, Study, Surplus, distributions, ended

RANDOM_TRIALS = 6
"""So many points are drawn at random before Optuna learns from them."""

_DRAWS = 20
"""How often Optuna may name a point that was tried already, before one is drawn from the others."""

_CODE = ("sweep/search.py", "sweep/search_space.py")
"""The files that decide what is tried, beside those that decide a fit."""

_WAIT_S = 1.0
"""Between two looks at what other workers do."""


@dataclass(frozen=True)
class Terms:
    """What a sweep works with.

    Attributes:
        recipe: What is varied, with the epochs that each trial has.
        classes: How many there are.
        train: What every trial learns from.
        valid: What it is judged by.
        storage: Where the study is kept.
        one_at_a_time: Vary one thing after another; else Optuna chooses.
        trials: How many are wanted in all; None for as many as one thing at a time takes.
        worker: This worker's name.
        grace_s: A worker that gave no sign of life for so long is lost.
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
class Listener:
    """Who is told what happens.

    Attributes:
        watch: Of the fits; what it returns for an epoch is not used.
        begun: Called once with the study's trials as they were found.
        waiting: Called once whenever other workers have to be waited for, with how many trials.
        ended: Called after each trial of this worker, with all trials that count.
    """

    watch: Watch
    begun: Callable[[str, Sequence[Trial]], None]
    waiting: Callable[[int], None]
    ended: Callable[[Trial, Sequence[Trial]], None]
    sleep: Callable[[float], None] = time.sleep


def sweep(terms: Terms, listener: Listener) -> list[Trial]:
    """Make trials until there are as many as are wanted, together with other workers of the study.

    The same terms, but for the number of trials, lead to the same study: an interrupted sweep goes
    on, and one that was finished ends at once.

    Args:
        terms: What to work with.
        listener: Who is told.

    Returns:
        All trials of the study.

    Raises:
        StorageFailed: The study cannot be reached.
    """
    search = _OneAtATime(terms) if terms.one_at_a_time else _Guided(terms)
    study = Study(
        terms.storage,
        study_name(terms),
        space(terms.recipe),
        search.choose,
        terms.worker,
        terms.grace_s,
        search.pruner,
    )
    listener.begun(study.name, counted(study.trials(), terms.trials))
    waited = False
    while True:
        study.bury()
        trials = study.trials()
        now = counted(trials, terms.trials)
        if (terms.trials is None or len(now) < terms.trials) and search.is_open(trials):
            trial = study.attempt(lambda trial, point: _attempt(trial, point, terms, study, listener.watch))
            waited = False
            if trial.state != "surplus":
                listener.ended(trial, counted(study.trials(), terms.trials))
        elif others := sum(trial.state == "running" for trial in now):
            if not waited:
                listener.waiting(others)
            waited = True
            listener.sleep(_WAIT_S)
        else:
            return trials


def study_name(terms: Terms) -> str:
    """Name a study after all that its trials have in common, so that none are compared that have not."""
    facts = [terms.recipe.digest, terms.train.sha256, terms.valid.sha256, str(torch.__version__)]
    facts += [(Path(__file__).parents[1] / name).read_text() for name in (*CODE, *_CODE)]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    return f"{terms.recipe.name} {mode(terms.one_at_a_time)} {digest[:12]}"


def mode(one_at_a_time: bool) -> str:
    """Name the way of searching."""
    return "one-at-a-time" if one_at_a_time else "optuna"


def _attempt(trial: optuna.Trial, point: Point, terms: Terms, study: Study, watch: Watch) -> float:
    """Fit a point's recipe, and return its accuracy on the valid part."""
    if trial.number not in [known.number for known in counted(study.trials(), terms.trials)]:
        raise Surplus
    seconds = 0.0

    def on_epoch(epoch: Epoch) -> None:
        nonlocal seconds
        seconds += epoch.seconds
        watch.epoch(epoch)
        assert epoch.valid_accuracy is not None  # there is a valid part
        trial.report(epoch.valid_accuracy, epoch.number)
        if epoch.number < terms.recipe.epochs and trial.should_prune():
            ended(trial, seconds)
            raise optuna.TrialPruned

    recipe = recipe_at(terms.recipe, point)
    try:
        fitted = fit(
            recipe, recipe.seed, terms.classes, terms.train, terms.valid, watch=replace(watch, epoch=on_epoch)
        )
    except Diverged:
        ended(trial, seconds, diverged=True)
        raise optuna.TrialPruned from None
    ended(trial, seconds)
    accuracy = fitted.history[-1].valid_accuracy
    assert accuracy is not None
    return accuracy


class _OneAtATime:
    """Vary one thing after another; every trial is finished, for its difference is what one wants to know."""

    pruner = optuna.pruners.NopPruner()

    def __init__(self, terms: Terms) -> None:
        self._start, self._space = origin(terms.recipe), space(terms.recipe)

    def is_open(self, trials: Sequence[Trial]) -> bool:
        """Say whether there is a point that nobody tries yet."""
        return bool(self._open(trials))

    def choose(self, study: Study, number: int) -> Point:
        """Return the next point; one that is tried already, where another worker was quicker."""
        trials = [trial for trial in study.trials() if trial.number < number]
        return next(iter(self._open(trials)), self._start)

    def _open(self, trials: Sequence[Trial]) -> list[Point]:
        begun = {trial.point for trial in counted(trials, None)}
        missing = walk(trials, self._start, self._space).missing
        return [point for point in missing if point not in begun]


class _Guided:
    """Let Optuna choose, after the recipe itself; what workers were lost with comes again."""

    # half of the trials may stop early, once there are some to compare with
    pruner = optuna.pruners.MedianPruner(n_startup_trials=RANDOM_TRIALS, n_warmup_steps=1)

    def __init__(self, terms: Terms) -> None:
        self._start, self._space = origin(terms.recipe), space(terms.recipe)
        self._seed = terms.recipe.seed

    def is_open(self, trials: Sequence[Trial]) -> bool:
        """Say whether there is a point that nobody tried yet."""
        return len(counted(trials, None)) < len(self._every())

    def choose(self, study: Study, number: int) -> Point:
        """Return the next point.

        The draw depends on the seed and on how many trials that count came before, not on the
        trial's number: so one worker that was interrupted goes on as if it had not been.
        """
        trials = [trial for trial in study.trials() if trial.number < number]
        before = counted(trials, None)
        begun = {trial.point for trial in before}
        if self._start not in begun:
            return self._start
        for point, losses in lost_points(trials).items():
            if point not in begun and losses < LIVES:
                return point
        for draw in range(_DRAWS):
            seeds = np.random.SeedSequence([self._seed, len(before), draw])
            point = self._drawn(study.shared, number, int(seeds.generate_state(1)[0]))
            if point not in begun:
                return point
        generator = np.random.default_rng([self._seed, len(before)])
        others = [point for point in self._every() if point not in begun]
        # none are left where another worker was quicker; then this trial will not count
        return others[generator.integers(len(others))] if others else self._start

    def _every(self) -> list[Point]:
        return [Point(*values) for values in itertools.product(*self._space.values())]

    def _drawn(self, study: optuna.Study, number: int, seed: int) -> Point:
        sampler = TPESampler(n_startup_trials=RANDOM_TRIALS, seed=seed)
        trial, values = study.trials[number], distributions(self._space)
        drawn: dict[str, Any] = sampler.sample_relative(study, trial, values)
        return Point(
            **{
                name: drawn[name] if name in drawn else sampler.sample_independent(study, trial, name, value)
                for name, value in values.items()
            }
        )
