"""The training loop: from a recipe, a seed and examples to a fitted network.

Nothing is printed here: what happens is told to callbacks, and returned.
"""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy, one_hot

from training.batches.augmented import Versions
from training.batches.source import NONE, Material
from training.data.examples import Examples
from training.errors import Diverged
from training.fitting.checkpoint import Checkpoint
from training.fitting.optimizer import follow, learning_rate, make_optimizer, set_learning_rate
from training.model.cnn import ConvolutionalNet
from training.model.mlp import Net
from training.recipes.recipe import Recipe

Network = Net | ConvolutionalNet

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
        train_accuracy: Share of right answers while learning, as each batch was met; what shows no
            class does not count.
        train_loss: What was minimised, in nats per example; with a teacher it holds the teacher's
            part too, and does not end at zero.
        valid_accuracy: After it; None where there is no valid part.
        valid_loss: Likewise, the labels' cross-entropy alone.
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

    net: Network
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
    material: Material | None = None,
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
        material: The images as they should be met, with a teacher's answers where there is one; None
            makes them of `train` as the recipe says, without a teacher.

    Returns:
        The network of the last epoch, or the average of its weights over the last steps where the
        recipe says so, and the history.

    Raises:
        Diverged: The loss is no number any more.
        OSError: A checkpoint cannot be written.
    """
    generator = torch.Generator().manual_seed(seed)
    net = build(recipe, train.pixels.shape[1:], classes, generator)
    average = copy.deepcopy(net) if recipe.average else net
    optimizer = make_optimizer(recipe, net)
    material = material or Versions(recipe, train)
    history: list[Epoch] = []

    if checkpoint and (state := checkpoint.read()):
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        history = [Epoch(**epoch) for epoch in state["history"]]
        for epoch in history:
            watch.epoch(epoch)

    steps = -(-len(material) // recipe.batch_size)  # the last batch of an epoch may be smaller
    step = len(history) * steps
    for number in range(len(history) + 1, recipe.epochs + 1):
        began = watch.clock()
        right, asked, loss_sum = 0, 0, 0.0
        net.train()
        for rows in batches(len(material), recipe.batch_size, generator):
            set_learning_rate(optimizer, learning_rate(step, steps, recipe))
            batch = material.batch(number, rows, generator)
            images, aims = batch.images, right_answers(batch.labels, classes)
            if recipe.mixup:
                images, aims = mixed(images, one_hot(batch.labels, classes), recipe.mixup, generator)
            said = _said(net, images, recipe.precision)  # (B, classes)
            loss = objective(said, aims, batch.answers, recipe)  # () nats per example
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves this one method untyped
            optimizer.step()
            if recipe.average:
                # the first steps count for less than the decay says, or the start would linger
                follow(average, net, min(recipe.average, (1 + step) / (10 + step)))
            right += int((said.argmax(1) == batch.labels).sum())
            asked += int((batch.labels != NONE).sum())
            loss_sum += loss.item() * len(rows)
            step += 1
            watch.step(step - (number - 1) * steps, steps)
        if not math.isfinite(loss_sum):
            raise Diverged(number, loss_sum)
        after = evaluate(average, valid) if valid else None
        epoch = Epoch(
            number=number,
            learning_rate=learning_rate(step - 1, steps, recipe),
            train_accuracy=right / asked,
            train_loss=loss_sum / len(material),
            valid_accuracy=after.accuracy if after else None,
            valid_loss=after.loss if after else None,
            seconds=watch.clock() - began,
        )
        history.append(epoch)
        if checkpoint:
            checkpoint.write(_state(net, average, optimizer, generator, history))
        watch.epoch(epoch)
    if isinstance(average, Net):
        average.settle()
    return Fitted(average.eval(), tuple(history))


def build(recipe: Recipe, image_shape: tuple[int, ...], classes: int, generator: Generator) -> Network:
    """Make a recipe's network with fresh weights from the generator, for (H, W) or (H, W, colours)."""
    if recipe.network == "convolutional":
        return ConvolutionalNet(
            colours=math.prod(image_shape[2:]),
            channels=recipe.hidden,
            strides=recipe.strides,
            pooled=recipe.pooled,
            classes=classes,
            initialisation=recipe.initialisation,
            generator=generator,
            dropout=recipe.dropout,
        )
    net = Net(
        math.prod(image_shape),
        recipe.hidden,
        classes,
        recipe.initialisation,
        generator,
        dropout=recipe.dropout,
        mean=recipe.input_mean,
        spread=recipe.input_spread,
        normalised=recipe.batch_norm,
    )
    with torch.no_grad():
        next(iter(net.dense.values())).weight.mul_(recipe.first_scale)
    return net


