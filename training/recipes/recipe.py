"""The hyperparameters of a training run."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated

Seeds = tuple[int, ...]

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "network": ("dense", "convolutional"),
    "initialisation": ("glorot-uniform", "glorot-normal", "he-normal"),
    "optimizer": ("sgd", "adamw"),
    "schedule": ("drops", "one-cycle"),
    "precision": ("float32", "bfloat16"),
    "augmentation": ("", "digits", "photographs", "strokes"),
}
"""Valid values of the fields that are names."""


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of a training run; the text beside each is its unit and meaning.

    They can be overridden on the command line, and written in a TOML file (`toml_file`).

    Raises:
        ValueError: A value is out of range; the message names the field.
    """

    name: Annotated[str, "name on the command line"]
    description: Annotated[str, "one sentence about the model, for its users"]
    hidden: Annotated[tuple[int, ...], "units of each hidden layer; each is followed by a ReLU"]
    initialisation: Annotated[str, "weight initialisation: a name in training.model.initialisation"]
    batch_size: Annotated[int, "images in a batch"]
    epochs: Annotated[int, "passes over the training images"]
    learning_rate: Annotated[float, "highest learning rate of the run"]
    drop_epochs: Annotated[tuple[int, ...], "epochs after which the learning rate drops"]
    drop_factor: Annotated[float, "factor of the learning rate at a drop"]
    seed: Annotated[int, "seed of the published fit: initialisation and order of the images"]
    lesson_seeds: Annotated[Seeds, "seeds of the fits on the lesson's split, one fit each"]
    lesson_split_seed: Annotated[int, "seed of the lesson's random split"]
    # Each default below switches its feature off, and is omitted from `to_dict`.
    model: Annotated[str, "model that the recipe publishes a version of; empty: the recipe's name"] = ""
    data: Annotated[str, "data set: a name in training.data.data_sets"] = "mnist"
    network: Annotated[str, "dense or convolutional; convolutional networks are teachers only"] = "dense"
    strides: Annotated[tuple[int, ...], "stride of each convolution"] = ()
    pooled: Annotated[int, "side of the pooled feature map before a convolutional network's output"] = 0
    input_mean: Annotated[float, "subtracted from pixels in 0 to 1; folded into the first layer"] = 0.0
    input_spread: Annotated[float, "divisor of the pixels after that; folded in likewise"] = 1.0
    first_scale: Annotated[float, "factor of the first layer's initial weights"] = 1.0
    batch_norm: Annotated[bool, "batch normalisation of hidden layers; folded in after the fit"] = False
    dropout: Annotated[float, "probability that a hidden unit is dropped in a step"] = 0.0
    optimizer: Annotated[str, "sgd or adamw"] = "sgd"
    momentum: Annotated[float, "momentum of sgd"] = 0.0
    weight_decay: Annotated[float, "of weight matrices; L2 penalty with sgd, decoupled with adamw"] = 0.0
    schedule: Annotated[str, "learning rate schedule: drops or one-cycle"] = "drops"
    warm_up: Annotated[float, "share of a one-cycle run in which the learning rate rises"] = 0.0
    average: Annotated[float, "decay of the weights' moving average per step; 0 for none"] = 0.0
    precision: Annotated[str, "of the forward pass while training: float32 or bfloat16"] = "float32"
    augmentation: Annotated[
        str, "digits, photographs, strokes (own strokes rendered anew in each epoch), or empty for none"
    ] = ""
    strength: Annotated[float, "strength of the augmentation; 1 is its reference strength"] = 0.0
    versions: Annotated[int, "cached augmentations of all images, used in turn; 0 for new ones"] = 0
    label_smoothing: Annotated[float, "share of a label's probability spread over all classes"] = 0.0
    drawn: Annotated[int, "digits rendered from pen strokes per epoch"] = 0
    canvases: Annotated[int, "preprocessed canvases per epoch"] = 0
    nondigits: Annotated[int, "drawings that are no digits per epoch"] = 0
    styled: Annotated[int, "digits in rare styles of writing, made by rule, per epoch"] = 0
    letters: Annotated[int, "handwritten letters that are no digits, per epoch"] = 0
    joined: Annotated[int, "drawings of two or three digits, which are no digit, per epoch"] = 0
    turned: Annotated[int, "digits on their side, which are no digit, per epoch"] = 0
    held_out_epochs: Annotated[
        int, "epochs of the fits that hold out donors; 0: as many as the published"
    ] = 0
    mixup: Annotated[float, "largest share of another image in each; 0 for no mixup"] = 0.0
    teacher: Annotated["Recipe | None", "of the network to distil from, fitted on the same images"] = None
    teacher_seeds: Annotated[Seeds, "seeds of the teachers, averaged; empty: the teacher's seed"] = ()
    teacher_share: Annotated[float, "share of the distillation loss in the loss"] = 0.0
    teacher_temperature: Annotated[float, "softmax temperature of the distillation loss"] = 1.0

    def __post_init__(self) -> None:
        self._check_names()
        self._check_ranges()
        self._check_combinations()

    def _check_names(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                expected = " or ".join(choice or "empty" for choice in choices)
                raise ValueError(f"{name} should be {expected}; got {getattr(self, name)!r}")

    def _check_ranges(self) -> None:
        if any(units < 1 for units in self.hidden):
            raise ValueError(f"hidden should be at least 1 unit per layer; got {list(self.hidden)}")
        for name, least in (("batch_size", 1), ("epochs", 1), ("seed", 0), ("lesson_split_seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} should be at least {least}; got {getattr(self, name)}")
        for name in ("learning_rate", "drop_factor", "input_spread", "first_scale", "teacher_temperature"):
            if not 0 < getattr(self, name) < math.inf:  # in this form NaN fails too
                raise ValueError(f"{name} should be above 0; got {getattr(self, name)}")
        rows = ("drawn", "styled", "canvases", "nondigits", "letters", "joined", "turned")
        for name in ("weight_decay", "strength", "versions", "held_out_epochs", *rows):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} should be at least 0; got {getattr(self, name)}")
        shares = ("dropout", "momentum", "warm_up", "mixup", "average", "label_smoothing", "teacher_share")
        for name in shares:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} should be from 0 to below 1; got {getattr(self, name)}")

    def _check_combinations(self) -> None:
        if self.versions and self.augmentation not in ("digits", "photographs"):
            raise ValueError(f"versions should be 0 without an augmentation; got {self.versions}")
        if self.teacher and self.mixup:  # the teacher's probabilities are of unmixed images
            raise ValueError(f"mixup should be 0 with a teacher; got {self.mixup}")
        if (
            self.nondigits or self.letters or self.joined or self.turned
        ) and self.mixup:  # a non-digit has no class label to mix
            raise ValueError(f"mixup should be 0 with nondigits; got {self.mixup}")
        if self.teacher and not (self.versions or self.drawn):
            raise ValueError("versions should be at least 1 with a teacher; got 0")

    @property
    def model_name(self) -> str:
        """Name of the model that this recipe publishes a version of."""
        return self.model or self.name

    @property
    def seeds_of_teachers(self) -> Seeds:
        """Seed of each teacher fit; empty without a teacher."""
        return (self.teacher_seeds or (self.teacher.seed,)) if self.teacher else ()

    def of_held_out_fits(self) -> "Recipe":
        """Return the recipe of the fits that hold out donors, in which `epochs` are theirs."""
        return replace(self, epochs=self.held_out_epochs or self.epochs, held_out_epochs=0)

    def of_published_fit(self) -> "Recipe":
        """Return the recipe of the other fits; their checkpoints do not depend on `held_out_epochs`."""
        return replace(self, held_out_epochs=0)

    def to_dict(self) -> dict[str, object]:
        """Return the fields by name as JSON values, with lists in place of tuples.

        Fields at their default are omitted, so that a new field changes neither the digest nor the
        manifest of a recipe that does not use it.
        """
        return {
            field.name: _as_json(getattr(self, field.name))
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }

    @property
    def digest(self) -> str:
        """SHA-256 of all fields."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


def _as_json(value: object) -> object:
    if isinstance(value, Recipe):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else value
