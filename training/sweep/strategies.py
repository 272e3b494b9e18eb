"""Search strategies of a sweep: one hyperparameter at a time, or Optuna's TPE."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.samplers import TPESampler

from training.recipes.recipe import Recipe
from training.sweep.search_space import (
    MAX_LOST,
    Point,
    Trial,
    counted_trials,
    lost_points,
    one_at_a_time,
    point_of,
    search_space,
)
from training.sweep.study import Study, distributions

RANDOM_TRIALS = 6
"""Trials at random points before TPE uses their results."""

_DRAWS = 20
"""Attempts to draw a new point from TPE before one of the remaining points is drawn at random."""


class OneAtATime:
    """Varies one hyperparameter after another. Trials are never pruned, since each result is compared."""

    pruner = optuna.pruners.NopPruner()

    def __init__(self, recipe: Recipe) -> None:
        self._start, self._space = point_of(recipe), search_space(recipe)

    def has_next(self, trials: Sequence[Trial]) -> bool:
        """Return whether a point remains that no worker has started."""
        return bool(self._remaining(trials))

    def choose(self, study: Study, number: int) -> Point:
        """Return the next point; a point that is tried already if another worker was faster."""
        trials = [trial for trial in study.trials() if trial.number < number]
        return next(iter(self._remaining(trials)), self._start)

    def _remaining(self, trials: Sequence[Trial]) -> list[Point]:
        started = {trial.point for trial in counted_trials(trials, None)}
        missing = one_at_a_time(trials, self._start, self._space).missing
        return [point for point in missing if point not in started]


class TPESearch:
    """Optuna's TPE, starting at the recipe; points of lost workers are tried again."""

    # prunes up to half of the trials, once there are some to compare with
    pruner = optuna.pruners.MedianPruner(n_startup_trials=RANDOM_TRIALS, n_warmup_steps=1)

    def __init__(self, recipe: Recipe) -> None:
        self._start, self._space = point_of(recipe), search_space(recipe)
        self._seed = recipe.seed

    def has_next(self, trials: Sequence[Trial]) -> bool:
        """Return whether a point remains that no worker has tried."""
        return len(counted_trials(trials, None)) < len(self._all_points())

    def choose(self, study: Study, number: int) -> Point:
        """Return the next point.

        The draw depends on the seed and on the number of counted trials before, not on the trial's number. So
        a single worker that was interrupted continues as if it had not been.
        """
        trials = [trial for trial in study.trials() if trial.number < number]
        before = counted_trials(trials, None)
        started = {trial.point for trial in before}
        if self._start not in started:
            return self._start
        for point, losses in lost_points(trials).items():
            if point not in started and losses < MAX_LOST:
                return point
        for draw in range(_DRAWS):
            seeds = np.random.SeedSequence([self._seed, len(before), draw])
            point = self._draw(study.optuna_study, number, int(seeds.generate_state(1)[0]))
            if point not in started:
                return point
        generator = np.random.default_rng([self._seed, len(before)])
        others = [point for point in self._all_points() if point not in started]
        # none remains if another worker was faster; then this trial is surplus
        return others[generator.integers(len(others))] if others else self._start

    def _all_points(self) -> list[Point]:
        return [Point(*values) for values in itertools.product(*self._space.values())]

    def _draw(self, study: optuna.Study, number: int, seed: int) -> Point:
        sampler = TPESampler(n_startup_trials=RANDOM_TRIALS, seed=seed)
        trial, values = study.trials[number], distributions(self._space)
        drawn: dict[str, Any] = sampler.sample_relative(study, trial, values)
        return Point(
            **{
                name: drawn[name] if name in drawn else sampler.sample_independent(study, trial, name, value)
                for name, value in values.items()
            }
        )
