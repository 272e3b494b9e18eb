"""`sweep`: search for better hyperparameters."""

import os
import platform
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from training.cli.console import print_line, quiet_callbacks
from training.cli.parser import RUNS, TRIALS
from training.cli.progress_bars import ProgressBars
from training.data.data_sets import DataSet
from training.recipes.recipe import Recipe
from training.recipes.registry import RECIPES
from training.sweep.chart import write
from training.sweep.findings import Findings, to_text, trial_line
from training.sweep.search import SweepCallbacks, SweepSettings, mode, sweep
from training.sweep.storage import parse_storage, sqlite_storage


def run(arguments: Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:
    """Run trials of a study, then print and write the results."""
    base: Recipe = arguments.recipe
    folder = arguments.into or RUNS / "sweeps" / base.name
    storage = parse_storage(arguments.storage) if arguments.storage else sqlite_storage(folder / "study.db")
    jobs = data_sets[base.data].fit_jobs(data, base, RUNS, print_line)
    split = next(job.split for job in jobs if job.split.valid)
    assert split.valid  # by the choice of the job
    folder.mkdir(parents=True, exist_ok=True)
    limit = arguments.trials or (None if arguments.one_at_a_time else TRIALS)
    with ProgressBars() as bars:
        trials = sweep(
            SweepSettings(
                recipe=base,
                classes=len(split.classes),
                train=split.train,
                valid=split.valid,
                storage=storage,
                one_at_a_time=arguments.one_at_a_time,
                trials=limit,
                worker=f"{platform.node()} {os.getpid()}",
                grace_s=arguments.grace,
            ),
            SweepCallbacks(
                fit=quiet_callbacks(bars),
                on_start=lambda name, found: print_line(
                    f"{name}, in {storage.label}: {len(found)} trials so far"
                ),
                on_wait=lambda others: print_line(f"waiting for {others} trials of other workers"),
                on_trial=lambda trial, found: print_line(trial_line(trial, found, limit)),
            ),
        )
    findings = Findings(base, RECIPES[base.name], arguments.one_at_a_time, trials, limit, len(split.valid))
    print()
    for line in to_text(findings):
        print(line)
    print()
    print(f"Wrote {', '.join(str(path) for path in write(findings, folder, mode(arguments.one_at_a_time)))}.")
