"""What the fits of a run came to: accuracies, and how certain the published network can be."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.core.ink import from_strokes
from service.core.manifest import Certainty, Measurement
from training.data.data_sets import FitJob, Role
from training.evaluation import calibration as certainty
from training.fitting.loop import Fitted, logits, scored
from training.synthesis import nondigits

NONDIGITS = 3000
"""Drawings of no digit that a threshold is measured by; what they show no fit has met."""

EVERYBODY = "all that was left out, by the fit that has not met it"
"""What measurements of several fits together are of."""

NO_DIGIT = "no digit"
"""All drawings of no digit, whatever they show."""


@dataclass(frozen=True)
class Asked:
    """What a fit said of examples.

    Attributes:
        logits: (N, classes) float32.
        labels: (N,) int64, what is right.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Fits:
    """The fits of one turn.

    Attributes:
        turn: What they were made on.
        made: One a seed.
    """

    turn: FitJob
    made: Sequence[Fitted]


def measure(run: Sequence[Fits]) -> tuple[list[Measurement], float, Certainty | None]:
    """Measure all fits of a run.

    Where donors were held out, temperature and threshold are chosen by what the fits without them say
    of them, and of what else they have not met; never by a test part.

    Args:
        run: All turns; those without a fit are passed over.

    Returns:
        One measurement a part of each turn, and one a kind of drawing for all donors together; the
        temperature, 1 where none is chosen; the certainty, None likewise.
    """
    asked = [(fits, _ask(fits)) for fits in run if fits.made]
    strangers = _strangers(asked)
    if not strangers:
        return [found for fits, parts in asked for found in _by_part(fits, parts, 1.0)], 1.0, None
    everything = _joined(list(strangers.values()))
    temperature = certainty.best_temperature(everything.logits, everything.labels)
    together = [
        measurement(("held-out", EVERYBODY, part), [found], _seeds(asked), temperature)
        for part, found in strangers.items()
    ]
    each = [found for fits, parts in asked for found in _by_part(fits, parts, temperature)]
    digits = {f"digits, not met: {part}": found.logits for part, found in strangers.items()}
    others = _of_no_digit([fits for fits, _ in asked])
    return together + each, temperature, certainty.measure(digits, others, temperature)


def _ask(fits: Fits) -> dict[str, list[Asked]]:
    """Return by part what each fit says."""
    return {
        name: [Asked(logits(fitted.net, part.pixels), part.labels) for fitted in fits.made]
        for name, part in fits.turn.split.parts.items()
    }


def _strangers(asked: Sequence[tuple[Fits, dict[str, list[Asked]]]]) -> dict[str, Asked]:
    """Return by part, of all turns that held donors out, what was said of what they held out."""
    held_out = [(fits, parts) for fits, parts in asked if fits.turn.role == "held-out"]
    names = dict.fromkeys(name for fits, _ in held_out for name in fits.turn.split.extra)
    return {name: _joined([found for _, parts in held_out for found in parts[name]]) for name in names}


def _joined(found: Sequence[Asked]) -> Asked:
    return Asked(
        np.concatenate([each.logits for each in found]), np.concatenate([each.labels for each in found])
    )


def _seeds(asked: Sequence[tuple[Fits, Mapping[str, object]]]) -> tuple[int, ...]:
    return tuple(seed for fits, _ in asked if fits.turn.role == "held-out" for seed in fits.turn.seeds)


def _by_part(fits: Fits, parts: Mapping[str, Sequence[Asked]], temperature: float) -> list[Measurement]:
    turn = fits.turn
    data = turn.split.data_set if turn.role != "held-out" else f"{turn.split.data_set}, {turn.split.name}"
    return [
        measurement((turn.role, data, part), found, turn.seeds, temperature) for part, found in parts.items()
    ]


def measurement(
    what: tuple[Role, str, str], asked: Sequence[Asked], seeds: tuple[int, ...], temperature: float
) -> Measurement:
    """Measure one part.

    Args:
        what: The fits' role, the data's name and the part's.
        asked: What each fit said of it.
        seeds: Of the fits.
        temperature: Of the network.
    """
    role, data, part = what
    scores = [scored(each.logits, each.labels, temperature) for each in asked]
    accuracies = [score.accuracy for score in scores]
    errors = [certainty.calibration_error(each.logits, each.labels, temperature) for each in asked]
    return Measurement(
        fit=role,
        data=data,
        split=part,
        examples=scores[0].examples,
        seeds=seeds,
        accuracy=statistics.fmean(accuracies),
        spread=statistics.stdev(accuracies) if len(scores) > 1 else None,
        loss=statistics.fmean(score.loss for score in scores),
        calibration_error=statistics.fmean(errors),
    )


def of_no_digit() -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Draw what a threshold is measured by and is no digit; the same each time.

    Returns:
        Images, (NONDIGITS, 28, 28), and what each shows, (NONDIGITS,).
    """
    generator = np.random.default_rng(2)
    drawn = [nondigits.draw(generator, "evaluation") for _ in range(NONDIGITS)]
    return np.stack([from_strokes(strokes) for _, strokes in drawn]), np.array([kind for kind, _ in drawn])


def _of_no_digit(run: Sequence[Fits]) -> dict[str, NDArray[np.float32]]:
    """Return what the fits with donors held out say of drawings of no digit.

    Returns:
        By what they show, all of them first, (N, classes) logits.
    """
    images, shown = of_no_digit()
    held_out = [fitted for fits in run if fits.turn.role == "held-out" for fitted in fits.made]
    said = np.concatenate([logits(fitted.net, images) for fitted in held_out])
    kinds = np.tile(shown, len(held_out))
    each = {f"{NO_DIGIT}: {kind}": said[kinds == kind] for kind in sorted(set(kinds))}
    return {NO_DIGIT: said, **each}
