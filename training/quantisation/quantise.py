"""From a published network in floats to its next version, in whole numbers.

Which whole numbers is `rounding`'s work, what they cost `losses`'. Neither looks at a test part: the one test
figure decides whether to publish, and nothing else.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core import network
from service.core.artifact import Artifact
from service.core.manifest import MODEL_FILE, Certainty, DataSource, Making, Share
from service.core.network import Dense
from service.core.rounded import LARGEST_WEIGHT, Rounded
from training.data.examples import Examples, Split
from training.errors import DataMismatch
from training.evaluation import measurements as measuring
from training.evaluation.measurements import NO_DIGIT, Asked, Fits
from training.fitting.loop import THREADS
from training.model.mlp import OUTPUT, Net
from training.publishing import onnx_float as export
from training.publishing import onnx_int8 as whole
from training.publishing import provenance as origin
from training.publishing.publish import Derived
from training.quantisation import comparison as losses
from training.quantisation import gptq as rounding
from training.quantisation.comparison import Answers, Loss, Sureness
from training.recipes.recipe import Recipe
from training.report.build import HISTORY_FILE
from training.run import Terms, strangers

CALIBRATION = 10_000
"""Training images that the whole numbers are chosen by; all of them where there are fewer."""

SEED = 1
"""Of their drawing."""

STROKES = "strokes"
"""The further part of a split that decides beside MNIST's test part."""


@dataclass(frozen=True)
class Quantised:
    """A network in whole numbers, and what it lost.

    Attributes:
        derived: What is to be published.
        losses: The answers before and after, beside each other.
    """

    derived: Derived
    losses: tuple[Loss, ...]


def quantise(
    published: Artifact,
    history: bytes,
    recipe: Recipe,
    terms: Terms,
    unseen: Mapping[str, Examples],
) -> Quantised:
    """Round a published network, and measure what that costs.

    Args:
        published: The version in floats.
        history: Its `history.json`; empty if there is none.
        recipe: That fits without some donors are made by, where its data set holds donors out; with fewer
            epochs than the published network's, they are other networks of the same kind.
        terms: Data, folders and watchers.
        unseen: By name, what the network has not met.

    Raises:
        DataMismatch: The network was fitted or measured on other data.
        TrainingError, OSError: A fit could not be made or kept.
    """
    commit = origin.commit()  # now, not after minutes in which files may change
    split, manifest = terms.turns[-1].split, published.manifest
    _check_data(published, split)
    began = time.perf_counter()
    calibration = _calibration(split.train)
    before = network.read(published)
    after = rounding.rounded(before, calibration.pixels)
    seconds = time.perf_counter() - began
    sureness = None
    if manifest.certainty:
        sureness = Sureness(manifest.certainty.threshold, manifest.temperature)
    answers = {part: losses.both(before, after, each.pixels) for part, each in split.parts.items()}
    found = [
        losses.compare(f"{split.data_set}, {part}", answers[part], each.labels, sureness, part == "test")
        for part, each in split.parts.items()
    ]
    for name, each in unseen.items():
        said = losses.both(before, after, each.pixels)
        found.append(losses.compare(f"{name}, not met", said, each.labels, sureness, is_gate=True))
    others, certainty = _of_strangers(strangers(recipe, terms), f"fits of {recipe.epochs} epochs", sureness)
    found += others
    said_of_itself: dict[str, Any] = {
        "recipe": {**manifest.recipe, "quantised": _told(published, calibration, found)},
        "certainty": certainty and certainty.model_dump(),
        "making": _making(manifest.making.seed, seconds, commit).model_dump(),
        "data": [one.model_dump() for one in (*manifest.data, _source(split, calibration))],
        "metrics": [
            measuring.measurement(
                ("published", split.data_set, part),
                [Asked(answers[part].after, each.labels)],
                (manifest.making.seed,),
                manifest.temperature,
            ).model_dump()
            for part, each in split.parts.items()
        ],
    }
    derived = Derived(
        manifest=_manifest(published) | said_of_itself,
        model=whole.to_onnx(after, manifest.input.shape[1:], manifest.temperature),
        layers=after,
        images=split.train.pixels,
        temperature=manifest.temperature,
        report={HISTORY_FILE: _history_of_published(history)} if history else {},
    )
    return Quantised(derived, tuple(found))


def _manifest(published: Artifact) -> dict[str, Any]:
    """Return what a manifest in whole numbers has in common with that in floats."""
    manifest = published.manifest
    content = manifest.model_dump(mode="json", exclude_unset=True, exclude={"version", "sha256"})
    return content | {
        "description": f"{manifest.description} In whole numbers: int8 weights, uint8 signals.",
        "layers": [layer.model_dump() for layer in whole.described(manifest.layers)],
        "opset": export.OPSET,
    }


