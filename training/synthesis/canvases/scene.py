"""A picture of a sheet with one digit: drawing the sheet, painting over it, and what a camera adds."""

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
        strokes: The digit's strokes in pixels, (points, 2) each.
        pen: Pen width, in pixels.
        paper: Grey level of the paper.
        ink: Grey level of the ink.
    """

    page: Floats
    box: tuple[float, float, float, float]
    strokes: Sequence[Points]
    pen: float
    paper: float
    ink: float

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.page.shape[0], self.page.shape[1]


Kind = Callable[[Sequence[Points], Random], Scene]


def sheet(
    strokes: Sequence[Points],
    generator: Random,
    *,
    fill: tuple[float, float] = (0.3, 0.6),
    where: tuple[float, float, float, float] = (0.05, 0.05, 0.95, 0.95),
    colours: tuple[Sequence[float], Sequence[float]] | None = None,
    pens: tuple[float, float] = (0.06, 0.13),
    sides: tuple[int, int] = (300, 700),
) -> Scene:
    """Draw strokes dark on light.

    Args:
        strokes: As `render` takes them.
        generator: Source of randomness.
        fill: Range of the digit's larger side, relative to the smaller side of `where`.
        where: Left, top, right and bottom of the region that the digit lies in, 0 to 1.
        colours: Of paper and ink, red, green, blue; None for random greys.
        pens: Range of the pen width, relative to the digit's larger side.
        sides: Range of the picture's side, in pixels.
    """
    side = int(generator.integers(*sides))
    left, top, right, bottom = (share * side for share in where)
    room = np.array([right - left, bottom - top])
    larger = generator.uniform(*fill) * float(room.min())
    pen = max(larger * generator.uniform(*pens), 3.0)
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
    return Scene(np.asarray(page, np.float32), box, placed, pen, *grey)


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


def mix(scene: Scene, share: Floats, colour: Sequence[float]) -> None:
    """Paint a colour over the page where `share`, (H, W) 0 to 1, is above 0."""
    scene.page = np.asarray(
        scene.page + (np.array(colour, np.float32) - scene.page) * share[:, :, None], np.float32
    )


def drawn(scene: Scene, draw: Callable[[ImageDraw.ImageDraw, int], None]) -> Floats:
    """Return what a function draws, in a picture of twice the size: (H, W) float32, 0 to 1."""
    height, width = scene.size
    mask = Image.new("L", (2 * width, 2 * height), 0)
    draw(ImageDraw.Draw(mask), 2)
    return np.asarray(np.asarray(mask.reduce(2), np.float32) / 255, np.float32)


def polygon(scene: Scene, *corners: tuple[float, float]) -> Floats:
    """Return a filled polygon: (H, W) float32, 0 to 1; corners are x and y relative to the scene's sides."""
    height, width = scene.size

    def draw(brush: ImageDraw.ImageDraw, unit: int) -> None:
        brush.polygon([(x * width * unit, y * height * unit) for x, y in corners], fill=255)

    return drawn(scene, draw)


def lines(scene: Scene, ends: Sequence[tuple[float, float, float, float]], pen: float) -> Floats:
    """Return straight lines: (H, W) float32, 0 to 1.

    Args:
        scene: The scene.
        ends: x and y of both ends of each, relative to the scene's sides.
        pen: Width in pixels.
    """
    height, width = scene.size

    def draw(brush: ImageDraw.ImageDraw, unit: int) -> None:
        for x0, y0, x1, y1 in ends:
            corners = [(x0 * width * unit, y0 * height * unit), (x1 * width * unit, y1 * height * unit)]
            brush.line(corners, fill=255, width=max(1, round(pen * unit)))

    return drawn(scene, draw)


def ellipses(scene: Scene, boxes: Sequence[tuple[float, float, float, float]]) -> Floats:
    """Return filled ellipses: (H, W) float32, 0 to 1; boxes are relative to the scene's sides."""
    height, width = scene.size

    def draw(brush: ImageDraw.ImageDraw, unit: int) -> None:
        for left, top, right, bottom in boxes:
            brush.ellipse(
                [side * unit for side in (left * width, top * height, right * width, bottom * height)],
                fill=255,
            )

    return drawn(scene, draw)


def rectangle(scene: Scene, left: float, top: float, right: float, bottom: float) -> Floats:
    """Return a filled rectangle: (H, W) float32, 0 to 1; its sides are relative to the scene's."""
    return polygon(scene, (left, top), (right, top), (right, bottom), (left, bottom))


def border(scene: Scene, share: float) -> Floats:
    """Return a frame along a scene's edges, `share` of the width wide: (H, W) float32, 0 or 1."""
    height, width = scene.size
    edge = max(2, int(share * width))
    border = np.ones((height, width), np.float32)
    border[edge:-edge, edge:-edge] = 0
    return border


def ruled(scene: Scene, generator: Random, axes_used: tuple[bool, bool]) -> Floats:
    """Return evenly spaced lines across a scene: (H, W) float32, 0 to 1.

    Args:
        scene: The scene.
        generator: Source of randomness, for the distance of the lines.
        axes_used: Whether there are vertical and horizontal lines.
    """
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

    return drawn(scene, draw)


def table_colour(generator: Random) -> list[float]:
    """Return a random colour of a dark table, nearly grey: red, green, blue, 0 to 255."""
    grey = generator.uniform(30, 150)
    return [grey * tint for tint in generator.uniform(0.75, 1.15, 3)]


def half_plane(scene: Scene, generator: Random) -> Floats:
    """Return 1 on one side of a random line through the middle of the picture, 0 on the other."""
    height, width = scene.size
    angle = generator.uniform(0, 2 * math.pi)
    x, y = np.meshgrid(np.arange(width) - width / 2, np.arange(height) - height / 2)
    away = x * math.cos(angle) + y * math.sin(angle) - generator.uniform(-0.3, 0.3) * width
    return np.asarray(np.clip(away / generator.uniform(1, 6), 0, 1), np.float32)
