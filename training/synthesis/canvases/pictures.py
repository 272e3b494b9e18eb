"""Pictures with more than paper and one digit on them: a table beside the sheet, shadows, boxes, neighbours.

One function per kind in the modules beside, each a few lines that draw the least which shows the difficulty.
`DESIGN` kinds were used to develop the segmentation, `HELD_OUT` kinds only to measure it.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from training.synthesis.canvases import papers, photographs, screens, surroundings
from training.synthesis.canvases.scene import Kind, Random
from training.synthesis.polylines import Points


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


DESIGN: dict[str, Kind] = {
    "plain": papers.plain,
    "table on one side": surroundings.table_on_one_side,
    "table all round": surroundings.table_all_round,
    "hard shadow": surroundings.hard_shadow,
    "printed box": surroundings.printed_box,
    "underline": surroundings.underline,
    "dark frame": surroundings.dark_frame,
    "neighbour": surroundings.neighbour,
    "two colours": papers.two_colours,
    "gradient": papers.gradient,
    "wooden table": surroundings.wooden_table,
    "shadow and table": surroundings.shadow_and_table,
    "axes": surroundings.axes,
    "lines over": papers.lines_over,
}

HELD_OUT: dict[str, Kind] = {
    "page edge": surroundings.page_edge,
    "thumb": surroundings.thumb,
    "pencil": papers.pencil,
    "lined paper and table": papers.lined_paper_and_table,
    "grid paper and table": papers.grid_paper_and_table,
    "framed blackboard": papers.framed_blackboard,
    "lighter table": surroundings.lighter_table,
    "lines of text": surroundings.lines_of_text,
    "vignette": papers.vignette,
    "fold": papers.fold,
    "yellow pen": papers.yellow_pen,
    "sticky note": papers.sticky_note,
}

WORKING: dict[str, Kind] = {
    "grid paper": papers.grid_paper,
    "ruled paper": papers.ruled_paper,
    "chalk": papers.chalk,
    "glare": papers.glare,
}

FOUND: dict[str, Kind] = {
    "envelope": photographs.envelope,
    "torn paper": photographs.torn_paper,
    "whiteboard": photographs.whiteboard,
    "two sheets": photographs.two_sheets,
    "finger": photographs.finger,
    "pen on sheet": photographs.pen_on_sheet,
    "notebook": photographs.notebook,
    "spiral notebook": photographs.spiral_notebook,
    "crumpled": photographs.crumpled,
    "back side": photographs.back_side,
    "receipt": photographs.receipt,
    "motion blur": photographs.motion_blur,
    "blinds": photographs.blinds,
    "turned": photographs.turned,
    "palm shadow": photographs.palm_shadow,
    "on dark cloth": photographs.on_dark_cloth,
    "crossed out": photographs.crossed_out,
    "dark mode": screens.dark_mode,
    "toolbar": screens.toolbar,
    "canvas on page": screens.canvas_on_page,
    "photographed screen": screens.photographed_screen,
    "JPEG 10": screens.jpeg_10,
    "small digit": screens.small_digit,
    "fax": screens.fax,
    "date stamp": screens.date_stamp,
    "thick pen": screens.thick_pen,
    "outlined": screens.outlined,
    "shaded outline": screens.shaded_outline,
}

KINDS = DESIGN | HELD_OUT | WORKING | FOUND
"""All kinds by name."""
