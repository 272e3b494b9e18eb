import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from service.core.artifact import artifact
from service.core.artifact.report import ConfusionMatrices
from service.core.network import onnx_graph
from service.core.network.engine import Engine
from tests import precision, toys
from tests.paths import missing, recorded, steps
from training.data.data_sets import FitJob
from training.data.examples import Examples, Split
from training.data.pen_digits import PenDigit
from training.errors import UnknownName
from training.evaluation import ood
from training.evaluation.measurements import ALL_HELD_OUT
from training.fitting.jobs import FitContext
from training.fitting.loop import Epoch, FitCallbacks
from training.publishing.publish import Published
from training.recipes.recipe import Recipe
from training.run import fit_split, run

STEPS = 2 * 4 * 7 + 4 * 9
"""Of a whole run: two lesson fits and the published one, four epochs each, of 45 and 60 by 7."""


@dataclass
class Recorder:
    """Records the callbacks of a run, and can interrupt it at an epoch of a fit."""

    callbacks: FitCallbacks
    interrupt_at: tuple[str, int] | None = None
    steps: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def callbacks_of(self, title: str, _: int) -> FitCallbacks:
        """Return callbacks that record steps under this title."""

        def epoch(done: Epoch) -> None:
            if (title, done.number) == self.interrupt_at:
                raise KeyboardInterrupt

        return replace(self.callbacks, on_step=lambda *_: self.steps.append(title), on_epoch=epoch)


@dataclass(frozen=True)
class Setup:
    """Arguments of a run, besides the recipe."""

    jobs: tuple[FitJob, ...]
    context: FitContext
    models: Path


def _run(recipe: Recipe, setup: Setup, fresh: bool = False) -> Published:
    return run(recipe, setup.jobs, setup.context, setup.models, fresh)


@dataclass(frozen=True)
class Whole:
    """An uninterrupted run, and its folder."""

    folder: Path
    published: Published


@pytest.fixture
def recorder(callbacks: FitCallbacks) -> Recorder:
    return Recorder(callbacks)


def _jobs(recipe: Recipe, official: Split, lesson: Split) -> tuple[FitJob, ...]:
    return FitJob("lesson", lesson, recipe.lesson_seeds), FitJob("published", official, (recipe.seed,))


@pytest.fixture
def setup(recipe: Recipe, official: Split, lesson: Split, tmp_path: Path, recorder: Recorder) -> Setup:
    return Setup(
        jobs=_jobs(recipe, official, lesson),
        models=tmp_path / "models",
        context=FitContext(tmp_path / "runs", recorder.callbacks_of, recorder.notices.append),
    )


@pytest.fixture(scope="module")
def whole(
    recipe: Recipe,
    official: Split,
    lesson: Split,
    callbacks: FitCallbacks,
    tmp_path_factory: pytest.TempPathFactory,
) -> Whole:
    """A run that nothing interrupts; made once, since each takes some seconds."""
    folder = tmp_path_factory.mktemp("whole")
    jobs = _jobs(recipe, official, lesson)
    context = FitContext(folder / "runs", lambda *_: callbacks, lambda _: None)
    setup = Setup(jobs, context, folder / "models")
    return Whole(folder, _run(recipe, setup))


def test_a_run_takes_the_documented_path(recipe: Recipe, setup: Setup) -> None:
    """
    From the fit jobs to the verified folder, in the order of ARCHITECTURE.md.
    """
    with recorded() as calls:
        _run(replace(recipe, epochs=1, drop_epochs=()), setup)

    assert missing(steps("The path of a training run"), calls) is None


def test_a_run_leads_from_data_to_a_published_folder(whole: Whole) -> None:
    """
    Model, manifest, golden examples and records are in one folder; checkpoints are removed.
    """
    folder = whole.folder / "models" / "toy" / "1"

    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert whole.published.is_new
    assert files == [
        "golden.json",
        "manifest.json",
        "model.onnx",
        "report/history.json",
        "report/lesson.json",
    ]
    assert list((whole.folder / "runs" / "toy").iterdir()) == []


def test_measurements_name_their_fit_split_and_seeds(whole: Whole) -> None:
    """
    The published network is measured on the official split; the lesson's split has mean and spread over its
    seeds.
    """
    metrics = whole.published.artifact.manifest.metrics

    assert [(metric.fit, metric.split, metric.examples, metric.seeds) for metric in metrics] == [
        ("published", "train", 60, (11,)),
        ("published", "test", 30, (11,)),
        ("lesson", "train", 45, (1, 2)),
        ("lesson", "valid", 24, (1, 2)),
        ("lesson", "test", 24, (1, 2)),
    ]
    assert [metric.spread is None for metric in metrics] == [True, True, False, False, False]
    assert metrics[1].accuracy > 0.8  # bands of light: a third would be chance


