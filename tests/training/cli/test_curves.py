import pytest

from training.cli.curves import curves, duration, sparkline
from training.fitting.loop import Epoch


@pytest.mark.parametrize(
    ("values", "curve"), [([0, 1, 2, 3], "▁▃▆█"), ([5, 5], "▁▁"), ([3, 0], "█▁"), (list(range(80)), None)]
)
def test_a_curve_goes_from_the_smallest_to_the_largest_value(values: list[float], curve: str | None) -> None:
    """
    In at most 40 characters.
    """
    drawn = sparkline(values)

    assert len(drawn) == min(len(values), 40)
    assert curve in (None, drawn)
    assert (drawn[0], drawn[-1]) == ("▁", "█") or curve is not None


def test_curves_show_begin_and_end() -> None:
    """
    The valid part only if there is one.
    """
    history = [Epoch(number, 0.1, 0.5 * number, 1 / number, None, None, 1.0) for number in (1, 2)]

    assert curves(history) == ["  loss  █▁  1.000 to 0.500", "  train ▁█  50.0% to 100.0%"]


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "1 s"), (80, "80 s"), (200, "3 min"), (9000, "2.5 h")])
def test_durations_are_rounded(seconds: float, text: str) -> None:
    """
    To what an estimate is worth.
    """
    assert duration(seconds) == text
