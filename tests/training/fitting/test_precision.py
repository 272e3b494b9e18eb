from dataclasses import replace
from pathlib import Path

import pytest

from training.fitting.precision import choose_precision, has_bfloat16
from training.recipes.recipe import Recipe


def _processor(folder: Path, flags: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: some processor\n{flags}\n")
    return path


@pytest.fixture
def without(tmp_path: Path) -> Path:
    """A processor without bfloat16."""
    return _processor(tmp_path, "flags\t\t: fpu sse2 avx2 avx512f")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 sse2", True),
        ("flags\t\t: fpu amx_bf16", True),
        ("Features\t: fp asimd bf16", True),
        ("flags\t\t: fpu avx512f", False),
        ("flags\t\t: fpu not_avx512_bf16_at_all", False),
        ("bugs\t\t: avx512_bf16", False),
    ],
)
def test_flags_of_the_processor_decide(tmp_path: Path, flags: str, expected: bool) -> None:
    """
    One of the three names among the flags means that there are instructions for bfloat16.
    """
    assert has_bfloat16(_processor(tmp_path, flags)) is expected


def test_a_processor_that_nothing_is_known_of_has_none(tmp_path: Path) -> None:
    """
    Without /proc/cpuinfo float32 is the safe choice.
    """
    assert not has_bfloat16(tmp_path / "missing")


def test_bfloat16_becomes_float32_and_is_announced(recipe: Recipe, without: Path) -> None:
    """
    The recipe, and with it the manifest, says float32; the user is told why.
    """
    notices: list[str] = []

    chosen = choose_precision(replace(recipe, precision="bfloat16"), notices.append, without)

    assert chosen == replace(recipe, precision="float32")
    assert chosen.digest != replace(recipe, precision="bfloat16").digest  # other bits: another checkpoint
    assert notices == [f"{recipe.name} is fitted in float32: this processor has no instructions for bfloat16"]


def test_a_teacher_is_changed_too(recipe: Recipe, without: Path) -> None:
    """
    A teacher's fit is as slow as a student's.
    """
    teacher = replace(recipe, name="teacher", precision="bfloat16")
    student = replace(recipe, augmentation="digits", versions=1, teacher=teacher)

    chosen = choose_precision(student, lambda _: None, without)

    assert chosen == replace(student, teacher=replace(teacher, precision="float32"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_recipe_that_the_processor_can_compute_stays(
    recipe: Recipe, tmp_path: Path, precision: str
) -> None:
    """
    Nothing is changed or announced.
    """
    asked = replace(recipe, precision=precision)

    assert choose_precision(asked, pytest.fail, _processor(tmp_path, "flags : avx512_bf16")) is asked
