"""Comparison of a report with the one in a published folder.

Another processor or another version of Matplotlib gives other bytes of the same report. Committed files
should not change then.
"""

import math
from pathlib import Path
from typing import get_args

from service.core.artifact import artifact
from service.core.artifact.report import REPORT_FILE, Report, Theme, picture_file

_TOLERANCE = 1e-4
"""Largest relative difference of two numbers that are the same figure, measured on two processors."""


def is_current(models: Path, report: Report) -> bool:
    """Return whether a published folder has a report with these figures, and all of its charts.

    Args:
        models: Models folder.
        report: The report, with or without its list of charts.
    """
    folder = models / report.model / report.version / artifact.REPORT_FOLDER
    try:
        found = Report.model_validate_json((folder / REPORT_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    charts = [picture_file(picture.name, theme) for picture in found.pictures for theme in get_args(Theme)]
    if not charts or not all((folder / chart).is_file() for chart in charts):
        return False
    old, new = (each.model_dump(mode="json", exclude={"pictures"}) for each in (found, report))
    return _are_close(old, new)


def _are_close(old: object, new: object) -> bool:
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_are_close(old[key], new[key]) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_are_close, old, new))
    if isinstance(old, float) and isinstance(new, int | float):
        return math.isclose(old, new, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE / 100)
    return old == new
