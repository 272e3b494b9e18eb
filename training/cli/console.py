"""What a run says at a terminal: a line for each epoch, and a summary."""

import time
from collections.abc import Callable, Mapping, Sequence

from service.core.manifest import Measurement
from training.cli.progress_bars import Bars
from training.fitting.loop import Epoch, Watch
from training.quantisation.comparison import Loss

Write = Callable[[str], None]
"""Takes a line."""


def watch(title: str, epochs: int, bars: Bars, write: Write) -> Watch:
    """Announce a fit, and return a watch that writes one line an epoch.

    Args:
        title: Of the fit.
        epochs: How many there will be.
        bars: Shows the steps of an epoch.
        write: Takes the lines.
    """
    write(f"\n{title}")

    def on_epoch(epoch: Epoch) -> None:
        bars.close()
        write(epoch_line(epoch, epochs))

    return Watch(
        step=lambda step, steps: bars.show("  epoch", step, steps, "step"),
        epoch=on_epoch,
        clock=time.perf_counter,
    )


def quiet_watch(bars: Bars) -> Watch:
    """Return a watch that shows the steps of an epoch, and writes nothing."""
    return Watch(
        step=lambda step, steps: bars.show("  epoch", step, steps, "step"),
        epoch=lambda _: bars.close(),
        clock=time.perf_counter,
    )


def epoch_line(epoch: Epoch, epochs: int) -> str:
    """Say in one line what an epoch came to."""
    line = (
        f"  epoch {epoch.number:>2}/{epochs}  rate {epoch.learning_rate:<6.3g}"
        f"  loss {epoch.train_loss:.4f}  train {epoch.train_accuracy:.2%}"
    )
    if epoch.valid_accuracy is not None:
        line += f"  valid {epoch.valid_accuracy:.2%}"
    return f"{line}  {epoch.seconds:.1f} s"


def summary(metrics: Sequence[Measurement], lesson: Mapping[str, float]) -> list[str]:
    """Say what was measured, with the lesson's own figures beside ours.

    Args:
        metrics: Those of the manifest.
        lesson: The lesson's accuracies by the name of the part; may lack parts.
    """
    lines = [f"{'':<28}{'ours':<20}{'the lesson':<10}"]
    for metric in metrics:
        spread = "" if metric.spread is None else f" ± {100 * metric.spread:.2f}"
        ours = f"{100 * metric.accuracy:.2f}{spread} %"
        theirs = lesson.get(metric.split) if metric.fit == "lesson" else None
        title = {"published": "published", "lesson": "lesson's split"}.get(metric.fit, metric.data)
        shown = "" if theirs is None else f"{100 * theirs:.2f} %"
        lines.append(f"{f'{title}, {metric.split}':<28}{ours:<20}{shown}".rstrip())
    return lines


def losses(found: Sequence[Loss]) -> list[str]:
    """Say in a line each what rounding did to answers: right and sure, in per cent, before and after."""
    width = max(len(loss.images) for loss in found)
    lines = [f"{'':<{width}}  images  right, from > to, lost     otherwise  sure, from > to"]
    for loss in found:
        right = sure = ""
        if loss.before is not None and loss.after is not None:
            right = f"{100 * loss.before:.2f} > {100 * loss.after:.2f}, {100 * loss.lost:+.2f}"
        if loss.sure_before is not None and loss.sure_after is not None:
            sure = f"{100 * loss.sure_before:.2f} > {100 * loss.sure_after:.2f}"
        line = (
            f"{loss.images:<{width}}  {loss.examples:>6,}  {right:<24}{100 * loss.otherwise:>11.2f}  {sure}"
        )
        lines.append(line.rstrip())
    return lines
