from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import precision
from training.batches.source import NO_CLASS, Batch
from training.data.examples import Examples, Split
from training.errors import Diverged
from training.fitting.checkpoint import Checkpoint
from training.fitting.loop import (
    Epoch,
    FitCallbacks,
    FitResult,
    fit,
    reproducible,
    shuffled_batches,
)
from training.fitting.scoring import evaluate
from training.model.mlp import MLP
from training.recipes.recipe import Recipe


def _bits(fitted: FitResult) -> dict[str, bytes]:
    return {name: weight.numpy().tobytes() for name, weight in fitted.net.state_dict().items()}


def _stop_after(epoch: int, callbacks: FitCallbacks) -> FitCallbacks:
    """Interrupt after an epoch."""

    def stop(done: Epoch) -> None:
        if done.number == epoch:
            raise KeyboardInterrupt

    return replace(callbacks, on_epoch=stop)


def _stop_at_step(count: int, callbacks: FitCallbacks) -> FitCallbacks:
    """Interrupt within an epoch."""
    steps: list[int] = []

    def stop(step: int, _: int) -> None:
        steps.append(step)
        if len(steps) == count:
            raise KeyboardInterrupt

    return replace(callbacks, on_step=stop)


def test_training_lowers_the_loss(recipe: Recipe, lesson: Split, callbacks: FitCallbacks) -> None:
    """
    A few epochs on a few dozen examples suffice.
    """
    history = fit(recipe, 1, 3, lesson.train, lesson.valid, callbacks=callbacks).history

    assert history[-1].train_loss < 0.8 * history[0].train_loss
    assert history[-1].valid_loss is not None
    assert history[0].valid_loss is not None
    assert history[-1].valid_loss < 0.8 * history[0].valid_loss


def test_one_seed_gives_the_same_bits(recipe: Recipe, official: Split, callbacks: FitCallbacks) -> None:
    """
    Two fits agree in every bit and every figure; another seed does not.
    """
    once, again, other = (
        fit(recipe, seed, 3, official.train, None, callbacks=callbacks) for seed in (1, 1, 2)
    )

    assert _bits(once) == _bits(again)
    assert once.history == again.history
    assert _bits(once) != _bits(other)


@pytest.mark.parametrize(
    "interrupted",
    [
        lambda callbacks: _stop_after(1, callbacks),
        lambda callbacks: _stop_after(3, callbacks),
        lambda callbacks: _stop_after(4, callbacks),
        lambda callbacks: _stop_at_step(3, callbacks),
        lambda callbacks: _stop_at_step(20, callbacks),
    ],
    ids=["epoch 1", "before the drop", "last epoch", "first epoch", "third epoch"],
)
def test_an_interrupted_fit_resumes_with_the_same_bits(
    recipe: Recipe,
    official: Split,
    callbacks: FitCallbacks,
    tmp_path: Path,
    interrupted: Callable[[FitCallbacks], FitCallbacks],
) -> None:
    """
    At any point of the interruption.
    """
    checkpoint = Checkpoint(tmp_path / "x.pt", "key", pytest.fail)
    whole = fit(recipe, 1, 3, official.train, None, callbacks=callbacks)

    with pytest.raises(KeyboardInterrupt):
        fit(recipe, 1, 3, official.train, None, callbacks=interrupted(callbacks), checkpoint=checkpoint)
    resumed = fit(recipe, 1, 3, official.train, None, callbacks=callbacks, checkpoint=checkpoint)

    assert _bits(resumed) == _bits(whole)
    assert resumed.history == whole.history


def test_a_finished_fit_is_loaded_from_its_checkpoint(
    recipe: Recipe, official: Split, callbacks: FitCallbacks, tmp_path: Path
) -> None:
    """
    No step runs, and the callbacks receive the stored epochs.
    """
    checkpoint = Checkpoint(tmp_path / "x.pt", "key", pytest.fail)
    told: list[int] = []
    listening = FitCallbacks(
        on_step=lambda *_: pytest.fail("a step was made"),
        on_epoch=lambda epoch: told.append(epoch.number),
        clock=callbacks.clock,
    )
    whole = fit(recipe, 1, 3, official.train, None, callbacks=callbacks, checkpoint=checkpoint)

    again = fit(recipe, 1, 3, official.train, None, callbacks=listening, checkpoint=checkpoint)

    assert told == [1, 2, 3, 4]
    assert _bits(again) == _bits(whole)


def test_the_history_has_the_learning_rate_of_each_epoch(
    recipe: Recipe, official: Split, callbacks: FitCallbacks
) -> None:
    """
    The first three epochs at 0.3, the last at 0.03.
    """
    history = fit(recipe, 1, 3, official.train, None, callbacks=callbacks).history

    assert [epoch.learning_rate for epoch in history] == pytest.approx([0.3, 0.3, 0.3, 0.03])
    assert [epoch.number for epoch in history] == [1, 2, 3, 4]
    assert history[0].valid_accuracy is None


