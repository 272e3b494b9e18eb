"""The training loop: from a recipe, a seed and examples to a fitted network.

Nothing is printed here: what happens is told to callbacks, and returned.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from training.checkpoint import Checkpoint
from training.data import Examples
from training.errors import Diverged
from training.net import Net
from training.recipes import Recipe

THREADS = 1
"""Fixed, since sums in another order give other bits; and with 32 images a step a second thread
makes a step slower, not faster."""

_EVALUATED_AT_ONCE = 4096
"""Rows; bounds memory and changes no result."""


@dataclass(frozen=True)
class Score:
    """How well a network knows some examples.

    Attributes:
        examples: How many.
        accuracy: Share of right answers.
        loss: Cross-entropy in nats per example.
    """

    examples: int
    accuracy: float
    loss: float


@dataclass(frozen=True)
class Epoch:
    """One pass over the training examples.

    Attributes:
        number: From 1.
        learning_rate: In it.
        train_accuracy: Share of right answers while learning, as each batch was met.
        train_loss: Likewise, in nats per example.
        valid_accuracy: After it; None where there is no valid part.
        valid_loss: Likewise.
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
class Fitted:
    """A network and how it came about.

    Attributes:
        net: In evaluation mode.
        history: One entry an epoch.
    """

    net: Net
    history: tuple[Epoch, ...]

    @property
    def seconds(self) -> float:
        """Wall-clock time of the epochs; an interruption between them does not count."""
        return sum(epoch.seconds for epoch in self.history)


@dataclass(frozen=True)
class Watch:
    """Who is told what happens.

    Attributes:
        step: Called after each step with its number in the epoch and the steps of an epoch.
        epoch: Called after each epoch, also after those that a checkpoint had kept.
        clock: Returns seconds.
    """

    step: Callable[[int, int], None]
    epoch: Callable[[Epoch], None]
    clock: Callable[[], float]


@contextmanager
def reproducible() -> Iterator[None]:
    """Let torch give the same bits each time, and leave its settings as they were."""
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
    watch: Watch,
    checkpoint: Checkpoint | None = None,
) -> Fitted:
    """Fit a network, going on from its checkpoint where there is one.

    Args:
        recipe: Every number of the run but the seed.
        seed: Of initialisation and order; the same seed on the same machine gives the same bits,
            whether the fit was interrupted or not.
        classes: How many there are.
        train: What to learn from.
        valid: What to measure after each epoch, for the history alone; nothing depends on it.
        watch: Who is told.
        checkpoint: Where to keep the state after each epoch; None keeps nothing.

    Returns:
        The network of the last epoch, and the history.

    Raises:
        Diverged: The loss is no number any more.
        OSError: A checkpoint cannot be written.
    """
    generator = torch.Generator().manual_seed(seed)
    net = build(recipe, train.pixels[0].size, classes, generator)
    optimizer = torch.optim.SGD(net.parameters(), recipe.learning_rate)
    pixels, labels = torch.tensor(train.pixels), torch.tensor(train.labels)
    history: list[Epoch] = []

    if checkpoint and (state := checkpoint.read()):
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        history = [Epoch(**epoch) for epoch in state["history"]]
        for epoch in history:
            watch.epoch(epoch)

    steps = -(-len(train) // recipe.batch_size)  # the last batch of an epoch may be smaller
    step = len(history) * steps
    for number in range(len(history) + 1, recipe.epochs + 1):
        began = watch.clock()
        right, loss_sum = 0, 0.0
        net.train()
        for rows in batches(len(train), recipe.batch_size, generator):
            set_learning_rate(optimizer, learning_rate(step, steps, recipe))
            logits = net(pixels[rows])  # (B, classes)
            loss = cross_entropy(logits, labels[rows])  # () nats per example
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves this one method untyped
            optimizer.step()
            right += int((logits.argmax(1) == labels[rows]).sum())
            loss_sum += loss.item() * len(rows)
            step += 1
            watch.step(step - (number - 1) * steps, steps)
        if not math.isfinite(loss_sum):
            raise Diverged(number, loss_sum)
        after = evaluate(net, valid) if valid else None
        epoch = Epoch(
            number=number,
            learning_rate=learning_rate(step - 1, steps, recipe),
            train_accuracy=right / len(train),
            train_loss=loss_sum / len(train),
            valid_accuracy=after.accuracy if after else None,
            valid_loss=after.loss if after else None,
            seconds=watch.clock() - began,
        )
        history.append(epoch)
        if checkpoint:
            checkpoint.write(_state(net, optimizer, generator, history))
        watch.epoch(epoch)
    return Fitted(net.eval(), tuple(history))


def build(recipe: Recipe, inputs: int, classes: int, generator: Generator) -> Net:
    """Make a recipe's network with fresh weights from the generator."""
    return Net(inputs, recipe.hidden, classes, recipe.initialisation, generator)


def learning_rate(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """Return the learning rate of a step: constant, but for a drop after some epochs.

    Args:
        step: From 0, counted over the whole run.
        steps_per_epoch: Steps of one epoch.
        recipe: Gives the first rate, and where and how much it drops.
    """
    drops = sum(step >= epoch * steps_per_epoch for epoch in recipe.drop_epochs)
    return recipe.learning_rate * recipe.drop_factor**drops


def batches(count: int, batch_size: int, generator: Generator) -> Iterator[Tensor]:
    """Yield the rows 0 to count - 1 in a random order, `batch_size` at a time.

    Args:
        count: Rows in all.
        batch_size: Rows of a batch; the last may have fewer.
        generator: Source of the order.

    Yields:
        (B,) int64.
    """
    order = torch.randperm(count, generator=generator)
    for begin in range(0, count, batch_size):
        yield order[begin : begin + batch_size]


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let the next step use this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def evaluate(net: Net, examples: Examples) -> Score:
    """Measure a network on examples; its mode is left in evaluation."""
    net.eval()
    right, loss = 0, 0.0
    with torch.inference_mode():
        for begin in range(0, len(examples), _EVALUATED_AT_ONCE):
            piece = slice(begin, begin + _EVALUATED_AT_ONCE)
            logits = net(torch.tensor(examples.pixels[piece]))
            labels = torch.tensor(examples.labels[piece])
            right += int((logits.argmax(1) == labels).sum())
            loss += cross_entropy(logits, labels, reduction="sum").item()
    return Score(len(examples), right / len(examples), loss / len(examples))


def _state(
    net: Net, optimizer: torch.optim.Optimizer, generator: Generator, history: list[Epoch]
) -> dict[str, Any]:
    return {
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
        "history": [asdict(epoch) for epoch in history],
    }
