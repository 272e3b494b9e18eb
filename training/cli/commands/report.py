"""`report`: evaluate published networks on their data, and write their reports."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from service.core.artifact import artifact
from service.core.artifact.report import write as write_report
from service.core.network import dense_layers
from training.cli.published import data_of, find_versions
from training.data.data_sets import DataSet
from training.errors import OwnDataUnknown
from training.recipes.lesson import LESSON_FIGURES
from training.report.build import build
from training.report.charts.render import render
from training.report.charts.samples import check_output, draw_extremes
from training.report.current import is_current
from training.report.records import HISTORY_FILE, LESSON_FILE


def run(arguments: Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:
    """Write report.json and charts of each version; with a folder, draw images of the data there."""
    models: Path = arguments.models
    if arguments.pictures:
        check_output(arguments.pictures, models)
    for name, version in find_versions(models, arguments.name, arguments.version):
        published = artifact.read(models, name, version)
        try:
            split = data_of(published.manifest, data, data_sets)
        except OwnDataUnknown as error:
            if arguments.name != "all":
                raise
            print(f"{name} {version}: {error}")
            continue
        folder = models / name / version / artifact.REPORT_FOLDER
        records = {
            file: (folder / file).read_bytes()
            for file in (HISTORY_FILE, LESSON_FILE)
            if (folder / file).is_file()
        }
        report = build(published, split, records, LESSON_FIGURES.get(name, {}))
        if is_current(models, report):
            print(f"{name} {version}: {folder} is up to date, and stays as it is")
        else:
            first = next(iter(dense_layers.read(published).values()))
            report, files = render(report, first.weight, published.manifest.input.shape[1:])
            write_report(models, report, files)
            print(f"{name} {version}: report.json and {len(files)} charts in {folder}")
        for note in report.notes:
            print(f"  {note}")
        if arguments.pictures:
            for path in draw_extremes(report, split, arguments.pictures, arguments.theme):
                print(f"  drew {path}")
