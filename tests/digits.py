"""Digits drawn for the tests as strokes: points (x, y), y downwards, on a canvas of about 100 x 100."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Strokes = list[list[list[float]]]


def _arc(cx: float, cy: float, rx: float, ry: float, start: float, end: float) -> list[list[float]]:
    """Points on an ellipse; angles in degrees, clockwise from three o'clock, as y points downwards."""
    angles = np.radians(np.linspace(start, end, 24))
    return [[cx + rx * float(np.cos(a)), cy + ry * float(np.sin(a))] for a in angles]


DIGITS: dict[str, list[Strokes]] = {
    "0": [[_arc(50, 50, 24, 38, -90, 270)], [_arc(50, 50, 30, 36, -60, 300)]],
    "1": [[[[50, 10], [50, 90]]], [[[38, 26], [52, 12], [50, 90]]]],
    "2": [[[*_arc(50, 32, 24, 22, -170, 40), [28, 86], [78, 86]]]],
    "3": [[[*_arc(46, 30, 24, 20, -150, 90), *_arc(46, 69, 27, 20, -90, 150)]]],
    "4": [[[[34, 12], [26, 54], [76, 54]], [[66, 14], [62, 92]]]],
    "5": [[[[74, 14], [36, 14], [33, 46], *_arc(48, 64, 25, 24, -110, 140)]]],
    "6": [[[[64, 10], [40, 42], *_arc(51, 66, 21, 21, 190, 545)]]],
    "7": [[[[22, 16], [78, 16], [44, 92]]]],
    "8": [[[*_arc(50, 31, 19, 19, 90, 450), *_arc(50, 70, 23, 21, -90, 270)]]],
    "9": [[[*_arc(48, 34, 21, 21, 0, 360), [69, 34], [64, 92]]]],
}
"""For every label one or two ways to write it; a way is a list of strokes."""


def canvas(strokes: Strokes, size: int = 280, pen: int = 18, dark_on_light: bool = True) -> Image.Image:
    """Draw strokes as a person's drawing program would: on a canvas with a margin, with a round pen.

    Args:
        strokes: Points on a canvas of 100 x 100.
        size: Side of the canvas, in pixels.
        pen: Width of the pen, in pixels.
        dark_on_light: Black on white, else white on black.

    Returns:
        A grey picture.
    """
    paper, ink = (255, 0) if dark_on_light else (0, 255)
    picture = Image.new("L", (size, size), paper)
    draw = ImageDraw.Draw(picture)
    for stroke in strokes:
        points = [(size * (0.1 + 0.008 * x), size * (0.1 + 0.008 * y)) for x, y in stroke]
        draw.line(points, fill=ink, width=pen, joint="curve")
        for x, y in points:
            draw.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=ink)
    return picture


def arrays(strokes: Strokes) -> list[NDArray[np.float64]]:
    """Return strokes as arrays, (points, 2) each."""
    return [np.array(stroke, np.float64) for stroke in strokes]
