"""Learning curves and time estimates on the console."""

from collections.abc import Sequence

from training.fitting.loop import Epoch

_BLOCKS = "▁▂▃▄▅▆▇█"

_WIDTH = 40
"""Characters of a curve."""


def sparkline(values: Sequence[float]) -> str:
    """Return a curve of at most 40 characters, from the smallest value to the largest."""
    if len(values) > _WIDTH:
        values = [values[round(place * (len(values) - 1) / (_WIDTH - 1))] for place in range(_WIDTH)]
    low, high = min(values), max(values)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((value - low) * scale)] for value in values)


def curves(history: Sequence[Epoch]) -> list[str]:
    """Return loss and accuracies of a fit, one line each."""
    found: list[tuple[str, list[float], str]] = [("loss", [epoch.train_loss for epoch in history], "{:.3f}")]
    found.append(("train", [epoch.train_accuracy for epoch in history], "{:.1%}"))
    valid = [epoch.valid_accuracy for epoch in history if epoch.valid_accuracy is not None]
    if valid:
        found.append(("valid", valid, "{:.1%}"))
    return [
        f"  {name:<6}{sparkline(values)}  {text.format(values[0])} to {text.format(values[-1])}"
        for name, values, text in found
    ]


def duration(seconds: float) -> str:
    """Return a duration in words, rounded."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
