"""Source files that determine the bits of a fit; part of the keys of checkpoints and studies."""

from collections.abc import Sequence
from pathlib import Path

CODE = (
    "batches/augmented.py",
    "batches/ink.py",
    "batches/source.py",
    "batches/strokes.py",
    "batches/teacher.py",
    "data/ink.py",
    "data/pen_letters.py",
    "fitting/loop.py",
    "fitting/loss.py",
    "fitting/optimizer.py",
    "fitting/scoring.py",
    "model/build.py",
    "model/cnn.py",
    "model/dropout.py",
    "model/initialisation.py",
    "model/mlp.py",
    "synthesis/augmentations.py",
    "synthesis/canvases/generated.py",
    "synthesis/handwriting.py",
    "synthesis/nondigit_glyphs.py",
    "synthesis/nondigits.py",
    "synthesis/polylines.py",
    "synthesis/randomness.py",
    "synthesis/styles.py",
)
"""Paths relative to the trainer's package."""


def read_code(names: Sequence[str] = CODE) -> list[str]:
    """Return the text of source files of the trainer."""
    package = Path(__file__).parents[1]
    return [(package / name).read_text() for name in names]