def test_one_step_is_plain_gradient_descent(recipe: Recipe, official: Split, callbacks: FitCallbacks) -> None:
    """
    After one step over all examples, weights have moved by the rate times a gradient from finite
    differences of a NumPy loss.
    """
    plain = replace(recipe, hidden=(), epochs=1, batch_size=60, learning_rate=0.5)
    signal = official.train.pixels.reshape(60, -1) / 255
    start = MLP(30, (), 3, "glorot-uniform", torch.Generator().manual_seed(1))
    weight = start.dense["output"].weight.detach().numpy().astype(np.float64)

    def loss(bias: np.ndarray) -> float:
        logits = signal @ weight.T + bias
        chosen = logits[np.arange(60), official.train.labels]
        return float((np.log(np.exp(logits).sum(axis=1)) - chosen).mean())

    net = fit(plain, 1, 3, official.train, None, callbacks=callbacks).net
    assert isinstance(net, MLP)
    moved = net.dense["output"].bias

    tiny = 1e-5
    gradient = [(loss(tiny * unit) - loss(-tiny * unit)) / (2 * tiny) for unit in np.eye(3)]
    error = precision.gamma(30 + 60 + 16)  # sums of 30 pixels, a mean of 60 examples, a softmax and a step
    np.testing.assert_allclose(moved.detach().numpy(), -0.5 * np.array(gradient), rtol=0, atol=error)


def test_batches_hold_every_row_once() -> None:
    """
    An epoch uses each example exactly once; only the last batch may be smaller.
    """
    rows = list(shuffled_batches(10, 4, torch.Generator().manual_seed(0)))

    assert [len(batch) for batch in rows] == [4, 4, 2]
    assert sorted(torch.cat(rows).tolist()) == list(range(10))


def test_steps_are_counted_within_their_epoch(
    recipe: Recipe, official: Split, callbacks: FitCallbacks
) -> None:
    """
    The callback receives step number and steps per epoch.
    """
    told: list[tuple[int, int]] = []

    fit(
        replace(recipe, epochs=2, batch_size=25),
        1,
        3,
        official.train,
        None,
        callbacks=replace(callbacks, on_step=lambda step, steps: told.append((step, steps))),
    )

    assert told == [(1, 3), (2, 3), (3, 3)] * 2


def test_a_loss_that_is_not_finite_ends_the_fit(
    recipe: Recipe, official: Split, callbacks: FitCallbacks
) -> None:
    """
    After the epoch in which it occurs, with advice.
    """
    with pytest.raises(Diverged, match="smaller learning rate"):
        fit(replace(recipe, learning_rate=1e30), 1, 3, official.train, None, callbacks=callbacks)


def test_torch_settings_are_restored() -> None:
    """
    Deterministic settings apply within the context only.
    """
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()

    with reproducible():
        within = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()

    assert within == (1, True)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


class _Half:
    """A batch source in which every second row has no class."""

    def __init__(self, train: Examples) -> None:
        self._train = train

    def __len__(self) -> int:
        return 2 * len(self._train)

    def batch(self, epoch: int, rows: torch.Tensor, generator: torch.Generator) -> Batch:
        assert epoch >= 1
        images = torch.tensor(self._train.pixels)[rows // 2]
        labels = torch.tensor(self._train.labels)[rows // 2]
        noise = torch.randint(0, 256, images.shape, dtype=torch.uint8, generator=generator)
        is_none = rows % 2 == 1
        return Batch(
            torch.where(is_none[:, None, None], noise, images), torch.where(is_none, NO_CLASS, labels)
        )


def test_images_without_a_class_do_not_count_in_the_accuracy(
    recipe: Recipe, lesson: Split, callbacks: FitCallbacks
) -> None:
    """
    Half of the images have no class, and the accuracy is still near 1.
    """
    longer = replace(recipe, epochs=20, drop_epochs=(), learning_rate=0.2, hidden=(16,))

    history = fit(longer, 1, 3, lesson.train, None, callbacks=callbacks, source=_Half(lesson.train)).history

    assert history[-1].train_accuracy > 0.9
    assert all(epoch.train_accuracy <= 1 for epoch in history)


def test_batch_normalisation_is_folded_after_the_fit(
    recipe: Recipe, lesson: Split, callbacks: FitCallbacks
) -> None:
    """
    The network has plain layers, with the accuracy of the last epoch.
    """
    normalised = replace(recipe, batch_norm=True, average=0.9)

    fitted = fit(normalised, 1, 3, lesson.train, lesson.valid, callbacks=callbacks)

    assert list(fitted.net.state_dict()) == ["hidden1.weight", "hidden1.bias", "output.weight", "output.bias"]
    assert lesson.valid is not None
    assert evaluate(fitted.net, lesson.valid).loss == pytest.approx(fitted.history[-1].valid_loss, rel=1e-4)


def test_a_fit_with_batch_normalisation_resumes_with_the_same_bits(
    recipe: Recipe, lesson: Split, callbacks: FitCallbacks, tmp_path: Path
) -> None:
    """
    Checkpoints include the running statistics.
    """
    normalised = replace(recipe, batch_norm=True, average=0.9)
    checkpoint = Checkpoint(tmp_path / "x.pt", "key", pytest.fail)
    whole = fit(normalised, 1, 3, lesson.train, None, callbacks=callbacks)

    with pytest.raises(KeyboardInterrupt):
        fit(normalised, 1, 3, lesson.train, None, callbacks=_stop_after(2, callbacks), checkpoint=checkpoint)
    resumed = fit(normalised, 1, 3, lesson.train, None, callbacks=callbacks, checkpoint=checkpoint)

    assert _bits(resumed) == _bits(whole)
