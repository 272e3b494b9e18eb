import numpy as np
import pytest
from numpy.typing import NDArray

from training.evaluation.calibration import best_temperature, calibration_error


def _logits(count: int, seed: int = 1, mean: float = 0.0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(mean, 3, (count, 10)).astype(np.float32)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_a_known_temperature_is_found_again(temperature: float) -> None:
    """
    Labels are drawn with the probabilities at a temperature; it is the best one.
    """
    logits = _logits(20_000)
    luck = np.random.default_rng(2).gumbel(size=logits.shape)
    labels = (logits / temperature + luck).argmax(1)  # so drawn, a class has its probability

    assert best_temperature(logits, labels) == pytest.approx(temperature, rel=0.03)  # of 20,000 draws


@pytest.mark.parametrize(("shift", "limit"), [(0, 0.05), (1, 20.0)])
def test_a_temperature_stays_within_its_range(shift: int, limit: float) -> None:
    """
    The limits for a network that is always right and for one that is always wrong.
    """
    logits = np.eye(10, dtype=np.float32)

    assert best_temperature(logits, (np.arange(10) + shift) % 10) == pytest.approx(limit, rel=0.02)


def test_a_calibration_error_equals_the_calculation_by_hand() -> None:
    """
    Ten predictions at 80 %, six correct; thirty at 60 %, twenty-one correct: 0.2 for a quarter of them, 0.1
    for the rest. Scaling logits and temperature alike has no effect.
    """
    odds = np.repeat([[4.0, 1.0], [1.5, 1.0]], [10, 30], axis=0)
    logits = np.log(odds).astype(np.float32)
    labels = np.array([0] * 6 + [1] * 4 + [0] * 21 + [1] * 9)

    expected = 0.25 * 0.2 + 0.75 * 0.1
    assert calibration_error(logits, labels, 1.0) == pytest.approx(expected, abs=1e-6)
    assert calibration_error(3 * logits, labels, 3.0) == pytest.approx(expected, abs=1e-6)
    colder = 0.25 * (16 / 17 - 0.6) + 0.75 * (0.7 - 2.25 / 3.25)  # odds are squared
    assert calibration_error(logits, labels, 0.5) == pytest.approx(colder, abs=1e-6)


def test_a_confidence_of_one_has_a_bin() -> None:
    """
    Correct predictions have no error, wrong ones the largest error.
    """
    logits = np.float32(1000) * np.eye(4, dtype=np.float32)

    assert calibration_error(logits, np.arange(4), 1.0) == 0
    assert calibration_error(logits, np.array([1, 2, 3, 0]), 1.0) == 1
