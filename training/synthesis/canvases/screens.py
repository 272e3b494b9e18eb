"""Kinds of screenshots, small and compressed pictures, and pens that picture files show."""

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from training.synthesis.canvases.scene import (
    Floats,
    Random,
    Scene,
    border,
    camera,
    draw_line,
    drawn,
    ellipses,
    lines,
    mix,
    rectangle,
    sheet,
)
from training.synthesis.polylines import Points


def dark_mode(strokes: Sequence[Points], generator: Random) -> Scene:
    """A screenshot in dark mode: a canvas between a title bar and a row of buttons."""
    canvas = float(generator.uniform(15, 60))
    scene = sheet(
        strokes,
        generator,
        where=(0.1, 0.2, 0.9, 0.8),
        fill=(0.45, 0.9),
        colours=([canvas] * 3, [generator.uniform(190, 255)] * 3),
    )
    for top, bottom in ((0, 0.12), (0.86, 1)):
        mix(scene, rectangle(scene, 0, top, 1, bottom), [canvas + generator.uniform(10, 40)] * 3)
    mix(scene, lines(scene, [(0.05, 0.06, 0.3, 0.06), (0.9, 0.06, 0.95, 0.06)], 6), [200] * 3)
    for left, colour in ((0.1, [60, 120, 220]), (0.4, [110, 110, 110]), (0.7, [190, 60, 60])):
        mix(scene, rectangle(scene, left, 0.89, left + 0.2, 0.97), colour)
    return scene


def toolbar(strokes: Sequence[Points], generator: Random) -> Scene:
    """A screenshot of a tablet: a column of tools and colours beside a white canvas."""
    scene = sheet(strokes, generator, where=(0.2, 0.05, 0.95, 0.95), colours=([255] * 3, [0] * 3))
    mix(scene, rectangle(scene, 0, 0, 0.14, 1), [generator.uniform(200, 245)] * 3)
    mix(scene, lines(scene, [(0.14, 0, 0.14, 1)], 1), [180] * 3)
    for y in np.arange(0.05, 0.95, 0.1).tolist():
        colour = [float(level) for level in generator.uniform(0, 255, 3)]
        mix(scene, ellipses(scene, [(0.04, y, 0.1, y + 0.06)]), colour)
    return scene


def canvas_on_page(strokes: Sequence[Points], generator: Random) -> Scene:
    """A screenshot of a web page: a bordered canvas, a title above it and a button below."""
    scene = sheet(
        strokes, generator, where=(0.25, 0.25, 0.75, 0.75), fill=(0.5, 0.9), colours=([255] * 3, [0] * 3)
    )
    outside = 1 - rectangle(scene, 0.2, 0.2, 0.8, 0.8)
    mix(scene, outside, [generator.uniform(225, 255)] * 3)
    sides = [(0.2, 0.2, 0.8, 0.2), (0.2, 0.8, 0.8, 0.8), (0.2, 0.2, 0.2, 0.8), (0.8, 0.2, 0.8, 0.8)]
    mix(scene, lines(scene, sides, generator.uniform(1, 4)), [generator.uniform(0, 160)] * 3)
    words = [(x, 0.1, x + 0.06, 0.1) for x in (0.22, 0.3, 0.38, 0.46)]
    mix(scene, lines(scene, words, 0.025 * scene.size[1]), [30] * 3)
    mix(scene, rectangle(scene, 0.2, 0.85, 0.4, 0.92), [40, 110, 230])
    return scene


def photographed_screen(strokes: Sequence[Points], generator: Random) -> Scene:
    """A photograph of a screen: its dark edge, and the stripes of pixels against pixels."""
    scene = sheet(strokes, generator, where=(0.15, 0.15, 0.85, 0.85), fill=(0.5, 0.9))
    height, width = scene.size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    wave = 0.5 + 0.5 * np.sin(
        2 * math.pi * (x * generator.uniform(0.02, 0.3) + y * generator.uniform(0, 0.2))
    )
    scene.page *= (1 - generator.uniform(0.05, 0.15) * wave)[:, :, None].astype(np.float32)
    mix(scene, border(scene, generator.uniform(0.03, 0.1)), [25, 25, 28])
    return camera(scene, generator)


def jpeg_10(strokes: Sequence[Points], generator: Random) -> Scene:
    """A photograph saved as JPEG at quality 10."""
    return _compressed(camera(sheet(strokes, generator), generator), 10)


def small_digit(strokes: Sequence[Points], generator: Random) -> Scene:
    """A digit of a twenty-fifth to a twelfth of the sheet, with a fine pen."""
    scene = sheet(strokes, generator, fill=(0.045, 0.09), pens=(0.08, 0.12), sides=(600, 1000))
    return camera(scene, generator)


def fax(strokes: Sequence[Points], generator: Random) -> Scene:
    """Black and white with dithering, as a fax or an old scanner gives it."""
    scene = sheet(strokes, generator)
    grey = Image.fromarray(np.clip(scene.page[:, :, 0], 0, 255).astype(np.uint8))
    scene.page = np.asarray(grey.convert("1").convert("RGB"), np.float32)
    return scene


def date_stamp(strokes: Sequence[Points], generator: Random) -> Scene:
    """A camera's orange date in the corner."""
    scene = camera(sheet(strokes, generator, where=(0.05, 0.05, 0.95, 0.85)), generator)
    text = "'26 11 28"
    size = scene.size[1]

    def draw(brush: ImageDraw.ImageDraw, unit: int) -> None:
        brush.text((0.72 * size * unit, 0.91 * size * unit), text, fill=255, font_size=0.05 * size * unit)

    mix(scene, drawn(scene, draw), [250, 130, 30])
    return scene


def thick_pen(strokes: Sequence[Points], generator: Random) -> Scene:
    """A pen of a fifth of the digit, in a picture of 40 to 100 pixels: small loops are nearly closed."""
    return sheet(
        strokes, generator, fill=(0.6, 0.95), pens=(0.16, 0.24), sides=(40, 100), colours=([255] * 3, [0] * 3)
    )


def outlined(strokes: Sequence[Points], generator: Random) -> Scene:
    """A digit drawn as its outline, not filled."""
    scene = sheet(strokes, generator, fill=(0.4, 0.8), pens=(0.17, 0.24))
    line = scene.pen * generator.uniform(0.12, 0.22)
    mix(scene, _inside(scene, scene.pen - 2 * line), [scene.paper] * 3)
    return camera(scene, generator)


def shaded_outline(strokes: Sequence[Points], generator: Random) -> Scene:
    """An outlined digit, filled in a lighter grey."""
    scene = sheet(strokes, generator, fill=(0.4, 0.8), pens=(0.17, 0.24))
    line = scene.pen * generator.uniform(0.12, 0.2)
    share = generator.uniform(0.25, 0.6)
    mix(scene, _inside(scene, scene.pen - 2 * line), [scene.paper + share * (scene.ink - scene.paper)] * 3)
    return camera(scene, generator)


def _inside(scene: Scene, pen: float) -> Floats:
    """Return the digit's strokes drawn with another pen: (H, W) float32, 0 to 1."""

    def draw(brush: ImageDraw.ImageDraw, unit: int) -> None:
        for stroke in scene.strokes:
            draw_line(brush, stroke * unit, pen * unit)

    return drawn(scene, draw)


def _compressed(scene: Scene, quality: int) -> Scene:
    """Save as JPEG and load again."""
    file = io.BytesIO()
    Image.fromarray(np.clip(scene.page, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    with Image.open(file) as picture:
        scene.page = np.asarray(picture, np.float32)
    return scene