def mixed(images: Tensor, aims: Tensor, most: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Blend each image and its aim with those of another of the batch.

    Args:
        images: (B, ...) 0 to 255.
        aims: (B, classes), the right answers as probabilities.
        most: Largest share of the other; shares are uniform from 0 to it.
        generator: Source of the pairs and the shares.

    Source: Zhang et al., "mixup: beyond empirical risk minimization", 2018, with a uniform share.
    """
    others = torch.randperm(len(images), generator=generator)
    share = torch.rand(len(images), generator=generator) * most
    images, aims = images.to(torch.float32), aims.to(torch.float32)
    wide = share.view(-1, *(1,) * (images.ndim - 1))
    return torch.lerp(images, images[others], wide), torch.lerp(aims, aims[others], share[:, None])


def right_answers(labels: Tensor, classes: int) -> Tensor:
    """Return what should be said: (B,) labels, or (B, classes) probabilities where one is NONE.

    An image that shows no class asks for equal probabilities.

    Source: Hendrycks, Mazeika, Dietterich, "Deep anomaly detection with outlier exposure", 2019.
    """
    none = labels == NONE
    if not none.any():
        return labels
    return torch.where(none[:, None], 1 / classes, one_hot(labels.clamp(min=0), classes).float())


def objective(said: Tensor, aims: Tensor, answers: Tensor | None, recipe: Recipe) -> Tensor:
    """Return how far logits are from labels and a teacher, in nats per example.

    Args:
        said: (B, classes), the learner's logits.
        aims: The right answers, (B,) as numbers or (B, classes) as probabilities.
        answers: (B, classes), the teacher's probabilities at the recipe's temperature; None without.
        recipe: Gives the label smoothing, the teacher's share and its temperature.

    Source of label smoothing: Szegedy et al., "Rethinking the inception architecture for computer
    vision", 2016.
    Source of teaching: Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015.
    The factor temperature² is theirs: it keeps the gradient's size whatever the temperature.
    """
    loss = cross_entropy(said, aims, label_smoothing=recipe.label_smoothing)
    if answers is None:
        return loss
    heat = recipe.teacher_temperature
    taught = cross_entropy(said / heat, answers) * heat**2
    return (1 - recipe.teacher_share) * loss + recipe.teacher_share * taught


def _said(net: Network, images: Tensor, precision: str) -> Tensor:
    """Return a network's (B, classes) float32, its products rounded as the precision says."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        logits: Tensor = net(images)
    return logits.to(torch.float32)


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


def evaluate(net: Network, examples: Examples) -> Score:
    """Measure a network on examples; its mode is left in evaluation."""
    return scored(logits(net, examples.pixels), examples.labels)


def logits(net: Network, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what a network says of images; its mode is left in evaluation.

    Args:
        net: In any mode.
        pixels: (N, ...) uint8.

    Returns:
        (N, classes) float32.
    """
    net.eval()
    with torch.inference_mode():
        pieces = torch.split(torch.tensor(pixels), _EVALUATED_AT_ONCE)
        said: NDArray[np.float32] = torch.cat([net(piece) for piece in pieces]).numpy()
    return said


def scored(said: NDArray[np.float32], labels: NDArray[np.int64], temperature: float = 1.0) -> Score:
    """Compare logits (N, classes) with labels (N,); accuracy does not depend on the temperature."""
    tempered, right = torch.tensor(said) / temperature, torch.tensor(labels)
    return Score(
        examples=len(labels),
        accuracy=int((tempered.argmax(1) == right).sum()) / len(labels),
        loss=cross_entropy(tempered, right, reduction="sum").item() / len(labels),
    )


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
