"""Training loop: fits a network to examples with a recipe and a seed.

The loop does not print; progress is reported to callbacks, and the history is returned.
"""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from training.batches.augmented import AugmentedBatches
from training.batches.source import NO_CLASS, BatchSource
from training.data.examples import Examples
from training.errors import Diverged
from training.fitting.checkpoint import Checkpoint
from training.fitting.loss import loss as training_loss
from training.fitting.loss import mixup, targets
from training.fitting.optimizer import learning_rate, make_optimizer, set_learning_rate, update_average
from training.fitting.scoring import evaluate
from training.model.build import Network, build
from training.model.mlp import MLP
from training.recipes.recipe import Recipe

THREADS = 1
"""Threads of torch. Fixed, since sums in another order give other bits; with batches of 32 a second thread
makes a step slower."""


@dataclass(frozen=True)
class Epoch:
    """Figures of one pass over the training examples.

    Attributes:
        number: From 1.
        learning_rate: Learning rate of the epoch's last step.
        train_accuracy: Share of correct predictions during training; images without a class do not count.
        train_loss: The minimised loss in nats per example; with a teacher it includes the distillation loss,
            whose minimum is not zero.
        valid_accuracy: Accuracy on the valid part after the epoch; None without one.
        valid_loss: Cross-entropy with the labels after the epoch; None without a valid part.
        seconds: Wall-clock time.
    """

    number: int
    learning_rate: float
    train_accuracy: float
    train_loss: float
    valid_accuracy: float | None
    valid_loss: float | None
    seconds: float


@dataclass(frozen=True)
class FitResult:
    """A fitted network and its history.

    Attributes:
        net: The network, in evaluation mode.
        history: One entry per epoch.
    """

    net: Network
    history: tuple[Epoch, ...]

    @property
    def seconds(self) -> float:
        """Wall-clock time of the epochs, without interruptions between them."""
        return sum(epoch.seconds for epoch in self.history)


@dataclass(frozen=True)
class FitCallbacks:
    """Callbacks of a fit, and its clock.

    Attributes:
        on_step: Called after each step with its number in the epoch and the steps per epoch.
        on_epoch: Called after each epoch, and for each epoch of a resumed checkpoint.
        clock: Returns seconds.
    """

    on_step: Callable[[int, int], None]
    on_epoch: Callable[[Epoch], None]
    clock: Callable[[], float]


@contextmanager
def reproducible() -> Iterator[None]:
    """Make torch deterministic within the context, and restore its settings afterwards."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(threads)


@reproducible()
def fit(
    recipe: Recipe,
    seed: int,
    classes: int,
    train: Examples,
    valid: Examples | None,
    *,
    callbacks: FitCallbacks,
    checkpoint: Checkpoint | None = None,
    source: BatchSource | None = None,
) -> FitResult:
    """Fit a network, resuming from its checkpoint if there is one.

    Args:
        recipe: All hyperparameters but the seed.
        seed: Seed of initialisation, order and augmentation. The same seed on the same machine gives the
            same bits, with or without interruptions.
        classes: Number of classes.
        train: Training examples.
        valid: Evaluated after each epoch for the history; has no influence on the fit.
        callbacks: Receive progress.
        checkpoint: Receives the state after each epoch; None to keep nothing.
        source: Training batches, with a teacher's probabilities if there is a teacher; None for `train`
            with the recipe's augmentation and no teacher.

    Returns:
        The network of the last epoch, or the moving average of its weights if the recipe has one, and the
        history.

    Raises:
        Diverged: The loss is not finite.
        OSError: A checkpoint cannot be written.
    """
    generator = torch.Generator().manual_seed(seed)
    net = build(recipe, train.pixels.shape[1:], classes, generator)
    average = copy.deepcopy(net) if recipe.average else net
    optimizer = make_optimizer(recipe, net)
    source = source or AugmentedBatches(recipe, train)
    history: list[Epoch] = []

    if checkpoint and (state := checkpoint.read()):
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        history = [Epoch(**epoch) for epoch in state["history"]]
        for epoch in history:
            callbacks.on_epoch(epoch)

    steps = -(-len(source) // recipe.batch_size)  # the last batch of an epoch may be smaller
    step = len(history) * steps
    for number in range(len(history) + 1, recipe.epochs + 1):
        began = callbacks.clock()
        correct, labelled, loss_sum = 0, 0, 0.0
        net.train()
        for rows in shuffled_batches(len(source), recipe.batch_size, generator):
            set_learning_rate(optimizer, learning_rate(step, steps, recipe))
            batch = source.batch(number, rows, generator)
            images, aims = batch.images, targets(batch.labels, classes)
            if recipe.mixup:
                images, aims = mixup(images, one_hot(batch.labels, classes), recipe.mixup, generator)
            logits = _forward(net, images, recipe.precision)  # (B, classes)
            loss = training_loss(logits, aims, batch.teacher, recipe)  # () nats per example
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for this method
            optimizer.step()
            if recipe.average:
                # a smaller decay in the first steps, so that the initial weights do not persist
                update_average(average, net, min(recipe.average, (1 + step) / (10 + step)))
            correct += int((logits.argmax(1) == batch.labels).sum())
            labelled += int((batch.labels != NO_CLASS).sum())
            loss_sum += loss.item() * len(rows)
            step += 1
            callbacks.on_step(step - (number - 1) * steps, steps)
        if not math.isfinite(loss_sum):
            raise Diverged(number, loss_sum)
        valid_score = evaluate(average, valid) if valid else None
        epoch = Epoch(
            number=number,
            learning_rate=learning_rate(step - 1, steps, recipe),
            train_accuracy=correct / labelled,
            train_loss=loss_sum / len(source),
            valid_accuracy=valid_score.accuracy if valid_score else None,
            valid_loss=valid_score.loss if valid_score else None,
            seconds=callbacks.clock() - began,
        )
        history.append(epoch)
        if checkpoint:
            checkpoint.write(_state(net, average, optimizer, generator, history))
        callbacks.on_epoch(epoch)
    if isinstance(average, MLP):
        average.fold()
    return FitResult(average.eval(), tuple(history))


def shuffled_batches(count: int, batch_size: int, generator: Generator) -> Iterator[Tensor]:
    """Yield the row numbers 0 to count - 1 in random order, `batch_size` at a time.

    Args:
        count: Number of rows.
        batch_size: Rows of a batch; the last one may be smaller.
        generator: Source of the order.

    Yields:
        (B,) int64.
    """
    order = torch.randperm(count, generator=generator)
    for begin in range(0, count, batch_size):
        yield order[begin : begin + batch_size]


def _forward(net: Network, images: Tensor, precision: str) -> Tensor:
    """Return (B, classes) float32 logits, computed in a recipe's precision."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        logits: Tensor = net(images)
    return logits.to(torch.float32)


def _state(
    net: Network,
    average: Network,
    optimizer: torch.optim.Optimizer,
    generator: Generator,
    history: list[Epoch],
) -> dict[str, Any]:
    return {
        "net": net.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
        "history": [asdict(epoch) for epoch in history],
    }
