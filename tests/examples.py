"""Hypothesis profiles: `fixed` draws the same examples on every run, `fuzz` draws new and twenty times as
many.

`tests/conftest.py` loads `fixed`; the option `--hypothesis-profile=fuzz`, which `make fuzz` passes, replaces
it before test modules are imported. A test with another number of examples sets it with `examples`.
"""

from collections.abc import Collection
from typing import Any

from hypothesis import HealthCheck, Phase, settings

USUAL = 100
"""Examples of a test that sets no number; `fixed` draws half of them, so that the whole suite stays quick."""

NEVER_TIMED = (HealthCheck.too_slow,)
"""Health checks that measure time: a busy machine must not fail a test."""


def register() -> None:
    """Register both profiles and load `fixed`.

    Neither has an example database: results must not depend on earlier runs. A failure prints the decorator
    that reproduces it.
    """
    shared: dict[str, Any] = {
        "database": None,
        "deadline": None,
        "print_blob": True,
        "suppress_health_check": NEVER_TIMED,
    }
    settings.register_profile("fixed", max_examples=USUAL // 2, derandomize=True, **shared)
    settings.register_profile("fuzz", max_examples=10 * USUAL, derandomize=False, **shared)
    settings.load_profile("fixed")


def examples(
    count: int = USUAL, *suppressed: HealthCheck, phases: Collection[Phase] = tuple(Phase)
) -> settings:
    """Return the settings of one test: the loaded profile with another number of examples.

    Args:
        count: Number of examples, for the usual 100: `fixed` draws half, `fuzz` ten times as many.
        suppressed: Health checks to suppress, besides those of the profile.
        phases: Phases of Hypothesis to run.
    """
    loaded = settings.get_current_profile_name()
    profile = settings.get_profile(loaded)
    return settings(
        max_examples=count * profile.max_examples // USUAL,
        suppress_health_check=(*NEVER_TIMED, *suppressed),
        phases=phases,
    )
