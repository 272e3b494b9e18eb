"""`numbers`: measure reading of numbers of several digits, and write docs/explanation/numbers.md."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from training.data import pen_digits
from training.data.data_sets import DataSet
from training.evaluation.ablation import page
from training.evaluation.numbers import groups, tables
from training.evaluation.numbers.groups import FORMS, Group, Readers
from training.evaluation.numbers.samples import by_writer


def run(arguments: Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:  # noqa: ARG001 - one signature for all commands
    """Learn weights if asked to, measure, and write the table."""
    network, held_out = groups.load_networks(arguments.models, arguments.folds)
    uci = by_writer(pen_digits.read(data, pen_digits.UCI_DIGITS))
    names = sorted(uci, key=lambda name: (len(name), name))  # by number
    half = len(names) // 2
    training = Group("UCI, training", {name: uci[name] for name in names[:half]}, network)
    others = Group("UCI, other writers", {name: uci[name] for name in names[half:]}, network)
    readers = groups.published_readers()
    if arguments.learn:
        readers = {form: groups.learn(training, form, arguments.learn, readers[form]) for form in FORMS}
        _print(readers)
    # Checks the page's markers before the measurements, which take minutes; the page can be edited meanwhile.
    page.replace_figures(arguments.page.read_text(encoding="utf-8"), "", page.BEGIN_NUMBERS)
    found = {}
    for group in (others, *groups.by_donor(pen_digits.read(data), held_out)):
        for form in FORMS:
            found.update(groups.measure(group, form, arguments.numbers, readers[form]))
            print(f"measured {group.name}, {form}", flush=True)
    text = tables.to_markdown(found)
    content = arguments.page.read_text(encoding="utf-8")
    arguments.page.write_text(page.replace_figures(content, text, page.BEGIN_NUMBERS), encoding="utf-8")
    print(f"{text}\nWrote {arguments.page}.")


def _print(readers: Readers) -> None:
    for form, reader in readers.items():
        print(f"{form}: {reader.weights}")
        for label, sizes in reader.sizes.items():
            print(f'    "{label}": {sizes},')