def test_confusion_matrices_of_the_lessons_fits_are_recorded(whole: Whole) -> None:
    """
    One per part of the lesson's split, over both seeds, with the manifest's accuracies.
    """
    report = whole.folder / "models" / "toy" / "1" / "report"
    metrics = [metric for metric in whole.published.artifact.manifest.metrics if metric.fit == "lesson"]

    found = ConfusionMatrices.model_validate_json((report / "lesson.json").read_bytes()).confusion

    assert [matrix.split for matrix in found] == ["train", "valid", "test"]
    for matrix, metric in zip(found, metrics, strict=True):
        right = sum(matrix.counts[place][place] for place in range(3))
        assert (matrix.examples, matrix.seeds) == (metric.examples, (1, 2))
        assert right / (2 * matrix.examples) == pytest.approx(metric.accuracy)


def test_the_published_accuracy_is_that_of_the_published_file(whole: Whole, official: Split) -> None:
    """
    Correct predictions of the layers' plain sums give the manifest's accuracy.
    """
    published = whole.published.artifact
    tensors = onnx_graph.read(published.model).tensors

    signal: NDArray[np.float64] = official.parts["test"].pixels.reshape(30, -1) / 255
    for layer in published.manifest.layers:
        weight, bias = (np.asarray(tensors[name], float) for name in (layer.weight, layer.bias))
        signal = signal @ weight.T + bias
        signal = np.maximum(signal, 0) if layer.activation == "relu" else signal

    right = (signal.argmax(axis=1) == official.parts["test"].labels).mean()
    assert published.manifest.metrics[1].accuracy == right


def test_the_history_of_every_fit_is_published(whole: Whole) -> None:
    """
    The report has learning curves of the published and of the lesson's fits.
    """
    path = whole.folder / "models" / "toy" / "1" / "report" / "history.json"

    history = json.loads(path.read_text())

    fits = [(entry["fit"], entry["seed"], len(entry["epochs"])) for entry in history["fits"]]
    assert fits == [("published", 11, 4), ("lesson", 1, 4), ("lesson", 2, 4)]


@pytest.mark.parametrize("interruption", [("toy: lesson fit, seed 2", 3), ("toy: published fit, seed 11", 1)])
def test_an_interrupted_run_resumes_at_its_last_epoch(
    recipe: Recipe,
    setup: Setup,
    recorder: Recorder,
    whole: Whole,
    interruption: tuple[str, int],
) -> None:
    """
    Nothing incomplete is published; the same command runs only the missing steps, and publishes the same
    network.
    """
    recorder.interrupt_at = interruption

    with pytest.raises(KeyboardInterrupt):
        _run(recipe, setup)
    recorder.interrupt_at = None
    assert not setup.models.exists()
    resumed = _run(recipe, setup).artifact

    assert len(recorder.steps) == STEPS
    assert resumed.model == whole.published.artifact.model
    assert resumed.manifest.metrics == whole.published.artifact.manifest.metrics


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (lambda recipe: recipe, 0),
        (lambda recipe: replace(recipe, learning_rate=0.2), 1),
    ],
    ids=["the same recipe", "another learning rate"],
)
def test_checkpoints_of_another_recipe_are_ignored(
    recipe: Recipe,
    setup: Setup,
    recorder: Recorder,
    change: Callable[[Recipe], Recipe],
    lines: int,
) -> None:
    """
    A changed hyperparameter restarts the fit, with a notice.
    """
    recorder.interrupt_at = ("toy: lesson fit, seed 1", 2)
    with pytest.raises(KeyboardInterrupt):
        _run(recipe, setup)
    recorder.interrupt_at = None

    _run(change(recipe), setup)

    assert len(recorder.notices) == lines


def test_a_fresh_run_ignores_checkpoints(recipe: Recipe, setup: Setup, recorder: Recorder) -> None:
    """
    It runs every step again.
    """
    recorder.interrupt_at = ("toy: lesson fit, seed 1", 2)
    with pytest.raises(KeyboardInterrupt):
        _run(recipe, setup)
    recorder.interrupt_at = None
    recorder.steps.clear()

    _run(recipe, setup, fresh=True)

    assert len(recorder.steps) == STEPS


