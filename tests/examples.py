"""Hypothesis profiles: `fixed` draws the same examples on every run, `fuzz` draws new and ten times as many.

`tests/conftest.py` loads `fixed`; the option `--hypothesis-profile=fuzz`, which `make fuzz` passes, replaces
it before test modules are imported. A test with another number of examples sets it with `examples`.
"""

from collections.abc import Collection
from typing import Any

from hypothesis import HealthCheck, Phase, settings

USUAL = 100
"""Examples of a test that sets no number, in the profile `fixed`."""

NEVER_TIMED = (HealthCheck.too_slow,)
"""Health checks that measure wall-clock time: a busy or slow machine must not fail a test."""


def register() -> None:
    """Register both profiles and load `fixed`.

    No example database in either: what an earlier run found must not decide what this one draws. A failure
    prints the lines that reproduce it.
    """
    shared: dict[str, Any] = {
        "database": None,
        "deadline": None,
        "print_blob": True,
        "suppress_health_check": NEVER_TIMED,
    }
    settings.register_profile("fixed", max_examples=USUAL, derandomize=True, **shared)
    settings.register_profile("fuzz", max_examples=10 * USUAL, derandomize=False, **shared)
    settings.load_profile("fixed")


def examples(
    count: int = USUAL, *suppressed: HealthCheck, phases: Collection[Phase] = tuple(Phase)
) -> settings:
    """Return the settings of one test: the loaded profile with another number of examples.

    Args:
        count: Examples in the profile `fixed`; `fuzz` draws ten times as many.
        suppressed: Health checks that do not apply, besides those of the profile.
        phases: Hypothesis' phases to run.
    """
    loaded = settings.get_current_profile_name()
    profile = settings.get_profile(loaded)
    return settings(
        max_examples=count * profile.max_examples // USUAL,
        suppress_health_check=(*NEVER_TIMED, *suppressed),
        phases=phases,
    )
