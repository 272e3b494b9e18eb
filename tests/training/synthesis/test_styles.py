import numpy as np
import pytest

from training.synthesis import styles
from training.synthesis.styles import STYLES, draw


def test_the_same_state_gives_the_same_digit() -> None:
    """
    Randomness comes from the generator only.
    """
    (name, label, first), (again, same, second) = (draw(np.random.default_rng(5)) for _ in range(2))

    assert (name, label) == (again, same)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_digit_has_a_style_and_all_are_drawn() -> None:
    """
    Each of the ten digits has at least one style; the label is the style's.
    """
    generator = np.random.default_rng(1)

    drawn = [draw(generator)[:2] for _ in range(600)]

    assert {label for _, label, _ in STYLES.values()} == set(range(10))
    assert set(drawn) == {(name, label) for name, (_, label, _) in STYLES.items()}


@pytest.mark.parametrize("name", STYLES)
def test_strokes_are_finite_and_of_a_digits_size(name: str) -> None:
    """
    Every stroke has points; the drawing is about one unit high, whatever the proportions.
    """
    generator = np.random.default_rng(2)
    for _ in range(50):
        strokes = STYLES[name][2](generator)

        points = np.concatenate(strokes)
        assert all(stroke.ndim == 2 and stroke.shape[1] == 2 and len(stroke) for stroke in strokes)
        assert np.isfinite(points).all()
        assert 0.7 < np.ptp(points[:, 1]) < 1.9
        assert np.ptp(points[:, 0]) < 2.0


def test_a_smooth_line_passes_through_its_points() -> None:
    """
    Curves and straight lines keep the given points, ends included; only a curve leaves the polygon.
    """
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])

    curve = styles._interpolate(corners, is_smooth=True)
    line = styles._interpolate(corners, is_smooth=False)

    for points in (curve, line):
        np.testing.assert_allclose(points[:: styles._POINTS_PER_SEGMENT], corners, atol=1e-12)
    assert curve[:, 1].min() < -0.01
    assert line[:, 1].min() >= 0
