"""Replacement of the generated figures in a hand-written page."""

from training.errors import TrainingError

BEGIN, END = "<!-- figures: `python -m training steps` writes them -->", "<!-- end of the figures -->"
"""Markers around the figures."""


def replace_figures(page: str, figures: str) -> str:
    """Return a page with other figures between its two markers.

    Raises:
        TrainingError: A marker is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise TrainingError(f"The page should hold {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}"
