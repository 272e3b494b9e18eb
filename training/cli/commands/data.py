"""`data`: download, verify and summarise the data sets."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from training.cli.progress_bars import ProgressBars
from training.data.data_sets import DataSet
from training.data.pen_digits import PEN_DIGITS
from training.data.pen_letters import PEN_LETTERS
from training.data.unipen.conversion import convert, convert_letters


def run(arguments: Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:
    """Download missing files, and print a summary of every data set."""
    if arguments.unipen is not None:
        _convert(arguments.unipen, data)
    for name, data_set in data_sets.items():
        with ProgressBars() as bars:
            downloaded = data_set.download(
                data, lambda name, done, total: bars.show(name, done, total, "B", scale=True)
            )
        for file in downloaded:
            print(f"downloaded {data / data_set.folder / file}")
        print(f"{name} in {data / data_set.folder}: complete and verified")
        for line in data_set.summary(data):
            print(f"  {line}")


def _convert(archive: Path, data: Path) -> None:
    conversion = convert(archive, data)
    print(f"Wrote {PEN_DIGITS.path(data)}: {len(conversion.digits):,} digits.")
    print(f"Wrote {PEN_LETTERS.path(data)}: {convert_letters(archive, data):,} letters.")
    for reason, count in conversion.skipped.items():
        print(f"  {count:,} skipped: {reason}")
