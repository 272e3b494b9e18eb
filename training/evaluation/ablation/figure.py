"""Figure of the preprocessing ablation: three digits on canvases, after every step."""

import numpy as np
from PIL import Image, ImageDraw

from training.evaluation.ablation.steps import STEPS, preprocess
from training.synthesis.canvases import generated

_Corners = tuple[tuple[tuple[float, float], ...], ...]

_EXAMPLES: tuple[tuple[generated.Kind, int, _Corners], ...] = (
    ("clean", 33, (((18, 18), (80, 14), (66, 46), (44, 92)), ((32, 56), (70, 50)))),
    ("tools", 24, (((34, 12), (24, 56), (78, 54)), ((66, 20), (62, 92)))),
    ("scan", 5, (((26, 30), (40, 12), (64, 14), (72, 34), (54, 58), (24, 84), (50, 82), (82, 88)),)),
)
"""Kind and seed of a canvas, and the strokes on a page of 100 x 100."""


def draw() -> Image.Image:
    """Draw one row per example: the canvas, then the image after each step."""
    size, gap, title = 112, 8, 16
    columns = ["canvas", *STEPS]
    page = Image.new(
        "L", (len(columns) * (size + gap) + gap, len(_EXAMPLES) * (size + gap) + gap + title), 255
    )
    text = ImageDraw.Draw(page)
    for column, name in enumerate(columns):
        text.text((gap + column * (size + gap), gap // 2), name.removeprefix("+ "), fill=0)
    for row, (kind, seed, corners) in enumerate(_EXAMPLES):
        strokes = [np.array(stroke, np.float64) for stroke in corners]
        canvas = generated.render(strokes, np.random.default_rng(seed), kind)
        cells = [canvas.resize((size, size))]
        cells += [
            Image.fromarray(image).resize((size, size), Image.Resampling.NEAREST)
            for image in preprocess(np.asarray(canvas)).values()
        ]
        for column, image in enumerate(cells):
            page.paste(image, (gap + column * (size + gap), title + gap + row * (size + gap)))
    return page
