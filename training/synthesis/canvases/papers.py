"""Kinds of paper, boards, pens and light."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from training.synthesis.canvases.scene import (
    Random,
    Scene,
    border,
    camera,
    drawn,
    mix,
    ruled,
    sheet,
    table_colour,
)
from training.synthesis.polylines import Points


def plain(strokes: Sequence[Points], generator: Random) -> Scene:
    """A sheet and nothing else."""
    return camera(sheet(strokes, generator), generator)


def two_colours(strokes: Sequence[Points], generator: Random) -> Scene:
    """Ink and paper of nearly one brightness and two colours."""
    pairs = (
        ((60, 140, 60), (220, 65, 62)),
        ((150, 150, 255), (225, 130, 130)),
        ((255, 190, 120), (150, 215, 255)),
        ((90, 120, 200), (190, 85, 60)),
    )
    paper, ink = pairs[int(generator.integers(len(pairs)))]
    if generator.random() < 0.5:
        paper, ink = ink, paper
    return sheet(strokes, generator, colours=(paper, ink))


def gradient(strokes: Sequence[Points], generator: Random) -> Scene:
    """A background from nearly black to nearly white, with coloured ink."""
    scene = sheet(strokes, generator, colours=([255.0] * 3, [0.0] * 3))
    height, width = scene.size
    angle = generator.uniform(0, 2 * math.pi)
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    across = x * math.cos(angle) + y * math.sin(angle)
    across = (across - across.min()) / np.ptp(across)
    share = 1 - scene.page[:, :, :1] / 255
    inks = ((230, 30, 30), (30, 60, 230), (255, 255, 0), (255, 0, 255))
    ink = np.array(inks[int(generator.integers(len(inks)))], np.float32)
    background = (20 + 225 * across)[:, :, None] * np.ones(3)
    scene.page = np.asarray(background + (ink - background) * share, np.float32)
    return scene


def lines_over(strokes: Sequence[Points], generator: Random) -> Scene:
    """Thin coloured lines over and under the digit."""
    scene = sheet(strokes, generator)
    height, width = scene.size
    for _ in range(int(generator.integers(1, 4))):
        ends = generator.uniform(0, 1, 4) * [width, height, width, height]
        line = scene.pen * generator.uniform(0.1, 0.3)
        colour = generator.permutation([40, 120, 230])

        def draw(
            brush: ImageDraw.ImageDraw, unit: int, ends: NDArray[np.float64] = ends, line: float = line
        ) -> None:
            x0, y0, x1, y1 = (float(end) * unit for end in ends)
            brush.line([(x0, y0), (x1, y1)], fill=255, width=max(1, round(line * unit)))

        mix(scene, drawn(scene, draw), [float(level) for level in colour])
    return camera(scene, generator)


def pencil(strokes: Sequence[Points], generator: Random) -> Scene:
    """A faint, grainy pencil."""
    scene = sheet(strokes, generator, colours=([235.0] * 3, [generator.uniform(150, 195)] * 3))
    height, width = scene.size
    grain = np.asarray(
        Image.fromarray(generator.integers(0, 256, (height, width), np.uint8)).filter(
            ImageFilter.GaussianBlur(0.7)
        ),
        np.float32,
    )
    weak = np.clip((grain - 110) / 60, 0, 1)[:, :, None]
    scene.page = np.asarray(235 + (scene.page - 235) * (0.45 + 0.55 * weak), np.float32)
    return camera(scene, generator)


def grid_paper(strokes: Sequence[Points], generator: Random) -> Scene:
    """Squared paper with pale lines."""
    scene = sheet(strokes, generator)
    mix(scene, ruled(scene, generator, (True, True)), [150, 175, 215])
    return camera(scene, generator)


def ruled_paper(strokes: Sequence[Points], generator: Random) -> Scene:
    """Lined paper with pale lines."""
    scene = sheet(strokes, generator)
    mix(scene, ruled(scene, generator, (False, True)), [150, 175, 215])
    return camera(scene, generator)


def lined_paper_and_table(strokes: Sequence[Points], generator: Random) -> Scene:
    """Lined paper with a table on its left."""
    scene = ruled_paper(strokes, generator)
    height, width = scene.size
    table = np.zeros((height, width), np.float32)
    table[:, : int(generator.uniform(0.02, 0.05) * width)] = 1
    mix(scene, table, table_colour(generator))
    return camera(scene, generator)


def grid_paper_and_table(strokes: Sequence[Points], generator: Random) -> Scene:
    """Squared paper with a table all round."""
    scene = sheet(strokes, generator, where=(0.2, 0.2, 0.8, 0.8), fill=(0.6, 1.0))
    mix(scene, ruled(scene, generator, (True, True)), [150, 175, 215])
    mix(scene, border(scene, generator.uniform(0.04, 0.12)), table_colour(generator))
    return camera(scene, generator)


def chalk(strokes: Sequence[Points], generator: Random) -> Scene:
    """Light, grainy chalk on a dark board."""
    board, light = generator.uniform(30, 80), generator.uniform(190, 240)
    scene = sheet(strokes, generator, colours=([board * 0.8, board, board * 0.9], [light] * 3))
    height, width = scene.size
    grain = generator.uniform(0.55, 1, (height, width, 1))
    background = np.array([board * 0.8, board, board * 0.9], np.float32)
    scene.page = np.asarray(background + (scene.page - background) * grain, np.float32)
    return camera(scene, generator)


def framed_blackboard(strokes: Sequence[Points], generator: Random) -> Scene:
    """Chalk on a board with a wooden frame."""
    scene = chalk(strokes, generator)
    mix(scene, border(scene, generator.uniform(0.01, 0.045)), [150, 110, 60])
    return scene


def glare(strokes: Sequence[Points], generator: Random) -> Scene:
    """A bright, soft reflection on the sheet."""
    scene = sheet(strokes, generator, colours=([generator.uniform(150, 190)] * 3, [30.0] * 3))
    height, width = scene.size
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    middle_x, middle_y = generator.uniform(-0.9, 0.9, 2)
    spot = np.exp(-((x - middle_x) ** 2 + (y - middle_y) ** 2) / generator.uniform(0.1, 0.5))
    mix(scene, np.asarray(0.6 * spot, np.float32), [255] * 3)
    return camera(scene, generator)


def vignette(strokes: Sequence[Points], generator: Random) -> Scene:
    """Light in the middle alone, as of a lamp."""
    scene = sheet(strokes, generator, where=(0.2, 0.2, 0.8, 0.8))
    height, width = scene.size
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    scene.page *= np.asarray(1 - 0.75 * np.clip(x * x + y * y, 0, 1.3) / 1.3, np.float32)[:, :, None]
    return camera(scene, generator)


def fold(strokes: Sequence[Points], generator: Random) -> Scene:
    """A sheet with a fold, darker on one side."""
    scene = sheet(strokes, generator)
    height, width = scene.size
    away = np.arange(width)[None] - generator.uniform(0.2, 0.8) * width
    crease = 0.35 * np.exp(-np.abs(away) / 2) * np.ones((height, 1))
    mix(scene, np.asarray(crease, np.float32), [60] * 3)
    scene.page *= np.asarray(np.where(away > 0, 0.85, 1), np.float32)[:, :, None]
    return camera(scene, generator)


def yellow_pen(strokes: Sequence[Points], generator: Random) -> Scene:
    """Draw a digit with a marker that is nearly as bright as the paper."""
    return camera(sheet(strokes, generator, colours=([245] * 3, [250, 225, 40])), generator)


def sticky_note(strokes: Sequence[Points], generator: Random) -> Scene:
    """Blue ink on yellow paper."""
    return camera(sheet(strokes, generator, colours=([250, 235, 90], [40, 60, 160])), generator)
