from dataclasses import replace

import torch

from tests import precision
from training.batches.source import NO_CLASS
from training.fitting.loss import loss, mixup, targets
from training.recipes.recipe import Recipe


def test_the_target_without_a_class_is_uniform() -> None:
    """
    Labels become probabilities only if the batch has an image without a class.
    """
    labels = torch.tensor([2, 0])

    assert targets(labels, 4) is labels
    torch.testing.assert_close(
        targets(torch.tensor([2, NO_CLASS, 0]), 4),
        torch.tensor([[0.0, 0, 1, 0], [0.25, 0.25, 0.25, 0.25], [1, 0, 0, 0]]),
    )


def test_indices_and_soft_targets_give_the_same_loss(recipe: Recipe) -> None:
    """
    A non-digit in a batch does not change the loss of the others, with label smoothing too.
    """
    said = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    smoothed = replace(recipe, label_smoothing=0.2)

    apart = [
        loss(said[:2], targets(torch.tensor([2, 0]), 4), None, smoothed) * 2,
        loss(said[2:], targets(torch.tensor([NO_CLASS]), 4), None, smoothed),
    ]
    together = loss(said, targets(torch.tensor([2, 0, NO_CLASS]), 4), None, smoothed)

    torch.testing.assert_close(together * 3, apart[0] + apart[1])
    torch.testing.assert_close(apart[1], -said[2].log_softmax(0).mean())


def test_smoothed_labels_share_their_probability(recipe: Recipe) -> None:
    """
    With a share of 0.2 among four classes the target is 0.85 for the label and 0.05 for each other class.
    """
    said = torch.tensor([[2.0, -1.0, 0.5, 0.0]])

    found = loss(said, torch.tensor([2]), None, replace(recipe, label_smoothing=0.2))

    expected = -(torch.tensor([0.05, 0.05, 0.85, 0.05]) * said.log_softmax(1)[0]).sum()
    torch.testing.assert_close(found, expected)


def test_distillation_has_no_gradient_if_student_and_teacher_agree(recipe: Recipe) -> None:
    """
    The gradient is that of the label loss alone.
    """
    taught = replace(recipe, teacher_share=0.75, teacher_temperature=3.0)
    logits = torch.tensor([[1.0, -2.0, 0.5]], requires_grad=True)
    labels = torch.tensor([1])

    # torch leaves `backward` untyped
    loss(logits, labels, (logits.detach() / 3).softmax(1), taught).backward()  # type: ignore[no-untyped-call]

    expected = 0.25 * (logits.detach().softmax(1) - torch.eye(3)[labels])
    assert logits.grad is not None
    few = precision.gamma(32)  # two softmaxes of three logits, and their mean
    torch.testing.assert_close(logits.grad, expected, atol=few, rtol=0)


def test_mixup_blends_images_and_targets_alike() -> None:
    """
    Each image keeps most of itself, and its target has the same shares.
    """
    images = torch.eye(6).view(6, 2, 3) * 255  # image n is white at pixel n alone
    aims = torch.eye(6)

    blend, shares = mixup(images, aims, 0.4, torch.Generator().manual_seed(3))

    torch.testing.assert_close(blend.view(6, 6) / 255, shares)
    torch.testing.assert_close(shares.sum(1), torch.ones(6))
    assert (shares.diagonal() >= 0.6).all()
    assert (shares.diagonal() < 1).any()
