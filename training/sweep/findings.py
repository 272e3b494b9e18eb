"""What a sweep found, as words and tables, at the terminal and in Markdown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from training.recipes.recipe import Recipe
from training.sweep.search_space import Point, Trial, counted, origin, recipe_at, replaced, space, walk

MEANINGS = {
    "layers": "hidden layers",
    "width": "units a layer",
    "dropout": "dropout",
    "learning_rate": "learning rate",
}


@dataclass(frozen=True)
class Findings:
    """What trials of a sweep say.

    Attributes:
        base: The recipe that was varied, with the epochs that each trial had.
        original: The same recipe as it is published.
        one_at_a_time: How it was varied.
        trials: All of the study.
        limit: How many of them were wanted; None for all.
        valid: Images that judged them.
    """

    base: Recipe
    original: Recipe
    one_at_a_time: bool
    trials: Sequence[Trial]
    limit: int | None
    valid: int

    @property
    def counted(self) -> list[Trial]:
        """Those that count and came to an end."""
        return [trial for trial in counted(self.trials, self.limit) if trial.state != "running"]

    @property
    def best(self) -> Trial | None:
        """The one with the highest valid accuracy, of equals the first; None where all failed."""
        done = [trial for trial in self.counted if trial.accuracy is not None]
        return max(done, key=lambda trial: trial.accuracy or 0.0, default=None)

    @property
    def reference(self) -> float | None:
        """Valid accuracy of the recipe itself."""
        return next((trial.accuracy for trial in self.counted if trial.point == origin(self.base)), None)

    @property
    def noise(self) -> float:
        """Standard error of an accuracy around the best one's, in points."""
        accuracy = (self.best and self.best.accuracy) or 0.5
        return 100 * math.sqrt(accuracy * (1 - accuracy) / self.valid)

    @property
    def recipe(self) -> str | None:
        """Python that makes the best trial's recipe."""
        if self.best is None or self.best.point is None:
            return None
        changes = replaced(self.original, recipe_at(self.base, self.best.point))
        words = "".join(f", {name}={value!r}" for name, value in changes.items())
        return f'replace(RECIPES["{self.base.name}"]{words})'


def text(findings: Findings) -> list[str]:
    """Return what was found, as lines for a terminal."""
    head, *rows = _table(findings)
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return [*lines, "", *_notes(findings)]


def page(findings: Findings, pictures: tuple[str, str]) -> str:
    """Return what was found, as Markdown.

    Args:
        findings: Of the sweep.
        pictures: Names of the light and the dark picture, beside the page.
    """
    how = "one thing at a time" if findings.one_at_a_time else "chosen by Optuna"
    head, *rows = _table(findings)
    light, dark = pictures
    return "\n".join(
        [
            f"# Sweep of {findings.base.name}, {how}",
            "",
            *_notes(findings),
            "",
            *(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)),
            "",
            "<picture>",
            f'  <source media="(prefers-color-scheme: dark)" srcset="{dark}">',
            f'  <img alt="Valid error of every trial, by what was varied" src="{light}">',
            "</picture>",
            "",
        ]
    )


def trial_line(trial: Trial, trials: Sequence[Trial], limit: int | None) -> str:
    """Say in one line how a trial ended, and how many have."""
    ended = [each for each in trials if each.state != "running"]
    accuracies = [each.accuracy for each in ended if each.accuracy is not None]
    of = f" of {limit}" if limit else ""
    best = f"; best {max(accuracies):.2%}" if accuracies else ""
    point = described(trial.point) if trial.point else "nothing"
    outcome = f"{point}: {_outcome(trial)}, {trial.seconds:.1f} s"
    return f"trial {trial.number}: {outcome}; {len(ended)}{of} finished{best}"


def described(point: Point) -> str:
    """Say what a point is."""
    dropout = f"dropout {point.dropout:g}" if point.dropout else "no dropout"
    return f"{point.layers} x {point.width}, {dropout}, rate {point.learning_rate:g}"


def _table(findings: Findings) -> list[list[str]]:
    return _steps(findings) if findings.one_at_a_time else _ranking(findings)


def _steps(findings: Findings) -> list[list[str]]:
    """One row a change, with what it did to the network that it changed."""
    of = {trial.point: trial for trial in findings.counted}
    start = origin(findings.base)
    path = walk(findings.trials, start, space(findings.base))
    rows = [["change", "network", "valid, %", "points", "seconds"]]
    rows.append(_row("none: the recipe", start, of, None))
    chosen = [*(step.start for step in path.steps[1:]), path.best]
    for step, best in zip(path.steps, chosen, strict=True):
        for point in step.alternatives:
            before, after = getattr(step.start, step.name), getattr(point, step.name)
            change = f"{MEANINGS[step.name]} {before:g} → {after:g}{' (kept)' if point == best else ''}"
            rows.append(_row(change, point, of, of.get(step.start)))
    return rows


def _row(change: str, point: Point, of: dict[Point | None, Trial], before: Trial | None) -> list[str]:
    trial = of.get(point)
    if trial is None:
        return [change, described(point), "not tried", "", ""]
    gain = "" if before is None else _points(trial.accuracy, before.accuracy)
    return [change, described(point), _outcome(trial, ""), gain, f"{trial.seconds:.1f}"]


def _ranking(findings: Findings) -> list[list[str]]:
    """One row a trial, the best first; those that did not come to their end last."""
    rows = [["trial", *MEANINGS.values(), "valid, %", "points", "seconds"]]
    order = sorted(findings.counted, key=lambda trial: (-(trial.accuracy or 0.0), trial.number))
    start = origin(findings.base)
    for trial in order:
        values = [f"{getattr(trial.point, name):g}" for name in MEANINGS]
        gain = _points(trial.accuracy, findings.reference) if trial.point != start else "the recipe"
        rows.append([str(trial.number), *values, _outcome(trial, ""), gain, f"{trial.seconds:.1f}"])
    return rows


def _notes(findings: Findings) -> list[str]:
    base, done = findings.base, findings.counted
    notes = [
        f"Trials: {len(done)}; epochs of each: {base.epochs}; seed {base.seed}, judged by {findings.valid:,} "
        "valid images alone; the test part was not looked at.",
        f"The standard error of an accuracy is {findings.noise:.2f} points; smaller differences say little.",
    ]
    lost = sum(trial.state == "lost" for trial in findings.trials)
    if lost:
        notes.append(f"Lost with their workers, and not counted: {lost}.")
    if findings.recipe:
        notes.append(f"The best trial's recipe: `{findings.recipe}`")
    return notes


def _outcome(trial: Trial, unit: str = " %") -> str:
    if trial.accuracy is not None:
        return f"{100 * trial.accuracy:.2f}{unit}"
    if trial.state == "stopped":
        return f"stopped at {100 * trial.curve[-1]:.2f}{unit} after {len(trial.curve)}"
    return trial.state


def _points(accuracy: float | None, before: float | None) -> str:
    return "" if accuracy is None or before is None else f"{100 * (accuracy - before):+.2f}"
