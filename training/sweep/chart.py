"""What a sweep found, as a picture: valid error by each thing that was varied, light and dark.

Its words are `findings`'s; both are written into a folder here.
"""

import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from training.sweep.findings import MEANINGS, Findings, page
from training.sweep.search_space import Point, Trial, origin, space, walk


@dataclass(frozen=True)
class Palette:
    """Colours of a picture; those of the marks differ in lightness too, and each mark has its own shape.

    Source of the marks' colours: Okabe, Ito, "Color universal design", 2008.
    """

    paper: str
    ink: str
    faint: str
    trial: str
    best: str


LIGHT = Palette(paper="#ffffff", ink="#222222", faint="#9a9a9a", trial="#0072b2", best="#d55e00")
DARK = Palette(paper="#15181c", ink="#e8e8e8", faint="#77808a", trial="#56b4e9", best="#e69f00")

_DPI = 150


def write(findings: Findings, folder: Path, name: str) -> list[Path]:
    """Write table and pictures; workers that end together write the same, each file as a whole.

    Args:
        findings: Of the sweep.
        folder: Is there.
        name: What the files' names begin with.

    Returns:
        The files.

    Raises:
        OSError: The folder cannot be written.
    """
    light, dark = f"{name}-light.png", f"{name}-dark.png"
    contents = {
        f"{name}.md": page(findings, (light, dark)).encode(),
        light: picture(findings, LIGHT),
        dark: picture(findings, DARK),
    }
    for file, content in contents.items():
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writing-", delete=False) as target:
            target.write(content)
        path = Path(target.name)
        path.chmod(0o644)
        path.replace(folder / file)
    return [folder / file for file in contents]


def picture(findings: Findings, palette: Palette) -> bytes:
    """Draw one panel for each thing that was varied.

    With one thing at a time a panel holds the trials of its step alone, joined by a line; otherwise
    every panel holds all trials.

    Args:
        findings: Of the sweep.
        palette: `LIGHT` or `DARK`.

    Returns:
        A PNG file.
    """
    figure = Figure(figsize=(11, 3.6), dpi=_DPI, facecolor=palette.paper, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(MEANINGS), sharey=True)
    for axes, name in zip(panels, MEANINGS, strict=True):
        _panel(axes, findings, name, palette)
    panels[0].set_ylabel("valid error, %", color=palette.ink)
    if any(trial.curve for trial in findings.counted):
        panels[0].set_yscale("log")
        panels[0].yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        panels[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panels[0].yaxis.set_minor_formatter(NullFormatter())
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=len(labels),
        frameon=False,
        labelcolor=palette.ink,
    )
    how = "one thing at a time" if findings.one_at_a_time else "chosen by Optuna"
    epochs = findings.base.epochs
    figure.suptitle(
        f"{findings.base.name}: {len(findings.counted)} trials of {epochs} epochs, {how}; lower is better",
        color=palette.ink,
        fontsize=11,
    )
    content = io.BytesIO()
    figure.savefig(content, format="png", facecolor=palette.paper, metadata={"Software": None})
    return content.getvalue()


def _panel(axes: Axes, findings: Findings, name: str, palette: Palette) -> None:
    values = space(findings.base)[name]
    # values stand at equal distances: widths and rates double, the others are few
    place = {value: column for column, value in enumerate(sorted(values))}
    shown = _shown(findings, name)
    done = [trial for trial in shown if trial.accuracy is not None]
    stopped = [trial for trial in shown if trial.state == "stopped"]
    start, best = origin(findings.base), findings.best

    def spots(trials: list[Trial]) -> tuple[list[float], list[float]]:
        return [_spread(trial, trials, name, place) for trial in trials], [
            _error(trial.curve[-1], findings) for trial in trials
        ]

    if findings.one_at_a_time:
        line = sorted(done, key=lambda trial: float(getattr(trial.point, name)))
        axes.plot(*spots(line), color=palette.faint, linewidth=1, zorder=1)
    if findings.reference is not None:
        axes.axhline(
            _error(findings.reference, findings),
            color=palette.faint,
            linestyle="--",
            linewidth=1,
            label="the recipe",
        )
    others = [trial for trial in done if trial is not best]
    axes.scatter(*spots(others), s=32, color=palette.trial, alpha=0.85, label="a trial", zorder=2)
    if stopped:
        axes.scatter(*spots(stopped), s=28, marker="x", color=palette.faint, label="stopped early", zorder=2)
    chosen = [trial for trial in done if trial is best]
    axes.scatter(*spots(chosen), s=130, marker="*", color=palette.best, label="the best", zorder=3)
    axes.set_xlim(-0.5, len(place) - 0.5)
    axes.set_xticks(list(place.values()), [f"{value:g}" for value in place])
    axes.set_xlabel(MEANINGS[name], color=palette.ink)
    own = place[getattr(start, name)]
    axes.get_xticklabels()[own].set_fontweight("bold")  # the recipe's own
    axes.set_facecolor(palette.paper)
    axes.tick_params(which="both", colors=palette.ink)
    axes.grid(axis="y", color=palette.faint, alpha=0.3)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(palette.faint)


def _shown(findings: Findings, name: str) -> list[Trial]:
    if not findings.one_at_a_time:
        return findings.counted
    steps = walk(findings.trials, origin(findings.base), space(findings.base)).steps
    wanted: set[Point] = set()
    for step in steps:
        if step.name == name:
            wanted = {step.start, *step.alternatives}
    return [trial for trial in findings.counted if trial.point in wanted]


def _spread(trial: Trial, trials: list[Trial], name: str, place: dict[float, int]) -> float:
    """Put trials of one value side by side, so that none hides another."""
    value = getattr(trial.point, name)
    same = [other.number for other in trials if getattr(other.point, name) == value]
    return place[value] + 0.5 * ((same.index(trial.number) + 0.5) / len(same) - 0.5)


def _error(accuracy: float, findings: Findings) -> float:
    """Return an error in %; none at all is shown as half an image, for a logarithm's sake."""
    return 100 * max(1 - accuracy, 0.5 / findings.valid)