def _told(published: Artifact, calibration: Examples, found: Sequence[Loss]) -> dict[str, object]:
    """Return every number of the rounding, and what it cost."""
    return {
        "from": published.identity,
        "sha256": published.manifest.sha256[MODEL_FILE],
        "calibration": len(calibration),
        "calibration_seed": SEED,
        "calibration_sha256": calibration.sha256,
        "damping": rounding.DAMPING,
        "largest_weight": LARGEST_WEIGHT,
        "losses": [loss.told for loss in found],
    }


def _making(seed: int, seconds: float, commit: str) -> Making:
    return Making(
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        seed=seed,
        hardware=origin.processor(),
        threads=THREADS,
        commit=commit,
        libraries=origin.libraries(),
    )


def _source(split: Split, calibration: Examples) -> DataSource:
    return DataSource(
        name=split.data_set,
        split=f"calibration, of {split.name} train",
        examples=len(calibration),
        sha256=calibration.sha256,
    )


def _calibration(train: Examples) -> Examples:
    rows = np.random.default_rng(SEED).permutation(len(train))[:CALIBRATION]
    return train.select(np.sort(rows))


def _check_data(published: Artifact, split: Split) -> None:
    known = {source.sha256 for source in published.manifest.data}
    for part, examples in split.parts.items():
        if examples.sha256 not in known:
            raise DataMismatch(published.identity, f"{split.data_set}, {split.name} {part}", examples.sha256)


def _of_strangers(
    fits: Sequence[Fits], title: str, sureness: Sureness | None
) -> tuple[list[Loss], Certainty | None]:
    """Round fits that have not met some donors, and ask them of these donors and of what is no digit.

    Args:
        fits: One a turn, each rounded by what it has learnt from.
        title: Of the fits, for people.
        sureness: None for networks that cannot tell.

    Returns:
        The losses, each kind of drawing over all fits; and what is sure now, None where nothing was held out.
    """
    if not fits:
        return [], None
    pairs: list[tuple[Mapping[str, Dense], Mapping[str, Rounded]]] = []
    for one in fits:
        net = one.made[0].net
        assert isinstance(net, Net)
        layers = _layers(net)
        pairs.append((layers, rounding.rounded(layers, _calibration(one.turn.split.train).pixels)))
    found = []
    kept: dict[str, NDArray[np.float32]] = {}
    for part in dict.fromkeys(name for one in fits for name in one.turn.split.extra):
        parts = [one.turn.split.extra[part] for one in fits]
        said = losses.joined(
            [losses.both(*pair, each.pixels) for pair, each in zip(pairs, parts, strict=True)]
        )
        images = f"digits, not met: {part}, {title}"
        labels = np.concatenate([each.labels for each in parts])
        found.append(losses.compare(images, said, labels, sureness, is_gate=part == STROKES))
        kept[images] = said.after
    drawn, shown = measuring.of_no_digit()
    said = losses.joined([losses.both(*pair, drawn) for pair in pairs])
    kinds = np.tile(shown, len(pairs))
    passed: dict[str, NDArray[np.float32]] = {}
    for name, chosen in {
        NO_DIGIT: np.full(len(kinds), True),
        **{f"{NO_DIGIT}: {kind}": kinds == kind for kind in sorted(set(kinds))},
    }.items():
        images = f"{name}, {title}"
        here = Answers(said.before[chosen], said.after[chosen])
        found.append(losses.compare(images, here, None, sureness))
        passed[images] = here.after
    if sureness is None:
        return found, None
    certainty = Certainty(
        score="energy",
        threshold=sureness.threshold,
        kept=_shares(kept, sureness),
        passed=_shares(passed, sureness),
    )
    return found, certainty


def _shares(said: Mapping[str, NDArray[np.float32]], sureness: Sureness) -> tuple[Share, ...]:
    return tuple(
        Share(images=images, examples=len(logits), share=round(sureness.share(logits), 5))
        for images, logits in said.items()
    )


def _layers(net: Net) -> dict[str, Dense]:
    """Return a fit's layers as the service has them."""
    return {
        name: Dense(
            weight=layer.weight.detach().numpy().T,
            bias=layer.bias.detach().numpy(),
            is_rectified=name != OUTPUT,
        )
        for name, layer in net.dense.items()
    }


def _history_of_published(history: bytes) -> bytes:
    """Return the learning curve of the fit that was rounded, without those of other fits."""
    fits = [fit for fit in json.loads(history)["fits"] if fit["fit"] == "published"]
    return (json.dumps({"fits": fits}, separators=(",", ":"), allow_nan=False) + "\n").encode()
