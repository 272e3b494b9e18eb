"""Console output of fits: a line per epoch, and tables of the results."""

import time
from collections.abc import Callable, Mapping, Sequence

from service.core.artifact.manifest import Measurement
from training.cli.curves import curves, duration
from training.cli.progress_bars import ProgressBars
from training.fitting.loop import Epoch, FitCallbacks
from training.quantisation.comparison import Comparison

_LINES = 20
"""Approximate number of epochs that are written."""

_TIMED = 3
"""Epochs after which the duration of all fits is estimated; the first one is slower."""

Write = Callable[[str], None]
"""Writes a line."""


def print_line(line: str) -> None:
    """Print a line, and flush it."""
    print(line, flush=True)


def print_notice(line: str) -> None:
    """Print an indented line."""
    print_line(f"  {line}")


def fit_callbacks(
    title: str,
    epochs: int,
    bars: ProgressBars,
    write: Write,
    planned: int | None = None,
    is_brief: bool = False,
) -> FitCallbacks:
    """Write the title of a fit, and return callbacks that write its epochs and, at the end, its curves.

    Of many epochs every second, third, … is written, so that there are about twenty lines.

    Args:
        title: Title of the fit.
        epochs: Number of epochs.
        bars: Show the steps of an epoch.
        write: Writes a line.
        planned: Epochs of all fits of the run, for an estimate of its duration; None for no estimate.
        is_brief: Write the last epoch only.
    """
    write(f"\n{title}")
    history: list[Epoch] = []
    every = epochs if is_brief else -(-epochs // _LINES)

    def on_epoch(epoch: Epoch) -> None:
        bars.close()
        history.append(epoch)
        if epoch.number % every == 0 or (epoch.number in (1, epochs) and not is_brief):
            write(epoch_line(epoch, epochs))
        if epoch.number == _TIMED and planned:
            seconds = planned / _TIMED * sum(each.seconds for each in history)
            write(f"  about {duration(seconds)} for all fits, at the speed of the first epochs")
        if epoch.number == epochs and epochs > 1 and not is_brief:
            for line in curves(history):
                write(line)

    return FitCallbacks(
        on_step=lambda step, steps: bars.show(f"  epoch {len(history) + 1}/{epochs}", step, steps, "step"),
        on_epoch=on_epoch,
        clock=time.perf_counter,
    )


def quiet_callbacks(bars: ProgressBars) -> FitCallbacks:
    """Return callbacks that show the steps of an epoch, and write no lines."""
    return FitCallbacks(
        on_step=lambda step, steps: bars.show("  epoch", step, steps, "step"),
        on_epoch=lambda _: bars.close(),
        clock=time.perf_counter,
    )


def epoch_line(epoch: Epoch, epochs: int) -> str:
    """Return the figures of an epoch in one line."""
    line = (
        f"  epoch {epoch.number:>2}/{epochs}  rate {epoch.learning_rate:<6.3g}"
        f"  loss {epoch.train_loss:.4f}  train {epoch.train_accuracy:.2%}"
    )
    if epoch.valid_accuracy is not None:
        line += f"  valid {epoch.valid_accuracy:.2%}"
    return f"{line}  {epoch.seconds:.1f} s"


def accuracy_table(metrics: Sequence[Measurement], lesson: Mapping[str, float]) -> list[str]:
    """Return a table of the measured accuracies, beside the lesson's if there are any.

    Args:
        metrics: Measurements in a manifest.
        lesson: The lesson's accuracies by part; may lack parts.
    """
    titles = [_title(metric) for metric in metrics]
    width = max(28, *(len(title) + 2 for title in titles))
    lines = [f"{'':<{width}}{'ours':<20}{'the lesson' if lesson else ''}".rstrip()]
    for title, metric in zip(titles, metrics, strict=True):
        spread = "" if metric.spread is None else f" ± {100 * metric.spread:.2f}"
        ours = f"{100 * metric.accuracy:.2f}{spread} %"
        theirs = lesson.get(metric.split) if metric.fit == "lesson" else None
        reference = "" if theirs is None else f"{100 * theirs:.2f} %"
        lines.append(f"{title:<{width}}{ours:<20}{reference}".rstrip())
    return lines


def _title(metric: Measurement) -> str:
    """Return the fit and the part of a measurement, in words."""
    names = {"published": "published", "lesson": "lesson's split"}
    return f"{names.get(metric.fit, metric.data)}, {metric.split}"


def comparison_table(comparisons: Sequence[Comparison]) -> list[str]:
    """Return a table of the effect of quantisation: accuracy and share of sure predictions, in per cent."""
    width = max(len(each.images) for each in comparisons)
    lines = [f"{'':<{width}}  images  accuracy, from > to, loss     changed  sure, from > to"]
    for each in comparisons:
        accuracy = sure = ""
        if each.before is not None and each.after is not None:
            accuracy = f"{100 * each.before:.2f} > {100 * each.after:.2f}, {100 * each.accuracy_loss:+.2f}"
        if each.sure_before is not None and each.sure_after is not None:
            sure = f"{100 * each.sure_before:.2f} > {100 * each.sure_after:.2f}"
        changed = f"{100 * each.otherwise:.2f}"
        line = f"{each.images:<{width}}  {each.examples:>6,}  {accuracy:<26}{changed:>11}  {sure}"
        lines.append(line.rstrip())
    return lines