def test_the_same_run_publishes_nothing_new(recipe: Recipe, setup: Setup, whole: Whole) -> None:
    """
    A second run gives the same bytes, and no second version.
    """
    models = whole.folder / "models"

    again = _run(recipe, replace(setup, models=models))

    assert not again.is_new
    assert again.artifact.model == whole.published.artifact.model
    assert artifact.versions(models) == {"toy": ["1"]}


def test_a_network_learns_from_the_official_images_alone(
    recipe: Recipe, setup: Setup, official: Split, lesson: Split, whole: Whole
) -> None:
    """
    The published network depends neither on the test images nor on the lesson's split.
    """
    jobs = _jobs(
        recipe, replace(official, test=official.train), replace(lesson, train=official.parts["test"])
    )
    other = replace(setup, jobs=jobs)

    published = _run(recipe, other)

    assert published.artifact.model == whole.published.artifact.model


def test_teachers_are_fitted_before_their_students(
    recipe: Recipe, setup: Setup, recorder: Recorder, lesson: Split, official: Split
) -> None:
    """
    Each split has its own teachers, fitted on that split only; they are kept for a second run, unless it is
    fresh.
    """
    square = _squares(official)
    squares = _squares(lesson)
    teacher = replace(recipe, name="teacher", hidden=(5,), lesson_seeds=())
    taught = replace(
        recipe,
        augmentation="digits",
        strength=0.5,
        versions=2,
        teacher=teacher,
        teacher_seeds=(11, 12),
        teacher_share=0.5,
        lesson_seeds=(1,),
    )
    small = replace(setup, jobs=_jobs(taught, square, squares))

    manifest = _run(taught, small).artifact.manifest
    first = list(dict.fromkeys(recorder.steps))
    recorder.steps.clear()
    again = _run(taught, small)
    second = list(dict.fromkeys(recorder.steps))
    recorder.steps.clear()
    _run(taught, small, fresh=True)

    learners = ["toy: lesson fit, seed 1", "toy: published fit, seed 11"]
    assert first == [
        "teacher: lesson fit, seed 11",
        "teacher: lesson fit, seed 12",
        learners[0],
        "teacher: published fit, seed 11",
        "teacher: published fit, seed 12",
        learners[1],
    ]
    assert (second, again.is_new) == (learners, False)
    assert list(dict.fromkeys(recorder.steps)) == first
    assert manifest.recipe["teacher"] == teacher.to_dict()


def _squares(split: Split) -> Split:
    """Crop to 5 x 5: augmentation needs squares."""
    parts = {
        name: Examples(np.ascontiguousarray(part.pixels[:, :5]), part.labels)
        for name, part in split.parts.items()
    }
    return replace(split, train=parts["train"], valid=parts.get("valid"), test=parts["test"])


def test_jobs_with_the_same_split_and_seed_share_a_fit(
    recipe: Recipe, setup: Setup, recorder: Recorder, lesson: Split
) -> None:
    """
    If the published job uses the lesson's split, no fit runs twice.
    """
    jobs = FitJob("lesson", lesson, (1, 2)), FitJob("published", lesson, (1,))

    manifest = _run(replace(recipe, seed=1), replace(setup, jobs=jobs)).artifact.manifest

    assert len(recorder.steps) == 2 * 4 * 7
    assert [(metric.fit, metric.seeds) for metric in manifest.metrics[::3]] == [
        ("published", (1,)),
        ("lesson", (1, 2)),
    ]
    assert len(manifest.data) == 3


@pytest.mark.parametrize("fresh", [False, True])
def test_fits_on_one_split_can_run_separately(
    recipe: Recipe, setup: Setup, recorder: Recorder, whole: Whole, fresh: bool
) -> None:
    """
    A second call uses their checkpoints, unless it is fresh; the publishing run only runs the others, with
    the same result.
    """
    fit_split("lesson", recipe, setup.jobs, setup.context)
    assert len(recorder.steps) == 2 * 4 * 7
    assert not setup.models.exists()

    recorder.steps.clear()
    fit_split("lesson", recipe, setup.jobs, setup.context, fresh)
    assert len(recorder.steps) == (2 * 4 * 7 if fresh else 0)

    recorder.steps.clear()
    published = _run(recipe, setup)
    assert set(recorder.steps) == {"toy: published fit, seed 11"}
    assert published.artifact.model == whole.published.artifact.model


def test_a_split_without_a_job_is_refused(recipe: Recipe, setup: Setup) -> None:
    """
    The message lists the splits, each once.
    """
    twice = replace(setup, jobs=(*setup.jobs, setup.jobs[0]))

    with pytest.raises(UnknownName, match="one of lesson, official; got 'other'"):
        fit_split("other", recipe, twice.jobs, twice.context)


