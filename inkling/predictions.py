"""Typed predictions, as `Model` and `Client` return them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ClassProbability:
    """A class and its probability.

    Attributes:
        label: Label of the class.
        probability: 0 to 1.
    """

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        label: The most probable class.
        index: Its index in the model's labels.
        confidence: Its probability, 0 to 1.
        top: The most probable classes, by descending probability.
        sure: Whether the image resembles the training data; None if the model has no threshold for it.
        prepared: Whether an image of the model's own size was preprocessed, because it is not like the
            training images.
        several: Whether the drawing shows more than one digit; it is not sure then.
        unclear: Why it is not clear which ink of a picture is the digit's (`other`, `background`, `contrast`
            or `edge`); it is not sure then. None if it is clear.
    """

    label: str
    index: int
    confidence: float
    top: tuple[ClassProbability, ...]
    sure: bool | None = None
    prepared: bool = False
    several: bool = False
    unclear: str | None = None


class Predictions(Sequence[Prediction]):
    """The predictions for several images, in their order.

    Attributes:
        model: Name of the model.
        version: Its version.
    """

    def __init__(self, model: str, version: str, items: Sequence[Prediction]) -> None:
        self.model = model
        self.version = version
        self._items = tuple(items)

    @property
    def labels(self) -> list[str]:
        """The most probable class of each image."""
        return [item.label for item in self._items]

    @property
    def indices(self) -> NDArray[np.int64]:
        """(B,) index of the most probable class of each image."""
        return np.array([item.index for item in self._items], np.int64)

    @property
    def confidences(self) -> NDArray[np.float32]:
        """(B,) probability of the most probable class of each image."""
        return np.array([item.confidence for item in self._items], np.float32)

    @property
    def sure(self) -> NDArray[np.bool_] | None:
        """(B,) whether each image resembles the training data; None if the model has no threshold for it."""
        if any(item.sure is None for item in self._items):
            return None
        return np.array([item.sure for item in self._items], np.bool_)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...

    @overload
    def __getitem__(self, index: slice) -> "Predictions": ...

    def __getitem__(self, index: int | slice) -> "Prediction | Predictions":
        if isinstance(index, slice):
            return Predictions(self.model, self.version, self._items[index])
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Predictions):
            return NotImplemented
        return (self.model, self.version, self._items) == (other.model, other.version, other._items)

    def __hash__(self) -> int:
        return hash((self.model, self.version, self._items))

    def __repr__(self) -> str:
        first = f"{self.labels[:10]}{' …' * (len(self) > 10)}"
        return f"Predictions({self.model!r}, {self.version!r}, {len(self)} images: {first})"
