from dataclasses import replace

import numpy as np
import pytest
import torch

from training.data.data_sets import FitJob, Role
from training.data.examples import Examples, Split
from training.evaluation import ood
from training.evaluation.calibration import best_temperature
from training.evaluation.measurements import ALL_HELD_OUT, measure
from training.fitting.jobs import JobResult
from training.fitting.loop import FitResult
from training.fitting.scoring import predict, score
from training.model.mlp import MLP

CLASSES = tuple("0123456789")


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ood, "NONDIGITS", 20)


def _fitted(seed: int) -> FitResult:
    """A network with random weights."""
    return FitResult(MLP(784, (), 10, "glorot-uniform", torch.Generator().manual_seed(seed)).eval(), ())


def _examples(count: int, seed: int) -> Examples:
    generator = np.random.default_rng(seed)
    return Examples(generator.integers(0, 256, (count, 28, 28), np.uint8), generator.integers(0, 10, count))


def _fits(role: Role, name: str, seeds: tuple[int, ...], sizes: dict[str, int]) -> JobResult:
    further = {part: _examples(size, len(name) + size) for part, size in sizes.items()}
    split = Split(name, "made up", CLASSES, _examples(8, 1), None, _examples(9, len(name)), further)
    return JobResult(FitJob(role, split, seeds), [_fitted(seed) for seed in seeds])


@pytest.fixture
def run() -> list[JobResult]:
    """The published fit and two with held-out donors."""
    return [
        _fits("published", "all", (5,), {}),
        _fits("held-out", "without-a", (5,), {"strokes": 30, "canvases": 40}),
        _fits("held-out", "without-bc", (6,), {"strokes": 10, "canvases": 20}),
    ]


def test_without_held_out_donors_there_is_no_threshold() -> None:
    """
    Parts are measured at temperature 1, with mean and sample deviation over the seeds.
    """
    fits = _fits("lesson", "lesson", (1, 2), {})

    metrics, temperature, certainty = measure([fits, JobResult(fits.job, [])])

    assert (temperature, certainty) == (1.0, None)
    assert [(metric.fit, metric.data, metric.split) for metric in metrics] == [
        ("lesson", "made up", "train"),
        ("lesson", "made up", "test"),
    ]
    part = fits.job.split.parts["test"]
    each = [score(predict(fitted.net, part.pixels), part.labels) for fitted in fits.fits]
    assert metrics[1].examples == 9
    assert metrics[1].accuracy == pytest.approx(np.mean([score.accuracy for score in each]))
    assert metrics[1].spread == pytest.approx(np.std([score.accuracy for score in each], ddof=1))
    assert metrics[1].loss == pytest.approx(np.mean([score.loss for score in each]))


def test_held_out_donors_are_measured_together(run: list[JobResult]) -> None:
    """
    First all donors, one measurement per kind of image, each predicted by the fit that excluded it; then
    the parts of every fit.
    """
    metrics, temperature, _ = measure(run)

    assert [(metric.data, metric.split, metric.examples) for metric in metrics] == [
        (ALL_HELD_OUT, "strokes", 40),
        (ALL_HELD_OUT, "canvases", 60),
        ("made up", "train", 8),
        ("made up", "test", 9),
        ("made up, without-a", "train", 8),
        ("made up, without-a", "test", 9),
        ("made up, without-a", "strokes", 30),
        ("made up, without-a", "canvases", 40),
        ("made up, without-bc", "train", 8),
        ("made up, without-bc", "test", 9),
        ("made up, without-bc", "strokes", 10),
        ("made up, without-bc", "canvases", 20),
    ]
    assert metrics[0].seeds == (5, 6)
    assert metrics[0].accuracy == pytest.approx((30 * metrics[6].accuracy + 10 * metrics[10].accuracy) / 40)
    part = run[0].job.split.parts["test"]
    found = score(predict(run[0].fits[0].net, part.pixels), part.labels, temperature)
    assert metrics[3].loss == pytest.approx(found.loss)  # the published fit's too


def test_the_temperature_is_chosen_on_held_out_donors(run: list[JobResult]) -> None:
    """
    The best one for all held-out predictions; test parts have no influence.
    """
    _, temperature, certainty = measure(run)

    strange = [(fits, part) for fits in run[1:] for part in fits.job.split.extra.values()]
    said = np.concatenate([predict(fits.fits[0].net, part.pixels) for fits, part in strange])
    assert temperature == best_temperature(said, np.concatenate([part.labels for _, part in strange]))
    others = [
        replace(fits, job=replace(fits.job, split=replace(fits.job.split, test=_examples(9, 99))))
        for fits in run
    ]
    assert measure(others)[1:] == (temperature, certainty)


def test_the_threshold_is_measured_on_digits_and_non_digits(run: list[JobResult]) -> None:
    """
    Each kind of held-out image; non-digits once per held-out fit, first together and then by kind.
    """
    certainty = measure(run)[2]

    assert certainty is not None
    assert [(share.images, share.examples) for share in certainty.kept] == [
        ("digits, not met: strokes", 40),
        ("digits, not met: canvases", 60),
    ]
    everything, *kinds = certainty.passed
    assert (everything.images, everything.examples) == (ood.NO_DIGIT, 2 * 20)
    assert len(kinds) > 2
    assert all(share.images.startswith(f"{ood.NO_DIGIT}: ") for share in kinds)
    assert sum(share.examples for share in kinds) == 2 * 20
    let_pass = sum(share.share * share.examples for share in kinds)
    assert let_pass == pytest.approx(everything.share * 2 * 20, abs=0.01)


def test_held_out_letters_are_non_digits_of_a_kind_of_their_own(run: list[JobResult]) -> None:
    """
    By the fits that have not met them, after the kinds made by rule, and not in the sum of these.
    """
    letters = [{"letter": _examples(count, count).pixels} for count in (12, 3)]
    held_out = [
        replace(fits, job=replace(fits.job, nondigits=each))
        for fits, each in zip(run[1:], letters, strict=True)
    ]

    certainty = measure([run[0], *held_out])[2]

    assert certainty is not None
    assert (certainty.passed[0].images, certainty.passed[0].examples) == (ood.NO_DIGIT, 2 * 20)
    assert (certainty.passed[-1].images, certainty.passed[-1].examples) == (f"{ood.NO_DIGIT}: letter", 15)
