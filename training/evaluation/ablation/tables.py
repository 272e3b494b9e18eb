"""Tables of the preprocessing ablation in Markdown."""

from collections.abc import Iterator, Sequence

import numpy as np

from training.evaluation.ablation import steps
from training.evaluation.ablation.image_sets import ImageSet
from training.evaluation.ablation.models import AblationModel, Accuracy, accuracy


def to_markdown(models: Sequence[AblationModel], sets: Sequence[ImageSet], digest: str) -> str:
    """Return the tables of docs/explanation/preprocessing.md.

    Args:
        models: The networks, one column each.
        sets: The image sets, one table each.
        digest: Digest of the pen digits.
    """
    lines = []
    for images in sets:
        rows = [(step, [accuracy(model, images, step) for model in models]) for step in images.by_step]
        lines += [f"### {images.name}: {len(images.labels):,} digits", "", *_table(models, rows), ""]
    for images in sets:
        if steps.DRAWN in images.by_step:
            lines += [f"### {images.name}, {steps.DRAWN}: donor by donor", ""]
            lines += [*_table(models, list(_by_donor(models, images))), ""]
    for model in models:
        needed = {str(donor) for images in sets for donor in images.donors}
        if missing := sorted(needed - model.held_out.keys()):
            lines += [
                f"`{model.name}` was fitted on these donors.",
                f"The fits without {', '.join(missing)} were not available.",
                "",
            ]
        if model.sure_shares:
            lines += [f"Share of sure predictions of `{model.name}`:", ""]
            lines += ["| images | count | sure |", "|---|---|---|", *model.sure_shares, ""]
    lines.append(f"The drawn digits are those with SHA-256 `{digest[:16]}…`.")
    return "\n".join(lines)


def _by_donor(
    models: Sequence[AblationModel], images: ImageSet
) -> Iterator[tuple[str, list[Accuracy | None]]]:
    for donor in np.unique(images.donors):
        title = f"{donor}, {int((images.donors == donor).sum())} digits"
        yield title, [accuracy(model, images, steps.DRAWN, str(donor)) for model in models]


def _table(
    models: Sequence[AblationModel], rows: Sequence[tuple[str, Sequence[Accuracy | None]]]
) -> list[str]:
    return [
        f"| | {' | '.join(f'`{model.name}`' for model in models)} |",
        f"|---|{'---|' * len(models)}",
        *(
            f"| {title} | {' | '.join('' if cell is None else str(cell) for cell in cells)} |"
            for title, cells in rows
        ),
    ]
