from dataclasses import replace
from pathlib import Path

import pytest

from training.__main__ import main
from training.data.data_sets import mnist_data_set
from training.data.examples import Split
from training.data.mnist import IdxSource
from training.errors import Diverged
from training.fitting.loop import Epoch, FitCallbacks, fit
from training.recipes.recipe import Recipe
from training.sweep import search as module
from training.sweep.chart import chart
from training.sweep.findings import Findings, to_markdown, to_text
from training.sweep.search import SweepCallbacks, SweepSettings, sweep
from training.sweep.search_space import Trial, counted_trials, point_of, recipe_at, with_epochs
from training.sweep.storage import sqlite_storage

PNG = b"\x89PNG"


def _settings(
    recipe: Recipe, lesson: Split, folder: Path, trials: int | None, one_at_a_time: bool
) -> SweepSettings:
    assert lesson.valid
    storage = sqlite_storage(folder / "study.db")
    base = with_epochs(recipe, 2)
    return SweepSettings(base, 3, lesson.train, lesson.valid, storage, one_at_a_time, trials, "me", 60)


def _callbacks(callbacks: FitCallbacks) -> SweepCallbacks:
    return SweepCallbacks(callbacks, lambda *_: None, lambda _: None, lambda *_: None)


@pytest.mark.parametrize("one_at_a_time", [True, False])
def test_an_interrupted_sweep_resumes(
    recipe: Recipe, lesson: Split, callbacks: FitCallbacks, tmp_path: Path, one_at_a_time: bool
) -> None:
    """
    It has the same points and accuracies as an uninterrupted one; a finished sweep starts no trial.
    """
    (tmp_path / "whole").mkdir()
    whole = sweep(_settings(recipe, lesson, tmp_path / "whole", 9, one_at_a_time), _callbacks(callbacks))
    epochs: list[Epoch] = []

    def interrupt(epoch: Epoch) -> None:
        epochs.append(epoch)
        if len(epochs) == 7:
            raise KeyboardInterrupt

    settings = _settings(recipe, lesson, tmp_path, 9, one_at_a_time)
    with pytest.raises(KeyboardInterrupt):
        sweep(settings, _callbacks(replace(callbacks, on_epoch=interrupt)))
    resumed = sweep(settings, _callbacks(callbacks))
    again = sweep(settings, _callbacks(callbacks))

    assert [(each.point, each.curve) for each in counted_trials(resumed, 9)] == [
        (each.point, each.curve) for each in counted_trials(whole, 9)
    ]
    assert [each.state for each in resumed].count("interrupted") == 1
    assert again == resumed


def test_a_trial_is_reproducible(
    recipe: Recipe, lesson: Split, callbacks: FitCallbacks, tmp_path: Path
) -> None:
    """
    Fitting the recipe at its point gives the same accuracy after every epoch. The first point is the
    recipe's.
    """
    settings = _settings(recipe, lesson, tmp_path, 3, False)

    trials = sweep(settings, _callbacks(callbacks))

    assert trials[0].point == point_of(recipe)
    for trial in trials:
        assert trial.point
        again = recipe_at(settings.recipe, trial.point)
        fitted = fit(again, recipe.seed, 3, lesson.train, lesson.valid, callbacks=callbacks)
        assert tuple(epoch.valid_accuracy for epoch in fitted.history) == trial.curve


def test_a_fit_that_diverges_is_a_result(
    recipe: Recipe, lesson: Split, callbacks: FitCallbacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The sweep continues; tables and charts can be made of diverged trials alone.
    """

    def diverge(*_: object, **__: object) -> None:
        raise Diverged(1, float("nan"))

    monkeypatch.setattr(module, "fit", diverge)
    settings = _settings(recipe, lesson, tmp_path, 2, False)

    trials = sweep(settings, _callbacks(callbacks))

    findings = Findings(settings.recipe, recipe, False, trials, 2, 24)
    assert [trial.state for trial in trials] == ["diverged", "diverged"]
    assert findings.best is None
    assert "diverged" in to_markdown(findings, ("light.png", "dark.png"))
    assert chart(findings, "light").startswith(PNG)


def test_findings_show_the_effect_of_each_change(recipe: Recipe) -> None:
    """
    Differences are to the changed network; the best trial's recipe is a Python expression.
    """
    own = point_of(recipe)
    trials = [
        Trial(number, replace(own, layers=layers), "done", (accuracy,), 1.0)
        for number, (layers, accuracy) in enumerate([(1, 0.5), (2, 0.75), (3, 0.625), (4, 0.5), (5, 0.25)])
    ]

    findings = Findings(recipe, recipe, True, trials, None, 100)
    lines = to_text(findings)

    assert any(
        "hidden layers 1 → 2 (kept)" in line and "75.00" in line and "+25.00" in line for line in lines
    )
    assert any("hidden layers 1 → 5" in line and "-25.00" in line for line in lines)
    assert findings.recipe == 'replace(RECIPES["toy"], hidden=(4, 4))'
    assert findings.standard_error == pytest.approx(4.33, abs=0.01)  # 100 sqrt(0.75 0.25 / 100)


@pytest.mark.parametrize("mode", ["one-at-a-time", "optuna"])
def test_the_command_writes_a_table_and_two_charts(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    """
    One line per trial; light and dark charts differ.
    """
    into = tmp_path / "found"
    words = ["sweep", "mlp-128", "--trials", "3", "--epochs", "1", "--into", str(into)]
    words += ["--one-at-a-time"] if mode == "one-at-a-time" else []

    code = main(words, {"INKLING_DATA": str(tmp_path / "data")}, {"mnist": mnist_data_set(source)})

    written = capsys.readouterr()
    assert (code, written.err) == (0, "")
    assert written.out.count(" of 3 finished") == 3
    assert (into / f"{mode}.md").read_text(encoding="utf-8").startswith("# Sweep of mlp-128")
    light, dark = ((into / f"{mode}-{shade}.png").read_bytes() for shade in ("light", "dark"))
    assert light.startswith(PNG)
    assert dark.startswith(PNG)
    assert light != dark


def test_an_invalid_storage_is_reported_in_one_line(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Without a traceback, and without the URL.
    """
    words = ["sweep", "mlp-128", "--storage", "mysql://me:secret@host/base", "--into", str(tmp_path)]

    code = main(words, {"INKLING_DATA": str(tmp_path / "data")}, {"mnist": mnist_data_set(source)})

    written = capsys.readouterr().err
    assert code == 1
    assert written.startswith("The storage should be")
    assert written.count("\n") == 1
    assert "secret" not in written
