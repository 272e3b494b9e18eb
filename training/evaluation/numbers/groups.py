"""Groups of writers, with a network that was fitted without them, and how their numbers are read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from service.core.artifact import artifact
from service.core.artifact.artifact import Artifact
from service.core.reading import weights
from service.core.reading.lattice import Sizes, Weights
from training.data.pen_digits import PenDigit, donors
from training.errors import TrainingError
from training.evaluation.ablation.models import Predict, load_model
from training.evaluation.numbers import figures, perceptron
from training.evaluation.numbers.figures import Figures
from training.evaluation.numbers.samples import (
    Network,
    Sample,
    as_pictures,
    as_strokes,
    by_writer,
    numbers,
)
from training.synthesis.numbers import Pools

MODEL = "ink"
"""The network for pen strokes."""

FORMS = ("strokes", "pictures")

_LEARNING_SEED, _MEASURING_SEED = 1, 3


@dataclass(frozen=True)
class Group:
    """Writers, and the network that reads their numbers.

    Attributes:
        name: Name in the table.
        writers: Digits of each writer.
        network: The network.
    """

    name: str
    writers: Mapping[str, Pools]
    network: Network


@dataclass(frozen=True)
class Reader:
    """Learned values of one form.

    Attributes:
        weights: Of the terms of the scores.
        sizes: Usual sizes of the digits.
    """

    weights: Weights
    sizes: Mapping[str, Sizes]


Readers = Mapping[str, Reader]
"""By form."""


def published_readers() -> Readers:
    """Return the values that the service uses."""
    return {
        "strokes": Reader(weights.STROKES, weights.STROKE_SIZES),
        "pictures": Reader(weights.PICTURE, weights.PICTURE_SIZES),
    }


def load_networks(root: Path, folds: Path) -> tuple[Network, dict[str, Network]]:
    """Return the newest float32 network for pen strokes, and by donor the one that was fitted without it.

    Args:
        root: Models folder.
        folds: Folder of `<donor>.onnx`.

    Raises:
        ArtifactError: The service would refuse a published folder.
        GraphRefused: A file in `folds` has other layers.
        TrainingError: There is no float32 network for pen strokes.
    """
    versions = artifact.versions(root).get(MODEL, ())
    published = [artifact.read(root, MODEL, version) for version in versions]
    in_floats = [one for one in published if not one.manifest.layers[0].rounding]
    if not in_floats:
        raise TrainingError(f"{root} should hold a float32 version of {MODEL}.")
    newest = in_floats[-1]
    names = sorted(path.stem for path in folds.glob("*.onnx"))
    model = load_model(newest, folds, names)
    held_out = {donor: _network(predict, newest) for donor, predict in model.held_out.items()}
    return _network(model.predict, newest), held_out


def _network(predict: Predict, published: Artifact) -> Network:
    certainty = published.manifest.certainty
    threshold = None if certainty is None else certainty.threshold
    return Network(predict, published.manifest.temperature, threshold)


def by_donor(digits: Iterable[PenDigit], held_out: Mapping[str, Network]) -> list[Group]:
    """Return a group per donor that a network was fitted without."""
    digits = tuple(digits)
    return [
        Group(f"{donor}, held out", by_writer(one for one in digits if one.donor == donor), held_out[donor])
        for donor in donors(digits)
        if donor in held_out
    ]


def learn(group: Group, form: str, count: int, start: Reader) -> Reader:
    """Learn weights and sizes from numbers of training writers."""
    samples = _samples(group, form, count, start.sizes, _LEARNING_SEED)
    sizes = perceptron.usual_sizes(samples, start.weights)
    resized = [sample.resized(sizes) for sample in samples]
    return Reader(perceptron.learn(resized, start.weights, _LEARNING_SEED), sizes)


def measure(group: Group, form: str, count: int, reader: Reader) -> dict[tuple[str, str], Figures]:
    """Return figures of all numbers, of those whose digits touch and of the others, and of two lines."""
    samples = _samples(group, form, count, reader.sizes, _MEASURING_SEED)
    lines = _samples(group, form, max(1, count // 4), reader.sizes, _MEASURING_SEED, lines=2)
    chosen = {
        form: samples,
        f"{form}, digits touch": [sample for sample in samples if sample.touches],
        f"{form}, no digits touch": [sample for sample in samples if not sample.touches],
        f"{form}, two lines": lines,
    }
    return {(group.name, kind): figures.measure(own, reader.weights) for kind, own in chosen.items() if own}


def _samples(
    group: Group, form: str, count: int, sizes: Mapping[str, Sizes], seed: int, lines: int = 1
) -> list[Sample]:
    written = numbers(group.writers, count, seed, lines)
    if form == "strokes":
        return as_strokes(written, group.network, sizes)
    return as_pictures(written, group.network, sizes, seed)
