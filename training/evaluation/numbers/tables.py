"""The figures of reading as Markdown."""

from collections.abc import Mapping

from training.evaluation.numbers.figures import Figures

HEAD = (
    "| writers | drawn as | numbers | digits right | whole numbers | of three digits | boxes right |\n"
    "|---|---|---|---|---|---|---|"
)


def to_markdown(found: Mapping[tuple[str, str], Figures]) -> str:
    """Return a table with one row per group of numbers.

    Args:
        found: Figures by writers and form.
    """
    rows = [
        f"| {writers} | {form} | {one.numbers:,} | {one.digits_right:.1%} | {one.numbers_right:.1%} "
        f"| {_percent(one.three_right)} | {one.cut_right:.1%} |"
        for (writers, form), one in found.items()
    ]
    return "\n".join((HEAD, *rows))


def _percent(share: float) -> str:
    return "" if share != share else f"{share:.1%}"  # noqa: PLR0124 - not a number: there are none of three digits
