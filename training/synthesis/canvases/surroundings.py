"""Kinds of pictures with something beside the sheet or the digit: tables, shadows, boxes, neighbours."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import ImageDraw

from training.synthesis.canvases.scene import (
    Random,
    Scene,
    camera,
    draw_line,
    drawn,
    half_plane,
    mix,
    sheet,
    table_colour,
)
from training.synthesis.polylines import Points


def table_on_one_side(strokes: Sequence[Points], generator: Random, most: float = 0.4) -> Scene:
    """Paper with a darker table showing along one side, 2 to 40 % of the width."""
    share = float(np.exp(generator.uniform(math.log(0.02), math.log(most))))
    side = int(generator.integers(0, 4))
    free = [0.04, 0.04, 0.96, 0.96]
    free[side] += share + 0.02 if side < 2 else -share - 0.02
    left, top, right, bottom = free
    scene = sheet(strokes, generator, where=(left, top, right, bottom), fill=(0.45, 0.9))
    width = scene.size[1]
    slant = math.tan(math.radians(generator.uniform(-2, 2)))
    edge = share * width + slant * (np.arange(width) - width / 2)
    table = np.clip(edge[:, None] - np.arange(width)[None], 0, 1)
    mix(scene, np.asarray(np.rot90(table, -side), np.float32), table_colour(generator))
    return camera(scene, generator)


def table_all_round(strokes: Sequence[Points], generator: Random) -> Scene:
    """A sheet, a little turned, with a darker table on every side."""
    share = generator.uniform(0.04, 0.2)
    scene = sheet(
        strokes, generator, where=(share + 0.07, share + 0.07, 0.93 - share, 0.93 - share), fill=(0.5, 0.95)
    )
    height, width = scene.size
    angle = math.radians(generator.uniform(-4, 4))
    x, y = np.meshgrid(np.arange(width) - width / 2, np.arange(height) - height / 2)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    inside = np.minimum((0.5 - share) * width - np.abs(along), (0.5 - share) * height - np.abs(across)).clip(
        0, 1
    )
    mix(scene, np.asarray(1 - inside, np.float32), table_colour(generator))
    return camera(scene, generator)


def lighter_table(strokes: Sequence[Points], generator: Random) -> Scene:
    """Grey paper on a white table."""
    grey = [float(generator.uniform(170, 200))] * 3
    scene = sheet(
        strokes, generator, where=(0.3, 0.05, 0.95, 0.95), fill=(0.45, 0.9), colours=(grey, [40] * 3)
    )
    height, width = scene.size
    table = np.zeros((height, width), np.float32)
    table[:, : int(generator.uniform(0.05, 0.25) * width)] = 1
    mix(scene, table, [250, 250, 250])
    return camera(scene, generator)


def wooden_table(strokes: Sequence[Points], generator: Random) -> Scene:
    """A sheet in perspective on a table with a grain, on two or four sides."""
    scene = sheet(strokes, generator, where=(0.27, 0.27, 0.73, 0.73), fill=(0.6, 1.0))
    height, width = scene.size
    jitter = generator.uniform(0.02, 0.2, 8)
    corners = [
        (jitter[0], jitter[1]),
        (1 - jitter[2], jitter[3]),
        (1 - jitter[4], 1 - jitter[5]),
        (jitter[6], 1 - jitter[7]),
    ]

    def draw(brush: ImageDraw.ImageDraw, unit: int) -> None:
        brush.polygon([(x * width * unit, y * height * unit) for x, y in corners], fill=255)

    outside = 1 - drawn(scene, draw)
    y = np.arange(height)[:, None]
    x = np.arange(width)[None]
    waves = np.sin(y * generator.uniform(0.2, 0.8) + 3 * np.sin(x * generator.uniform(0.005, 0.03)))
    base = np.array(table_colour(generator), np.float32)
    grain = base * (1 + generator.uniform(0.1, 0.35) * waves[:, :, None])
    scene.page = np.asarray(scene.page + (grain - scene.page) * outside[:, :, None], np.float32)
    return camera(scene, generator)


def hard_shadow(strokes: Sequence[Points], generator: Random) -> Scene:
    """A shadow with a sharp edge across the sheet, and perhaps across the digit."""
    scene = camera(sheet(strokes, generator), generator)
    scene.page *= 1 - (1 - generator.uniform(0.45, 0.75)) * half_plane(scene, generator)[:, :, None]
    return scene


def shadow_and_table(strokes: Sequence[Points], generator: Random) -> Scene:
    """A table along one side, and a shadow across both."""
    scene = table_on_one_side(strokes, generator, 0.3)
    scene.page *= 1 - (1 - generator.uniform(0.5, 0.75)) * half_plane(scene, generator)[:, :, None]
    return scene


def printed_box(strokes: Sequence[Points], generator: Random) -> Scene:
    """A box of a form round the digit."""
    scene = sheet(strokes, generator, fill=(0.3, 0.55), where=(0.15, 0.15, 0.85, 0.85))
    left, top, right, bottom = scene.box
    gap = generator.uniform(0.12, 0.35) * max(right - left, bottom - top)
    line = max(1.5, scene.pen * generator.uniform(0.15, 0.5))
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    half = max(right - left, bottom - top) / 2 + gap

    def draw(brush: ImageDraw.ImageDraw, unit: int) -> None:
        box = [value * unit for value in (middle_x - half, middle_y - half, middle_x + half, middle_y + half)]
        brush.rectangle(box, outline=255, width=max(1, round(line * unit)))

    mix(scene, drawn(scene, draw), [generator.uniform(20, 130)] * 3)
    return camera(scene, generator)


def underline(strokes: Sequence[Points], generator: Random) -> Scene:
    """A line under the digit."""
    scene = sheet(strokes, generator, where=(0.1, 0.05, 0.9, 0.8))
    left, top, right, bottom = scene.box
    size = max(right - left, bottom - top)
    y = bottom + generator.uniform(0.12, 0.25) * size
    start, end = (left + right) / 2 - generator.uniform(0.5, 1.2) * size, (left + right) / 2 + 0.8 * size
    line = scene.pen * generator.uniform(0.4, 1)

    def draw(brush: ImageDraw.ImageDraw, unit: int) -> None:
        brush.line(
            [(start * unit, y * unit), (end * unit, (y + generator.uniform(-0.05, 0.05) * size) * unit)],
            fill=255,
            width=max(1, round(line * unit)),
        )

    mix(scene, drawn(scene, draw), [scene.ink] * 3)
    return camera(scene, generator)


def dark_frame(strokes: Sequence[Points], generator: Random) -> Scene:
    """A dark frame round the picture, as round a canvas on a screenshot, of up to a tenth of it."""
    scene = sheet(strokes, generator, where=(0.15, 0.15, 0.85, 0.85), fill=(0.5, 0.9))
    height, width = scene.size
    edge = max(2, round(generator.uniform(0.01, 0.1) * width))
    frame = np.ones((height, width), np.float32)
    frame[edge:-edge, edge:-edge] = 0
    mix(scene, frame, [generator.uniform(0, 110)] * 3)
    return scene


def neighbour(strokes: Sequence[Points], generator: Random) -> Scene:
    """Ink of a neighbouring digit or letter that reaches in from the edge."""
    scene = sheet(strokes, generator, where=(0.22, 0.1, 0.95, 0.95), fill=(0.55, 0.9))
    height, width = scene.size
    size = scene.box[3] - scene.box[1]
    middle = np.array([0, generator.uniform(0.25, 0.75) * height])
    angles = np.linspace(generator.uniform(-1.6, -0.8), generator.uniform(0.8, 1.6), 20)
    reach = min(generator.uniform(0.05, 0.15) * width, scene.box[0] - 1.2 * scene.pen)
    arc = middle + np.stack((np.cos(angles) * reach, np.sin(angles) * size * 0.4), axis=1)
    arc[:, 0] -= scene.pen / 2

    def draw(brush: ImageDraw.ImageDraw, unit: int) -> None:
        draw_line(brush, arc * unit, scene.pen * unit)

    mix(scene, drawn(scene, draw), [scene.ink] * 3)
    return camera(scene, generator)


def page_edge(strokes: Sequence[Points], generator: Random) -> Scene:
    """The edge of a page: another white page beside it, and the thin shadow between the two."""
    scene = sheet(strokes, generator, where=(0.22, 0.05, 0.95, 0.95), fill=(0.45, 0.85))
    height, width = scene.size
    share = generator.uniform(0.03, 0.15)
    edge = share * width + math.tan(math.radians(generator.uniform(-3, 3))) * (np.arange(height) - height / 2)
    away = np.arange(width)[None] - edge[:, None]
    other = np.clip(-away, 0, 1)
    mix(scene, np.asarray(other, np.float32), [scene.paper * generator.uniform(0.85, 1.0)] * 3)
    shade = generator.uniform(0.3, 0.7) * np.exp(-np.abs(away) / generator.uniform(1, 5))
    mix(scene, np.asarray(shade, np.float32), [40] * 3)
    return camera(scene, generator)


def axes(strokes: Sequence[Points], generator: Random) -> Scene:
    """A plot: thin axes with ticks at the left and below, and the digit between them."""
    scene = sheet(strokes, generator, where=(0.17, 0.08, 0.92, 0.83), fill=(0.6, 1.0))
    height, width = scene.size
    left, bottom = 0.11 * width, 0.89 * height
    line = max(1.0, 0.004 * width)

    def draw(brush: ImageDraw.ImageDraw, unit: int) -> None:
        thick = max(1, round(line * unit))
        brush.line([(left * unit, 0.05 * height * unit), (left * unit, bottom * unit)], fill=255, width=thick)
        brush.line(
            [(left * unit, bottom * unit), (0.95 * width * unit, bottom * unit)], fill=255, width=thick
        )
        for tick in np.linspace(0.12, 0.85, 6):
            y, x = tick * height * unit, (left + tick * 0.95 * width * 0.9) * unit
            brush.line([((left - 0.02 * width) * unit, y), (left * unit, y)], fill=255, width=thick)
            brush.line([(x, bottom * unit), (x, (bottom + 0.02 * height) * unit)], fill=255, width=thick)

    mix(scene, drawn(scene, draw), [generator.uniform(0, 60)] * 3)
    return scene


def thumb(strokes: Sequence[Points], generator: Random) -> Scene:
    """A finger that holds the sheet at its edge."""
    scene = sheet(strokes, generator, where=(0.05, 0.05, 0.95, 0.72), fill=(0.45, 0.9))
    height, width = scene.size
    x, reach = generator.uniform(0.15, 0.85) * width, generator.uniform(0.1, 0.2) * height
    half = generator.uniform(0.05, 0.1) * width

    def draw(brush: ImageDraw.ImageDraw, unit: int) -> None:
        top = height - reach
        brush.ellipse([v * unit for v in (x - half, top, x + half, top + 2 * half)], fill=255)
        brush.rectangle([v * unit for v in (x - half, top + half, x + half, height)], fill=255)

    mix(scene, drawn(scene, draw), [200, 140, 110])
    return camera(scene, generator)


def lines_of_text(strokes: Sequence[Points], generator: Random) -> Scene:
    """Printed text above and below the digit."""
    scene = sheet(strokes, generator, where=(0.15, 0.3, 0.85, 0.7), fill=(0.7, 1.0))
    height, width = scene.size

    def draw(brush: ImageDraw.ImageDraw, unit: int) -> None:
        for y in (0.08, 0.16, 0.85, 0.93):
            x = 0.05
            while x < 0.93:
                end = x + float(generator.uniform(0.02, 0.09))
                word = (x * width, y * height, end * width, (y + 0.018) * height)
                brush.rectangle([side * unit for side in word], fill=255)
                x = end + 0.02

    mix(scene, drawn(scene, draw), [60] * 3)
    return camera(scene, generator)
