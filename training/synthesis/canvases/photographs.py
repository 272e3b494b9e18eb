"""Kinds of photographs that people take of a digit on whatever paper is at hand."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

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
    polygon,
    rectangle,
    sheet,
    table_colour,
)
from training.synthesis.polylines import Points


def envelope(strokes: Sequence[Points], generator: Random) -> Scene:
    """Brown paper with the seams of an envelope and a stamp in the corner."""
    scene = sheet(
        strokes,
        generator,
        where=(0.1, 0.35, 0.75, 0.95),
        fill=(0.5, 0.9),
        colours=([200, 165, 120], [40, 35, 60]),
    )
    mix(scene, lines(scene, [(0, 0, 0.5, 0.3), (1, 0, 0.5, 0.3)], 2), [150, 120, 85])
    mix(scene, rectangle(scene, 0.82, 0.04, 0.96, 0.22), [70, 90, 150])
    return camera(scene, generator)


def torn_paper(strokes: Sequence[Points], generator: Random) -> Scene:
    """A scrap with torn edges on a table."""
    scene = sheet(strokes, generator, where=(0.25, 0.25, 0.75, 0.75), fill=(0.6, 0.95))
    angles = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    reach = generator.uniform(0.4, 0.47, 40) / np.maximum(np.abs(np.cos(angles)), np.abs(np.sin(angles)))
    corners = [(0.5 + r * math.cos(a), 0.5 + r * math.sin(a)) for r, a in zip(reach, angles, strict=True)]
    mix(scene, 1 - polygon(scene, *corners), table_colour(generator))
    return camera(scene, generator)


def whiteboard(strokes: Sequence[Points], generator: Random) -> Scene:
    """A marker on a whiteboard, with reflections of lamps and a wiped smear."""
    pens = ((30, 30, 40), (30, 60, 180), (190, 30, 40), (20, 120, 60))
    colours = ([generator.uniform(190, 225)] * 3, pens[int(generator.integers(len(pens)))])
    scene = sheet(strokes, generator, colours=colours)
    height, width = scene.size
    for _ in range(int(generator.integers(1, 4))):
        x, y = generator.uniform(0, 1, 2)
        lamp = _blurred(ellipses(scene, [(x - 0.12, y - 0.03, x + 0.12, y + 0.03)]), 0.01 * width)
        mix(scene, 0.8 * lamp, [255, 255, 255])
    y = float(generator.uniform(0.1, 0.9))
    smear = _blurred(lines(scene, [(0, y, 1, y + 0.1)], 0.08 * height), 0.03 * width)
    mix(scene, 0.25 * smear, colours[1])
    return camera(scene, generator)


def two_sheets(strokes: Sequence[Points], generator: Random) -> Scene:
    """A sheet that lies on another, whose shadow is on it."""
    scene = sheet(strokes, generator, where=(0.3, 0.25, 0.97, 0.97), fill=(0.5, 0.9))
    x, y = generator.uniform(0.15, 0.24), generator.uniform(0.1, 0.2)
    upper = polygon(scene, (x, y), (1.1, y + generator.uniform(-0.05, 0.03)), (1.1, 1.1), (x, 1.1))
    mix(scene, 1 - upper, [scene.paper * generator.uniform(0.75, 0.97)] * 3)
    shadow = _blurred(1 - upper, 0.015 * scene.size[1]) * upper
    edge = _blurred(upper, 0.01 * scene.size[1]) * (1 - upper)
    mix(scene, 0.3 * shadow + 0.8 * edge, [60, 60, 60])
    return camera(scene, generator)


def finger(strokes: Sequence[Points], generator: Random) -> Scene:
    """A finger over a corner of the picture, out of focus."""
    scene = sheet(strokes, generator, where=(0.05, 0.05, 0.7, 0.75), fill=(0.5, 0.9))
    reach = generator.uniform(0.1, 0.25)
    shape = ellipses(scene, [(1 - reach, 1 - reach, 1 + reach, 1 + reach)])
    mix(scene, _blurred(shape, 0.02 * scene.size[1]), [205, 140, 115])
    return camera(scene, generator)


def pen_on_sheet(strokes: Sequence[Points], generator: Random) -> Scene:
    """The pen lies beside the digit."""
    scene = sheet(strokes, generator, where=(0.05, 0.05, 0.7, 0.95), fill=(0.5, 0.9))
    x, top = generator.uniform(0.82, 0.92), generator.uniform(0.05, 0.3)
    pen = lines(scene, [(x, top, x + generator.uniform(-0.05, 0.05), 1.1)], 0.05 * scene.size[1])
    mix(scene, pen, [float(level) for level in generator.uniform(20, 180, 3)])
    return camera(scene, generator)


def notebook(strokes: Sequence[Points], generator: Random) -> Scene:
    """Lined paper with a red margin and punched holes."""
    scene = sheet(strokes, generator, where=(0.25, 0.05, 0.95, 0.95), fill=(0.35, 0.7))
    step = float(generator.uniform(0.06, 0.11))
    mix(scene, lines(scene, [(0, y, 1, y) for y in np.arange(0.1, 1, step).tolist()], 2), [130, 160, 215])
    mix(scene, lines(scene, [(0.2, 0, 0.2, 1)], 2.5), [225, 90, 90])
    mix(scene, ellipses(scene, [(0.05, y, 0.1, y + 0.05) for y in (0.2, 0.48, 0.76)]), [60, 50, 45])
    return camera(scene, generator)


def spiral_notebook(strokes: Sequence[Points], generator: Random) -> Scene:
    """A notepad with a wire binding along the top."""
    scene = sheet(strokes, generator, where=(0.05, 0.2, 0.95, 0.95), fill=(0.45, 0.85))
    holes = np.arange(0.03, 1, 0.06).tolist()
    mix(scene, ellipses(scene, [(x, 0.06, x + 0.03, 0.09) for x in holes]), [40, 40, 40])
    mix(scene, lines(scene, [(x + 0.015, -0.1, x + 0.015, 0.075) for x in holes], 3), [90, 90, 95])
    return camera(scene, generator)


def crumpled(strokes: Sequence[Points], generator: Random) -> Scene:
    """Paper that was crumpled: facets of different brightness."""
    scene = sheet(strokes, generator)
    height, width = scene.size
    facets = generator.integers(3, 7)
    noise = Image.fromarray(generator.integers(0, 256, (facets, facets), np.uint8))
    shade = np.asarray(noise.resize((width, height), Image.Resampling.BILINEAR), np.float32) / 255
    ridges = np.abs(
        np.gradient(np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC), np.float32))[0]
    )
    scene.page *= (0.75 + 0.25 * shade - 0.02 * np.minimum(ridges, 4))[:, :, None]
    return camera(scene, generator)


def back_side(strokes: Sequence[Points], generator: Random) -> Scene:
    """Thin paper: writing on the back shows, mirrored and faint."""
    scene = sheet(strokes, generator)
    mask = np.zeros(scene.size, np.float32)
    for _ in range(3):
        other = sheet(strokes, generator, fill=(0.3, 0.5), sides=(scene.size[1], scene.size[1] + 1))
        mask = np.maximum(mask, (other.paper - other.page[:, ::-1, 0]) / (other.paper - other.ink))
    faint = generator.uniform(0.05, 0.15)
    mix(scene, _blurred(mask, 0.005 * scene.size[1]) * np.float32(faint), [60, 60, 60])
    return camera(scene, generator)


def receipt(strokes: Sequence[Points], generator: Random) -> Scene:
    """A narrow slip on a dark table, written on its back."""
    half = generator.uniform(0.17, 0.27)
    scene = sheet(strokes, generator, where=(0.53 - half, 0.1, 0.47 + half, 0.9), fill=(0.7, 1.0))
    slant = generator.uniform(-0.04, 0.04)
    slip = polygon(
        scene,
        (0.5 - half + slant, -0.1),
        (0.5 + half + slant, -0.1),
        (0.5 + half - slant, 1.1),
        (0.5 - half - slant, 1.1),
    )
    mix(scene, 1 - slip, table_colour(generator))
    return camera(scene, generator)


def motion_blur(strokes: Sequence[Points], generator: Random) -> Scene:
    """The hand moved while the picture was taken."""
    scene = sheet(strokes, generator)
    reach = generator.uniform(0.5, 1.5) * scene.pen
    angle = generator.uniform(0, math.pi)
    steps = np.linspace(-reach / 2, reach / 2, 9)
    shifted = [
        np.roll(scene.page, (round(step * math.sin(angle)), round(step * math.cos(angle))), (0, 1))
        for step in steps
    ]
    scene.page = np.mean(shifted, axis=0, dtype=np.float32)
    return camera(scene, generator)


def blinds(strokes: Sequence[Points], generator: Random) -> Scene:
    """Sunlight through blinds: parallel stripes across the sheet."""
    scene = camera(sheet(strokes, generator), generator)
    height, width = scene.size
    angle = generator.uniform(0, math.pi)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    phase = (x * math.cos(angle) + y * math.sin(angle)) / (generator.uniform(0.12, 0.25) * width)
    stripes = np.clip(4 * np.sin(2 * math.pi * phase) + 0.5, 0, 1)
    scene.page *= (1 - (1 - generator.uniform(0.6, 0.85)) * stripes)[:, :, None].astype(np.float32)
    return scene


def turned(strokes: Sequence[Points], generator: Random) -> Scene:
    """A photograph taken 10 degrees askew: the sheet's corners are cut, the table shows in them."""
    scene = camera(sheet(strokes, generator, where=(0.15, 0.15, 0.85, 0.85), fill=(0.5, 0.9)), generator)
    picture = Image.fromarray(np.clip(scene.page, 0, 255).astype(np.uint8))
    table = tuple(round(level) for level in table_colour(generator))
    askew = picture.rotate(generator.choice([-10.0, 10.0]), Image.Resampling.BILINEAR, fillcolor=table)
    scene.page = np.asarray(askew, np.float32)
    return scene


