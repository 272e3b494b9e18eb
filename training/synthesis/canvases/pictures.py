"""Pictures with more than paper and one digit on them: a table beside the sheet, shadows, boxes, neighbours.

One function per kind, each a few lines that draw the least which shows the difficulty. `DESIGN` kinds were
used to develop the segmentation, `HELD_OUT` kinds only to measure it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from training.synthesis.polylines import Points

Floats = NDArray[np.float32]
Random = np.random.Generator


@dataclass
class Scene:
    """A sheet with one digit.

    Attributes:
        page: (H, W, 3) float32, red, green, blue, 0 to 255.
        box: Left, top, right and bottom of the digit, in pixels.
        pen: Pen width, in pixels.
        paper: Grey level of the paper.
        ink: Grey level of the ink.
    """

    page: Floats
    box: tuple[float, float, float, float]
    pen: float
    paper: float
    ink: float

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.page.shape[0], self.page.shape[1]


Kind = Callable[[Sequence[Points], Random], Scene]


def render(strokes: Sequence[Points], generator: Random, kind: str) -> Image.Image:
    """Draw strokes on a picture of one kind.

    Args:
        strokes: One (points, 2) array per stroke, points >= 1: x to the right, y downwards, in any unit.
        generator: Source of randomness; the same state gives the same picture.
        kind: A key of `KINDS`.

    Returns:
        A colour picture ("RGB").
    """
    scene = KINDS[kind](strokes, generator)
    return Image.fromarray(np.clip(np.rint(scene.page), 0, 255).astype(np.uint8))


def sheet(
    strokes: Sequence[Points],
    generator: Random,
    *,
    fill: tuple[float, float] = (0.3, 0.6),
    where: tuple[float, float, float, float] = (0.05, 0.05, 0.95, 0.95),
    colours: tuple[Sequence[float], Sequence[float]] | None = None,
) -> Scene:
    """Draw strokes dark on light.

    Args:
        strokes: As `render` takes them.
        generator: Source of randomness.
        fill: Range of the digit's larger side, relative to the smaller side of `where`.
        where: Left, top, right and bottom of the region that the digit lies in, 0 to 1.
        colours: Of paper and ink, red, green, blue; None for random greys.
    """
    side = int(generator.integers(300, 700))
    left, top, right, bottom = (share * side for share in where)
    room = np.array([right - left, bottom - top])
    larger = generator.uniform(*fill) * float(room.min())
    pen = max(larger * generator.uniform(0.06, 0.13), 3.0)
    points = np.concatenate(strokes)
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    scale = (larger - pen) / max(float(extent.max()), 1e-6)
    corner = np.array([left, top]) + pen / 2 + generator.uniform(0, 1, 2) * (room - extent * scale - pen)
    placed = [(stroke - low) * scale + corner for stroke in strokes]
    mask = Image.new("L", (2 * side, 2 * side), 0)
    brush = ImageDraw.Draw(mask)
    for stroke in placed:
        draw_line(brush, stroke * 2, pen * 2)
    coverage = np.asarray(mask.reduce(2), np.float32)[:, :, None] / 255
    if colours is None:
        paper, ink = generator.uniform(215, 252), generator.uniform(10, 90)
        colours = ([paper] * 3, [ink] * 3)
    background, foreground = (np.array(colour, np.float32) for colour in colours)
    page = background + (foreground - background) * coverage
    box = (*corner - pen / 2, *(corner + extent * scale + pen / 2))
    grey = float(background.mean()), float(foreground.mean())
    return Scene(np.asarray(page, np.float32), box, pen, *grey)


def draw_line(brush: ImageDraw.ImageDraw, stroke: Points, pen: float, fill: int = 255) -> None:
    """Draw a polyline with a round pen."""
    corners = [(float(x), float(y)) for x, y in stroke]
    if len(corners) > 1:
        brush.line(corners, fill=fill, width=max(1, round(pen)))
    for x, y in corners:
        brush.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=fill)


def camera(scene: Scene, generator: Random) -> Scene:
    """Add what a camera adds: blur, uneven light and noise."""
    height, width = scene.size
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    slope_x, slope_y = generator.uniform(-0.12, 0.12, 2)
    light = (1 + slope_x * x + slope_y * y)[:, :, None]
    blurred = Image.fromarray(np.clip(scene.page, 0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(generator.uniform(0.3, 1.5))
    )
    noise = generator.normal(0, generator.uniform(1, 7), (height, width, 1))
    scene.page = np.asarray(np.asarray(blurred, np.float32) * light + noise, np.float32)
    return scene


def _mix(scene: Scene, share: Floats, colour: Sequence[float]) -> None:
    """Paint a colour over the page where `share`, (H, W) 0 to 1, is above 0."""
    scene.page = np.asarray(
        scene.page + (np.array(colour, np.float32) - scene.page) * share[:, :, None], np.float32
    )


def _drawn(scene: Scene, draw: Callable[[ImageDraw.ImageDraw, int], None]) -> Floats:
    """Return what a function draws, in a picture of twice the size: (H, W) float32, 0 to 1."""
    height, width = scene.size
    mask = Image.new("L", (2 * width, 2 * height), 0)
    draw(ImageDraw.Draw(mask), 2)
    return np.asarray(np.asarray(mask.reduce(2), np.float32) / 255, np.float32)


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
    _mix(scene, np.asarray(np.rot90(table, -side), np.float32), _table_colour(generator))
    return camera(scene, generator)


def _table_colour(generator: Random) -> list[float]:
    grey = generator.uniform(30, 150)
    return [grey * tint for tint in generator.uniform(0.75, 1.15, 3)]


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
    _mix(scene, np.asarray(1 - inside, np.float32), _table_colour(generator))
    return camera(scene, generator)


def hard_shadow(strokes: Sequence[Points], generator: Random) -> Scene:
    """A shadow with a sharp edge across the sheet, and perhaps across the digit."""
    scene = camera(sheet(strokes, generator), generator)
    scene.page *= 1 - (1 - generator.uniform(0.45, 0.75)) * _half_plane(scene, generator)[:, :, None]
    return scene


def _half_plane(scene: Scene, generator: Random) -> Floats:
    """Return 1 on one side of a random line through the middle of the picture, 0 on the other."""
    height, width = scene.size
    angle = generator.uniform(0, 2 * math.pi)
    x, y = np.meshgrid(np.arange(width) - width / 2, np.arange(height) - height / 2)
    away = x * math.cos(angle) + y * math.sin(angle) - generator.uniform(-0.3, 0.3) * width
    return np.asarray(np.clip(away / generator.uniform(1, 6), 0, 1), np.float32)


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

    _mix(scene, _drawn(scene, draw), [generator.uniform(20, 130)] * 3)
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

    _mix(scene, _drawn(scene, draw), [scene.ink] * 3)
    return camera(scene, generator)


def dark_frame(strokes: Sequence[Points], generator: Random) -> Scene:
    """A dark frame round the picture, as round a canvas on a screenshot, of up to a tenth of it."""
    scene = sheet(strokes, generator, where=(0.15, 0.15, 0.85, 0.85), fill=(0.5, 0.9))
    height, width = scene.size
    edge = max(2, round(generator.uniform(0.01, 0.1) * width))
    frame = np.ones((height, width), np.float32)
    frame[edge:-edge, edge:-edge] = 0
    _mix(scene, frame, [generator.uniform(0, 110)] * 3)
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

    _mix(scene, _drawn(scene, draw), [scene.ink] * 3)
    return camera(scene, generator)


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


def plain(strokes: Sequence[Points], generator: Random) -> Scene:
    """A sheet and nothing else."""
    return camera(sheet(strokes, generator), generator)


# --- More of them


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

    outside = 1 - _drawn(scene, draw)
    y = np.arange(height)[:, None]
    x = np.arange(width)[None]
    waves = np.sin(y * generator.uniform(0.2, 0.8) + 3 * np.sin(x * generator.uniform(0.005, 0.03)))
    base = np.array(_table_colour(generator), np.float32)
    grain = base * (1 + generator.uniform(0.1, 0.35) * waves[:, :, None])
    scene.page = np.asarray(scene.page + (grain - scene.page) * outside[:, :, None], np.float32)
    return camera(scene, generator)


def shadow_and_table(strokes: Sequence[Points], generator: Random) -> Scene:
    """A table along one side, and a shadow across both."""
    scene = table_on_one_side(strokes, generator, 0.3)
    scene.page *= 1 - (1 - generator.uniform(0.5, 0.75)) * _half_plane(scene, generator)[:, :, None]
    return scene


def page_edge(strokes: Sequence[Points], generator: Random) -> Scene:
    """The edge of a page: another white page beside it, and the thin shadow between the two."""
    scene = sheet(strokes, generator, where=(0.22, 0.05, 0.95, 0.95), fill=(0.45, 0.85))
    height, width = scene.size
    share = generator.uniform(0.03, 0.15)
    edge = share * width + math.tan(math.radians(generator.uniform(-3, 3))) * (np.arange(height) - height / 2)
    away = np.arange(width)[None] - edge[:, None]
    other = np.clip(-away, 0, 1)
    _mix(scene, np.asarray(other, np.float32), [scene.paper * generator.uniform(0.85, 1.0)] * 3)
    shade = generator.uniform(0.3, 0.7) * np.exp(-np.abs(away) / generator.uniform(1, 5))
    _mix(scene, np.asarray(shade, np.float32), [40] * 3)
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

    _mix(scene, _drawn(scene, draw), [generator.uniform(0, 60)] * 3)
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

    _mix(scene, _drawn(scene, draw), [200, 140, 110])
    return camera(scene, generator)


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

        _mix(scene, _drawn(scene, draw), [float(level) for level in colour])
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


# --- Paper, boards and light that were recognised before the segmentation knew more than paper and ink


def grid_paper(strokes: Sequence[Points], generator: Random) -> Scene:
    """Squared paper with pale lines."""
    scene = sheet(strokes, generator)
    _mix(scene, _ruled(scene, generator, (True, True)), [150, 175, 215])
    return camera(scene, generator)


def ruled_paper(strokes: Sequence[Points], generator: Random) -> Scene:
    """Lined paper with pale lines."""
    scene = sheet(strokes, generator)
    _mix(scene, _ruled(scene, generator, (False, True)), [150, 175, 215])
    return camera(scene, generator)


def _ruled(scene: Scene, generator: Random, axes_used: tuple[bool, bool]) -> Floats:
    height, width = scene.size
    step = generator.uniform(0.05, 0.12) * width
    line = max(1.0, 0.003 * width)

    def draw(brush: ImageDraw.ImageDraw, unit: int) -> None:
        for place in np.arange(step / 2, width, step):
            if axes_used[0]:
                brush.line(
                    [(place * unit, 0), (place * unit, height * unit)], fill=255, width=round(line * unit)
                )
            if axes_used[1]:
                brush.line(
                    [(0, place * unit), (width * unit, place * unit)], fill=255, width=round(line * unit)
                )

    return _drawn(scene, draw)


def chalk(strokes: Sequence[Points], generator: Random) -> Scene:
    """Light, grainy chalk on a dark board."""
    board, light = generator.uniform(30, 80), generator.uniform(190, 240)
    scene = sheet(strokes, generator, colours=([board * 0.8, board, board * 0.9], [light] * 3))
    height, width = scene.size
    grain = generator.uniform(0.55, 1, (height, width, 1))
    background = np.array([board * 0.8, board, board * 0.9], np.float32)
    scene.page = np.asarray(background + (scene.page - background) * grain, np.float32)
    return camera(scene, generator)


def glare(strokes: Sequence[Points], generator: Random) -> Scene:
    """A bright, soft reflection on the sheet."""
    scene = sheet(strokes, generator, colours=([generator.uniform(150, 190)] * 3, [30.0] * 3))
    height, width = scene.size
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    middle_x, middle_y = generator.uniform(-0.9, 0.9, 2)
    spot = np.exp(-((x - middle_x) ** 2 + (y - middle_y) ** 2) / generator.uniform(0.1, 0.5))
    _mix(scene, np.asarray(0.6 * spot, np.float32), [255] * 3)
    return camera(scene, generator)


def lined_paper_and_table(strokes: Sequence[Points], generator: Random) -> Scene:
    """Lined paper with a table on its left."""
    scene = ruled_paper(strokes, generator)
    height, width = scene.size
    table = np.zeros((height, width), np.float32)
    table[:, : int(generator.uniform(0.02, 0.05) * width)] = 1
    _mix(scene, table, _table_colour(generator))
    return camera(scene, generator)


def grid_paper_and_table(strokes: Sequence[Points], generator: Random) -> Scene:
    """Squared paper with a table all round."""
    scene = sheet(strokes, generator, where=(0.2, 0.2, 0.8, 0.8), fill=(0.6, 1.0))
    _mix(scene, _ruled(scene, generator, (True, True)), [150, 175, 215])
    _mix(scene, _border(scene, generator.uniform(0.04, 0.12)), _table_colour(generator))
    return camera(scene, generator)


def _border(scene: Scene, share: float) -> Floats:
    height, width = scene.size
    edge = max(2, int(share * width))
    border = np.ones((height, width), np.float32)
    border[edge:-edge, edge:-edge] = 0
    return border


def framed_blackboard(strokes: Sequence[Points], generator: Random) -> Scene:
    """Chalk on a board with a wooden frame."""
    scene = chalk(strokes, generator)
    _mix(scene, _border(scene, generator.uniform(0.01, 0.045)), [150, 110, 60])
    return scene


def lighter_table(strokes: Sequence[Points], generator: Random) -> Scene:
    """Grey paper on a white table."""
    grey = [float(generator.uniform(170, 200))] * 3
    scene = sheet(
        strokes, generator, where=(0.3, 0.05, 0.95, 0.95), fill=(0.45, 0.9), colours=(grey, [40] * 3)
    )
    height, width = scene.size
    table = np.zeros((height, width), np.float32)
    table[:, : int(generator.uniform(0.05, 0.25) * width)] = 1
    _mix(scene, table, [250, 250, 250])
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

    _mix(scene, _drawn(scene, draw), [60] * 3)
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
    _mix(scene, np.asarray(crease, np.float32), [60] * 3)
    scene.page *= np.asarray(np.where(away > 0, 0.85, 1), np.float32)[:, :, None]
    return camera(scene, generator)


def yellow_pen(strokes: Sequence[Points], generator: Random) -> Scene:
    """A marker that is nearly as bright as the paper."""
    return camera(sheet(strokes, generator, colours=([245] * 3, [250, 225, 40])), generator)


def sticky_note(strokes: Sequence[Points], generator: Random) -> Scene:
    """Blue ink on yellow paper."""
    return camera(sheet(strokes, generator, colours=([250, 235, 90], [40, 60, 160])), generator)


DESIGN: dict[str, Kind] = {
    "plain": plain,
    "table on one side": table_on_one_side,
    "table all round": table_all_round,
    "hard shadow": hard_shadow,
    "printed box": printed_box,
    "underline": underline,
    "dark frame": dark_frame,
    "neighbour": neighbour,
    "two colours": two_colours,
    "gradient": gradient,
    "wooden table": wooden_table,
    "shadow and table": shadow_and_table,
    "axes": axes,
    "lines over": lines_over,
}

HELD_OUT: dict[str, Kind] = {
    "page edge": page_edge,
    "thumb": thumb,
    "pencil": pencil,
    "lined paper and table": lined_paper_and_table,
    "grid paper and table": grid_paper_and_table,
    "framed blackboard": framed_blackboard,
    "lighter table": lighter_table,
    "lines of text": lines_of_text,
    "vignette": vignette,
    "fold": fold,
    "yellow pen": yellow_pen,
    "sticky note": sticky_note,
}

WORKING: dict[str, Kind] = {
    "grid paper": grid_paper,
    "ruled paper": ruled_paper,
    "chalk": chalk,
    "glare": glare,
}

KINDS = DESIGN | HELD_OUT | WORKING
"""All kinds by name."""
