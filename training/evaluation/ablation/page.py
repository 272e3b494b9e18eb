"""Replacement of the generated figures in a hand-written page."""

from training.errors import TrainingError

BEGIN, END = "<!-- figures: `python -m training steps` writes them -->", "<!-- end of the figures -->"
"""Markers around the figures of the ablation."""

BEGIN_NUMBERS = BEGIN.replace("steps", "numbers")
"""Marker before the figures of reading numbers."""


def replace_figures(page: str, figures: str, marker: str = BEGIN) -> str:
    """Return a page with other figures between its two markers.

    Args:
        page: Content of the page.
        figures: What to write between the markers.
        marker: The first marker.

    Raises:
        TrainingError: A marker is missing.
    """
    before, begin, rest = page.partition(marker)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise TrainingError(f"The page should hold {marker} and {END}.")
    return f"{before}{marker}\n\n{figures}\n\n{END}{after}"
