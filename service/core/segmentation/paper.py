"""Paper of a plain page: one grey, or a smooth surface under noise."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_CELLS = 24
"""The paper's brightness is fitted to the picture reduced to about this many cells a side."""

_FAINTEST = 6
"""Grey levels between ink and paper below which nothing is drawn."""

_INK_FLOOR = 0.3
"""Share of the strongest ink that a pixel must have to belong to the digit."""

SIGMA = 1.4826
"""Standard deviation over median absolute deviation, for normal noise."""


class Blank(ValueError):
    """There is no ink on the paper."""


Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Paper:
    """What an empty picture would look like, and how to tell ink from it.

    Attributes:
        level: A box of the picture, and into how many columns and rows it is divided, to the paper's grey
            there, (rows, columns) float32; or one grey for all.
        sign: 1 for light ink on dark paper, -1 for dark ink on light paper.
        floor: Grey levels of ink from which on a pixel belongs to the digit.
    """

    level: Callable[[Box, int, int], Floats] | float
    sign: int
    floor: float

    def ink(self, grey: NDArray[np.uint8], box: Box) -> Floats:
        """Return grey levels of ink of a box of the picture that was scaled to (tall, wide) uint8."""
        ink = grey.astype(np.float32)
        tall, wide = grey.shape
        ink -= self.level(box, wide, tall) if callable(self.level) else self.level
        return ink if self.sign > 0 else np.negative(ink, out=ink)


def canvas(coarse: NDArray[np.uint8], level: int) -> Paper:
    """Return the paper of a drawing program: one grey, no noise."""
    lighter, darker = int(coarse.max()) - level, level - int(coarse.min())
    full = max(lighter, darker)
    if full < _FAINTEST:
        raise Blank
    return Paper(level, 1 if lighter >= darker else -1, _INK_FLOOR * full)


def sheet(coarse: NDArray[np.uint8], step_x: int, step_y: int) -> Paper:
    """Return the paper of a scan or a photograph: a smooth surface under noise."""
    height, width = coarse.shape
    tall, wide = max(1, height // _CELLS), max(1, width // _CELLS)  # one cell
    rows, columns = height // tall, width // wide
    cells = coarse[: rows * tall, : columns * wide].reshape(rows, tall, columns, wide)
    few = cells.mean(axis=(1, 3), dtype=np.float32)
    reach = (columns * wide * step_x, rows * tall * step_y)  # picture pixels that the cells cover
    fit = _quadratic(few)

    def level(box: Box, wide: int, tall: int) -> Floats:
        x = 2 * _middles(box[0], box[2], wide) / reach[0] - 1
        y = 2 * _middles(box[1], box[3], tall) / reach[1] - 1
        # Along x and y apart, they take a tenth of the time of all terms on a grid.
        surface = np.asarray(np.multiply.outer(y, fit[4] * x + fit[2]), np.float32)
        surface += fit[0] + (fit[1] + fit[3] * x) * x
        surface += (fit[5] * y * y)[:, None]
        return surface

    away = (coarse - level((0, 0, width * step_x, height * step_y), width, height)).ravel()
    rank = min(6, len(away) - 1)  # a few wild pixels are not what the pen did
    ranked = np.partition(away, (rank, len(away) - 1 - rank))
    lighter, darker = float(ranked[-1 - rank]), -float(ranked[rank])
    full = max(lighter, darker)
    if full < _FAINTEST:
        raise Blank
    noise = SIGMA * median(np.abs(away))
    floor = max(_INK_FLOOR * full, min(4 * noise, 0.6 * full))
    return Paper(level, 1 if lighter > darker else -1, floor)


def _quadratic(cells: Floats) -> Floats:
    """Fit a quadratic surface to cells of paper, leaving out those with ink: (6,) float32.

    Three rounds of least squares on the cells within three standard deviations of the surface before,
    beginning with the level of the frame.
    """
    terms = _terms(*cells.shape)
    values = cells.ravel()
    frame = np.concatenate((cells[0], cells[-1], cells[:, 0], cells[:, -1]))
    fit = np.zeros(6, np.float32)
    fit[0] = _middle(frame)
    spread = _middle(np.abs(frame - fit[0]))
    for _ in range(3):
        away = np.abs(values - terms @ fit)
        empty = away <= max(3 * SIGMA * spread, 2)
        if spread == 0 or np.count_nonzero(empty) < len(values) // 4:
            break
        chosen = terms[empty]
        ridge = np.eye(6, dtype=np.float32) * 1e-3  # for pictures of few cells
        fit = np.linalg.solve(chosen.T @ chosen + ridge, chosen.T @ values[empty])
        spread = _middle(away[empty])
    return np.asarray(fit, np.float32)


@lru_cache(maxsize=64)
def _terms(rows: int, columns: int) -> Floats:
    """1, x, y, x², xy, y² in the middles of cells that reach from -1 to 1: (rows x columns, 6) float32."""
    x, y = np.meshgrid(_middles(-1, 1, columns), _middles(-1, 1, rows))
    return np.stack((np.ones_like(x), x, y, x**2, x * y, y**2), axis=-1).reshape(-1, 6)


def _middles(start: float, end: float, count: int) -> Floats:
    """Return the middles of so many equal intervals from start to end: (count,) float32."""
    return np.asarray(start + (np.arange(count) + 0.5) * ((end - start) / count), np.float32)


def _middle(values: Floats) -> float:
    """Return the median, of an even number of values the mean of two; np.median takes longer."""
    low, high = (len(values) - 1) // 2, len(values) // 2
    ranked = np.partition(values, (low, high))
    return float((ranked[low] + ranked[high]) / 2)


def median(values: NDArray[np.float32]) -> float:
    """Return the upper median, of which any will do."""
    return float(np.partition(values, len(values) // 2)[len(values) // 2])
