"""One sweep worker on random images, as a process."""

import os
import time
import warnings
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from training.data.examples import Examples
from training.fitting.loop import FitCallbacks
from training.recipes.registry import RECIPES
from training.sweep import search
from training.sweep.search_space import Trial, with_epochs
from training.sweep.storage import parse_storage

TRIALS = 8


def made_up(count: int, seed: int) -> Examples:
    """Return noise of 6 x 5 pixels with a bright band at the place of the class."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    pixels = generator.integers(0, 150, (count, 6, 5), np.uint8)
    for row, label in enumerate(labels):
        pixels[row, 2 * label : 2 * label + 2] += 100
    return Examples(pixels, labels)


def settings(storage: str, worker: str, grace_s: int) -> search.SweepSettings:
    """Return the settings of every worker of the test."""
    return search.SweepSettings(
        recipe=with_epochs(replace(RECIPES["mlp-128"], hidden=(4,)), 2),
        classes=3,
        train=made_up(60, 1),
        valid=made_up(60, 2),
        storage=parse_storage(storage),
        one_at_a_time=False,
        trials=TRIALS,
        worker=worker,
        grace_s=grace_s,
    )


def main(
    storage: str, worker: str, grace_s: int, hang_at: int, lines: "Connection[str, str]", log: Path
) -> None:
    """Run until the study is finished; warnings are errors.

    Args:
        storage: Where the study is kept.
        worker: This worker's name.
        grace_s: After how many seconds without a sign of life a worker is lost.
        hang_at: In the trial that would be this worker's so many-th it hangs; 0 is for never.
        lines: Takes a line for what happens.
        log: File for what is written to standard error.
    """
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
    warnings.simplefilter("error")
    ended: list[int] = []

    def step(_: int, __: int) -> None:
        time.sleep(0.02)  # so that both get something to do
        if len(ended) + 1 == hang_at:
            lines.send("hanging")
            time.sleep(600)

    def on_end(trial: Trial, _: object) -> None:
        ended.append(trial.number)
        lines.send(f"ended {trial.number} {trial.state}")

    search.sweep(
        settings(storage, worker, grace_s),
        search.SweepCallbacks(
            fit=FitCallbacks(on_step=step, on_epoch=lambda _: None, clock=time.perf_counter),
            on_start=lambda *_: lines.send("begun"),
            on_wait=lambda others: lines.send(f"waiting {others}"),
            on_trial=on_end,
        ),
    )
