from dataclasses import replace

import pytest

from service.core.artifact.manifest import Measurement
from training.cli.console import accuracy_table, epoch_line, fit_callbacks
from training.cli.progress_bars import ProgressBars
from training.fitting.loop import Epoch

EPOCH = Epoch(
    number=3,
    learning_rate=0.05,
    train_accuracy=0.98765,
    train_loss=0.04321,
    valid_accuracy=0.9649,
    valid_loss=0.11,
    seconds=1.25,
)


def test_an_epoch_is_one_line() -> None:
    """
    Number, rate, loss, accuracies and time, each with its unit.
    """
    line = epoch_line(EPOCH, 15)

    assert line == ("  epoch  3/15  rate 0.05    loss 0.0432  train 98.77%  valid 96.49%  1.2 s")


def test_an_epoch_without_a_valid_part_has_no_valid_accuracy() -> None:
    """
    The official split has no valid part.
    """
    assert "valid" not in epoch_line(replace(EPOCH, valid_accuracy=None), 15)


def test_callbacks_write_a_title_and_a_line_per_epoch() -> None:
    """
    Steps write no lines.
    """
    lines: list[str] = []

    with ProgressBars() as bars:
        callbacks = fit_callbacks("a fit", 15, bars, lines.append)
        callbacks.on_step(1, 2)
        callbacks.on_step(2, 2)
        callbacks.on_epoch(EPOCH)

    assert lines == ["\na fit", epoch_line(EPOCH, 15)]


def test_no_bar_is_drawn_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Redirected output has no progress bars.
    """
    with ProgressBars() as bars:
        bars.show("file", 1, 2, "B")
        bars.show("other file", 2, 2, "B")

    assert capsys.readouterr() == ("", "")


def test_the_accuracy_table_shows_the_lessons_figures() -> None:
    """
    Only beside measurements on the lesson's split.
    """
    measured = Measurement(
        fit="lesson",
        data="MNIST",
        split="valid",
        examples=15_000,
        seeds=(1, 2, 3),
        accuracy=0.97381,
        spread=0.00061,
        loss=0.1,
    )
    published = measured.model_copy(update={"fit": "published", "split": "test", "spread": None})

    lines = accuracy_table((published, measured), {"valid": 0.9649, "test": 0.5})

    assert [line.split() for line in lines] == [
        ["ours", "the", "lesson"],
        ["published,", "test", "97.38", "%"],
        ["lesson's", "split,", "valid", "97.38", "±", "0.06", "%", "96.49", "%"],
    ]
