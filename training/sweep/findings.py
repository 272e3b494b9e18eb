"""Results of a sweep as text and as a Markdown page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from training.recipes.recipe import Recipe
from training.sweep.search_space import (
    Point,
    Trial,
    counted_trials,
    differences,
    one_at_a_time,
    point_of,
    recipe_at,
    search_space,
)

LABELS = {
    "layers": "hidden layers",
    "width": "units per layer",
    "dropout": "dropout",
    "learning_rate": "learning rate",
}
"""Names of the hyperparameters in texts and charts."""


@dataclass(frozen=True)
class Findings:
    """Results of a sweep.

    Attributes:
        base: The varied recipe, with the epochs of each trial.
        original: The recipe as published.
        one_at_a_time: The search strategy.
        trials: All trials of the study.
        limit: Number of wanted trials; None for all.
        valid: Number of images on which trials were compared.
    """

    base: Recipe
    original: Recipe
    one_at_a_time: bool
    trials: Sequence[Trial]
    limit: int | None
    valid: int

    @property
    def counted(self) -> list[Trial]:
        """The counted trials that have ended."""
        return [trial for trial in counted_trials(self.trials, self.limit) if trial.state != "running"]

    @property
    def best(self) -> Trial | None:
        """The trial with the highest valid accuracy, the first of equals; None if all failed."""
        done = [trial for trial in self.counted if trial.accuracy is not None]
        return max(done, key=lambda trial: trial.accuracy or 0.0, default=None)

    @property
    def reference(self) -> float | None:
        """Valid accuracy of the recipe itself."""
        return next((trial.accuracy for trial in self.counted if trial.point == point_of(self.base)), None)

    @property
    def standard_error(self) -> float:
        """Standard error of an accuracy near the best one, in points."""
        accuracy = (self.best and self.best.accuracy) or 0.5
        return 100 * math.sqrt(accuracy * (1 - accuracy) / self.valid)

    @property
    def recipe(self) -> str | None:
        """Python expression of the best trial's recipe."""
        if self.best is None or self.best.point is None:
            return None
        changes = differences(self.original, recipe_at(self.base, self.best.point))
        arguments = "".join(f", {name}={value!r}" for name, value in changes.items())
        return f'replace(RECIPES["{self.base.name}"]{arguments})'

    @property
    def strategy(self) -> str:
        """The search strategy in words."""
        return "one at a time" if self.one_at_a_time else "chosen by Optuna"


def to_text(findings: Findings) -> list[str]:
    """Return the results as lines for the console."""
    head, *rows = _table(findings)
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return [*lines, "", *_notes(findings)]


def to_markdown(findings: Findings, charts: tuple[str, str]) -> str:
    """Return the results as a Markdown page.

    Args:
        findings: The results.
        charts: File names of the light and the dark chart, in the page's folder.
    """
    head, *rows = _table(findings)
    light, dark = charts
    return "\n".join(
        [
            f"# Sweep of {findings.base.name}, {findings.strategy}",
            "",
            *_notes(findings),
            "",
            *(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)),
            "",
            "<picture>",
            f'  <source media="(prefers-color-scheme: dark)" srcset="{dark}">',
            f'  <img alt="Valid error of every trial, by hyperparameter" src="{light}">',
            "</picture>",
            "",
        ]
    )


def trial_line(trial: Trial, trials: Sequence[Trial], limit: int | None) -> str:
    """Return one line about a finished trial, and the progress of the sweep."""
    ended = [each for each in trials if each.state != "running"]
    accuracies = [each.accuracy for each in ended if each.accuracy is not None]
    of = f" of {limit}" if limit else ""
    best = f"; best {max(accuracies):.2%}" if accuracies else ""
    point = describe(trial.point) if trial.point else "no point"
    outcome = f"{point}: {_outcome(trial)}, {trial.seconds:.1f} s"
    return f"trial {trial.number}: {outcome}; {len(ended)}{of} finished{best}"


def describe(point: Point) -> str:
    """Return a point as text."""
    dropout = f"dropout {point.dropout:g}" if point.dropout else "no dropout"
    return f"{point.layers} x {point.width}, {dropout}, rate {point.learning_rate:g}"


def _table(findings: Findings) -> list[list[str]]:
    return _stages(findings) if findings.one_at_a_time else _ranking(findings)


def _stages(findings: Findings) -> list[list[str]]:
    """Return one row per change, with its effect on the network that it changed."""
    trial_at = {trial.point: trial for trial in findings.counted}
    start = point_of(findings.base)
    progress = one_at_a_time(findings.trials, start, search_space(findings.base))
    rows = [["change", "network", "valid, %", "points", "seconds"]]
    rows.append(_row("none: the recipe", start, trial_at, None))
    chosen = [*(stage.start for stage in progress.stages[1:]), progress.best]
    for stage, best in zip(progress.stages, chosen, strict=True):
        for point in stage.alternatives:
            before, after = getattr(stage.start, stage.name), getattr(point, stage.name)
            change = f"{LABELS[stage.name]} {before:g} → {after:g}{' (kept)' if point == best else ''}"
            rows.append(_row(change, point, trial_at, trial_at.get(stage.start)))
    return rows


def _row(change: str, point: Point, trial_at: dict[Point | None, Trial], before: Trial | None) -> list[str]:
    trial = trial_at.get(point)
    if trial is None:
        return [change, describe(point), "not tried", "", ""]
    gain = "" if before is None else _points(trial.accuracy, before.accuracy)
    return [change, describe(point), _outcome(trial, ""), gain, f"{trial.seconds:.1f}"]


def _ranking(findings: Findings) -> list[list[str]]:
    """Return one row per trial, the best first; unfinished trials last."""
    rows = [["trial", *LABELS.values(), "valid, %", "points", "seconds"]]
    order = sorted(findings.counted, key=lambda trial: (-(trial.accuracy or 0.0), trial.number))
    start = point_of(findings.base)
    for trial in order:
        values = [f"{getattr(trial.point, name):g}" for name in LABELS]
        gain = _points(trial.accuracy, findings.reference) if trial.point != start else "the recipe"
        rows.append([str(trial.number), *values, _outcome(trial, ""), gain, f"{trial.seconds:.1f}"])
    return rows


def _notes(findings: Findings) -> list[str]:
    base, done = findings.base, findings.counted
    notes = [
        f"Trials: {len(done)}; epochs of each: {base.epochs}; seed {base.seed}. Compared on "
        f"{findings.valid:,} valid images; the test part was not used.",
        f"The standard error of an accuracy is {findings.standard_error:.2f} points; smaller differences are "
        "not significant.",
    ]
    lost = sum(trial.state == "lost" for trial in findings.trials)
    if lost:
        notes.append(f"Trials of lost workers, not counted: {lost}.")
    if findings.recipe:
        notes.append(f"Recipe of the best trial: `{findings.recipe}`")
    return notes


def _outcome(trial: Trial, unit: str = " %") -> str:
    if trial.accuracy is not None:
        return f"{100 * trial.accuracy:.2f}{unit}"
    if trial.state == "stopped":
        return f"stopped at {100 * trial.curve[-1]:.2f}{unit} after {len(trial.curve)}"
    return trial.state


def _points(accuracy: float | None, before: float | None) -> str:
    return "" if accuracy is None or before is None else f"{100 * (accuracy - before):+.2f}"
