"""The lesson, the course that Inkling grew out of: its reported accuracies and the seed of its split."""

from collections.abc import Mapping

LESSON_SPLIT_SEED = 1
"""Seed of the lesson's random split, the same for all recipes."""

LESSON_FIGURES: Mapping[str, Mapping[str, float]] = {
    "softmax": {"train": 0.9284, "valid": 0.9159},
    "mlp-128": {"train": 0.9861, "valid": 0.9649},
    "mlp-512x4": {"train": 0.9958, "valid": 0.9769},
    "flowers17": {"train": 0.9044, "valid": 0.4706, "test": 0.2735},
}
"""Accuracies that the lesson reports on its own split, by model and part."""