@pytest.fixture(scope="module")
def held_out_run(
    inky: Recipe,
    ink_jobs: tuple[FitJob, ...],
    callbacks: FitCallbacks,
    tmp_path_factory: pytest.TempPathFactory,
) -> Whole:
    """A small run like `ink`, with each group of donors held out in job."""
    folder = tmp_path_factory.mktemp("strangers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ood, "NONDIGITS", 30)
        context = FitContext(folder / "runs", lambda *_: callbacks, lambda _: None)
        setup = Setup(ink_jobs, context, folder / "models")
        return Whole(folder, _run(inky, setup))


def test_held_out_donors_are_measured_together_and_apart(held_out_run: Whole) -> None:
    """
    Each group has the measurements of its held-out fit, and all donors together have one per kind of image.
    """
    metrics = held_out_run.published.artifact.manifest.metrics
    together = [metric for metric in metrics if metric.data == ALL_HELD_OUT]
    apart = [metric for metric in metrics if metric.data.endswith("without-syn")]

    assert {metric.fit for metric in metrics} == {"held-out", "published"}
    assert {metric.split: metric.examples for metric in together} == {
        "MNIST": 60,
        "strokes": 15,
        "clean canvases": 15,
        "tools canvases": 15,
        "scan canvases": 15,
    }
    assert {metric.fit for metric in (*together, *apart)} == {"held-out"}
    assert [metric.split for metric in apart] == ["train", "valid", *(metric.split for metric in together)]
    assert all(metric.calibration_error is not None for metric in metrics)


def test_temperature_and_threshold_are_published(held_out_run: Whole) -> None:
    """
    Chosen on held-out donors; the file divides by the temperature.
    """
    published = held_out_run.published.artifact
    manifest = published.manifest

    assert manifest.temperature != 1
    assert manifest.certainty is not None
    assert [share.examples for share in manifest.certainty.kept] == [60, 15, 15, 15, 15]
    passed = {share.images: share.examples for share in manifest.certainty.passed}
    assert passed.pop(ood.NO_DIGIT) == sum(passed.values()) == 3 * 30
    scores = Engine.load(published).run(published.golden.images)
    off = np.abs(scores.probabilities - toys.softmax(scores.logits, manifest.temperature))
    assert np.all(off <= precision.softmax_error(scores.logits, manifest.temperature))


def test_held_out_networks_are_exported(held_out_run: Whole, pen_digits: tuple[PenDigit, ...]) -> None:
    """
    One file per donor, readable by onnxruntime; donors held out together share a network.
    """
    folder = held_out_run.folder / "runs" / "inky"

    files = {path.stem: path.read_bytes() for path in (folder / "folds").iterdir()}

    assert set(files) == {digit.donor for digit in pen_digits}
    assert files["apa"] == files["apb"]
    assert len(set(files.values())) == 3
    assert held_out_run.published.artifact.model not in files.values()
    for content in files.values():
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        logits, probabilities = session.run(None, {"image": np.zeros((2, 28, 28), np.uint8)})
        assert logits.shape == probabilities.shape == (2, 10)
    assert [path.name for path in folder.iterdir()] == ["folds"]  # checkpoints are gone


def test_held_out_fits_may_be_shorter(
    inky: Recipe,
    ink_jobs: tuple[FitJob, ...],
    recorder: Recorder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The manifest's recipe has both lengths, and the history each fit's. The published network does not depend
    on the other fits' length, nor does its checkpoint.
    """
    monkeypatch.setattr(ood, "NONDIGITS", 30)
    context = FitContext(tmp_path / "runs", recorder.callbacks_of, lambda _: None)
    shorter = replace(inky, epochs=2, held_out_epochs=1)
    fit_split("all", inky, ink_jobs, context)
    recorder.steps.clear()

    published = _run(shorter, Setup(ink_jobs, context, tmp_path / "models")).artifact

    history = json.loads((tmp_path / "models" / "inky" / "1" / "report" / "history.json").read_text())
    lengths = [(entry["fit"], len(entry["epochs"])) for entry in history["fits"]]
    assert lengths == [("published", 2), *[("held-out", 1)] * 3]
    assert published.manifest.recipe["epochs"] == 2
    assert published.manifest.recipe["held_out_epochs"] == 1
    assert set(recorder.steps) == {
        f"inky: fit {job.split.name}, seed 11" for job in ink_jobs if job.role == "held-out"
    }
    assert [path.name for path in (tmp_path / "runs" / "inky").iterdir()] == ["folds"]