def palm_shadow(strokes: Sequence[Points], generator: Random) -> Scene:
    """The soft shadow of a hand or a telephone over a part of the sheet."""
    scene = camera(sheet(strokes, generator), generator)
    x, y = generator.uniform(0.1, 0.9, 2)
    shape = ellipses(scene, [(x - 0.35, y - 0.25, x + 0.35, y + 0.9)])
    shadow = _blurred(shape, 0.03 * scene.size[1])
    scene.page *= (1 - generator.uniform(0.25, 0.5) * shadow)[:, :, None]
    return scene


def on_dark_cloth(strokes: Sequence[Points], generator: Random) -> Scene:
    """A small note on a dark, grainy cloth, which fills most of the picture."""
    scene = sheet(strokes, generator, where=(0.36, 0.36, 0.64, 0.64), fill=(0.7, 1.0))
    height, width = scene.size
    cloth = border(scene, generator.uniform(0.26, 0.31))
    grain = _blurred(generator.uniform(0, 1, (height, width)).astype(np.float32), 2)
    colour = np.array(table_colour(generator), np.float32)
    scene.page = scene.page + (colour * (0.4 + 1.2 * grain[:, :, None]) - scene.page) * cloth[:, :, None]
    return camera(scene, generator)


def crossed_out(strokes: Sequence[Points], generator: Random) -> Scene:
    """A first attempt beside the digit, scribbled over and small."""
    scene = sheet(strokes, generator, where=(0.35, 0.05, 0.95, 0.95), fill=(0.65, 0.95))
    size = scene.size[1]
    middle = np.array([0.16, generator.uniform(0.3, 0.7)]) * size
    corners = middle + generator.uniform(-0.09, 0.09, (14, 2)) * size

    def draw(brush: ImageDraw.ImageDraw, unit: int) -> None:
        draw_line(brush, corners * unit, 0.6 * scene.pen * unit)

    mix(scene, drawn(scene, draw), [scene.ink] * 3)
    return camera(scene, generator)


def _blurred(shape: Floats, radius: float) -> Floats:
    """Return a shape with soft edges."""
    grey = Image.fromarray(np.asarray(255 * shape, np.uint8))
    return np.asarray(np.asarray(grey.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255, np.float32)
