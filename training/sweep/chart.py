"""Chart of a sweep: valid error by each hyperparameter, in the light and the dark theme."""

import tempfile
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from service.core.artifact.report import Theme
from training.report.charts.plot_style import Palette, figure, to_png
from training.sweep.findings import LABELS, Findings, to_markdown
from training.sweep.search_space import Point, Trial, one_at_a_time, point_of, search_space


def write(findings: Findings, folder: Path, name: str) -> list[Path]:
    """Write the page and the charts, each file atomically, since workers may finish together.

    Args:
        findings: Results of the sweep.
        folder: Existing folder.
        name: Prefix of the file names.

    Returns:
        Paths of the files.

    Raises:
        OSError: The folder cannot be written.
    """
    light, dark = f"{name}-light.png", f"{name}-dark.png"
    contents = {
        f"{name}.md": to_markdown(findings, (light, dark)).encode(),
        light: chart(findings, "light"),
        dark: chart(findings, "dark"),
    }
    for file, content in contents.items():
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writing-", delete=False) as target:
            target.write(content)
        path = Path(target.name)
        path.chmod(0o644)
        path.replace(folder / file)
    return [folder / file for file in contents]


def chart(findings: Findings, theme: Theme) -> bytes:
    """Draw one panel per hyperparameter, as a PNG file.

    In the one-at-a-time search a panel shows the trials of its stage, joined by a line; otherwise every panel
    shows all trials.
    """
    return to_png(lambda palette: _draw(findings, palette), theme)


def _draw(findings: Findings, palette: Palette) -> Figure:
    epochs = findings.base.epochs
    drawn = figure(
        11,
        3.8,
        f"{findings.base.name}: {len(findings.counted)} trials of {epochs} epochs, {findings.strategy}",
    )
    panels = drawn.subplots(1, len(LABELS), sharey=True)
    for axes, name in zip(panels, LABELS, strict=True):
        _panel(axes, findings, name, palette)
    panels[0].set_ylabel("valid error, % (lower is better)")
    if any(trial.curve for trial in findings.counted):
        panels[0].set_yscale("log")
        panels[0].yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        panels[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panels[0].yaxis.set_minor_formatter(NullFormatter())
    handles, labels = panels[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return drawn


def _panel(axes: Axes, findings: Findings, name: str, palette: Palette) -> None:
    values = search_space(findings.base)[name]
    # equal distances between values: widths and rates double, the others are few
    column = {value: number for number, value in enumerate(sorted(values))}
    shown = _shown(findings, name)
    done = [trial for trial in shown if trial.accuracy is not None]
    stopped = [trial for trial in shown if trial.state == "stopped"]
    start, best = point_of(findings.base), findings.best

    def positions(trials: list[Trial]) -> tuple[list[float], list[float]]:
        return [_spread(trial, trials, name, column) for trial in trials], [
            _error(trial.curve[-1], findings) for trial in trials
        ]

    if findings.one_at_a_time:
        line = sorted(done, key=lambda trial: float(getattr(trial.point, name)))
        axes.plot(*positions(line), color=palette.faint, linewidth=1, zorder=1)
    if findings.reference is not None:
        axes.axhline(
            _error(findings.reference, findings),
            color=palette.text,
            alpha=0.5,
            linestyle="--",
            linewidth=1,
            label="the recipe",
        )
    others = [trial for trial in done if trial is not best]
    axes.scatter(*positions(others), s=32, color=palette.first, alpha=0.85, label="a trial", zorder=2)
    if stopped:
        axes.scatter(
            *positions(stopped),
            s=28,
            marker="x",
            color=palette.text,
            alpha=0.5,
            label="stopped early",
            zorder=2,
        )
    chosen = [trial for trial in done if trial is best]
    axes.scatter(*positions(chosen), s=130, marker="*", color=palette.second, label="the best", zorder=3)
    axes.set_xlim(-0.5, len(column) - 0.5)
    axes.set_xticks(list(column.values()), [f"{value:g}" for value in column])
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel(LABELS[name])
    axes.get_xticklabels()[column[getattr(start, name)]].set_fontweight("bold")  # the recipe's own value
    axes.grid(axis="y")


def _shown(findings: Findings, name: str) -> list[Trial]:
    if not findings.one_at_a_time:
        return findings.counted
    progress = one_at_a_time(findings.trials, point_of(findings.base), search_space(findings.base))
    wanted: set[Point] = set()
    for stage in progress.stages:
        if stage.name == name:
            wanted = {stage.start, *stage.alternatives}
    return [trial for trial in findings.counted if trial.point in wanted]


def _spread(trial: Trial, trials: list[Trial], name: str, column: dict[float, int]) -> float:
    """Return a horizontal position; trials with the same value are placed side by side."""
    value = getattr(trial.point, name)
    same = [other.number for other in trials if getattr(other.point, name) == value]
    return column[value] + 0.5 * ((same.index(trial.number) + 0.5) / len(same) - 0.5)


def _error(accuracy: float, findings: Findings) -> float:
    """Return an error in %; at least half an image, for the logarithmic axis."""
    return 100 * max(1 - accuracy, 0.5 / findings.valid)
