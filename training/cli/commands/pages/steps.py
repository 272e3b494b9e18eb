"""`steps`: measure each preprocessing step, and write docs/explanation/preprocessing.md."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from training.data import mnist, pen_digits
from training.data.data_sets import DataSet
from training.evaluation.ablation import figure, image_sets, models, page, tables


def run(arguments: Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:  # noqa: ARG001 - one signature for all commands
    """Run the preprocessing ablation, and write its tables and its figure."""
    digits = image_sets.choose_digits(pen_digits.read(data), arguments.digits)
    found = models.load_models(arguments.models, arguments.folds, pen_digits.donors(digits))
    # Checks the page's markers before the measurements, which take minutes; the page can be edited meanwhile.
    page.replace_figures(arguments.page.read_text(encoding="utf-8"), "")
    test = mnist.official_split(data).test
    assert test is not None  # MNIST has one
    sets = []
    for images in image_sets.all_sets(test, digits):
        sets.append(images)
        print(f"preprocessed {images.name}: {len(images.labels):,} digits", flush=True)
    text = tables.to_markdown(found, sets, pen_digits.digest(digits))
    content = arguments.page.read_text(encoding="utf-8")
    arguments.page.write_text(page.replace_figures(content, text), encoding="utf-8")
    figure.draw().save(arguments.page.parent / "images" / "ink-steps.png", optimize=True)
    print(f"Wrote {arguments.page} and its figure.")
