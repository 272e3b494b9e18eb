"""The steps of a preparation as an answer shows them: each with a title and a picture."""

import base64
from typing import Any

from service.codecs.pictures import image_files
from service.core.drawing.steps import Trace

_TITLES = {
    "drawn": "As drawn",
    "ink": "Ink found",
    "cropped": "Cropped",
    "pen": "Pen made usual",
    "fitted": "Fitted into 20 x 20",
    "centred": "Centred by mass in 28 x 28",
    "taken": "As the network sees it",
}

_PHOTO_TITLES = {**_TITLES, "drawn": "As photographed", "cropped": "Middle square"}


def write(trace: Trace) -> list[dict[str, Any]]:
    """Return what an answer says of an image's steps, in order, their pictures as data: URLs of PNG files."""
    entries = []
    for step in trace.steps:
        height, width = step.picture.shape[:2]
        titles = _TITLES if step.picture.ndim == 2 else _PHOTO_TITLES
        png = base64.b64encode(image_files.write_png(step.picture)).decode("ascii")
        entries.append(
            {
                "name": step.name,
                "title": titles[step.name],
                "width": width,
                "height": height,
                "picture": f"data:image/png;base64,{png}",
            }
        )
    return entries
