"""Choice of a precision that the processor computes quickly.

bfloat16 without instructions for it is emulated, and about ten times as slow as float32.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from training.recipes.recipe import Recipe

CPUINFO = Path("/proc/cpuinfo")

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""Names in Linux's /proc/cpuinfo: AVX-512, AMX, and Arm's extension."""


def has_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Return whether the processor has instructions for bfloat16; False where Linux does not say."""
    try:
        text = cpuinfo.read_text()
    except OSError:
        return False
    lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return any(_BFLOAT16_FLAGS & set(line.split()) for line in lines)


def choose_precision(recipe: Recipe, notice: Callable[[str], None], cpuinfo: Path = CPUINFO) -> Recipe:
    """Return the recipe in float32 if it asks for bfloat16 and the processor lacks it.

    The manifest has the recipe that this function returns, and so the precision of the fit.

    Args:
        recipe: The recipe; so is its teacher's.
        notice: Called with a message if the precision changes.
        cpuinfo: Path of the processor's description.
    """
    teacher = recipe.teacher and choose_precision(recipe.teacher, notice, cpuinfo)
    if recipe.precision == "bfloat16" and not has_bfloat16(cpuinfo):
        notice(f"{recipe.name} is fitted in float32: this processor has no instructions for bfloat16")
        return replace(recipe, precision="float32", teacher=teacher)
    return recipe if teacher == recipe.teacher else replace(recipe, teacher=teacher)
