"""`sample`: draw images of one class."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from service.core.artifact import artifact
from training.cli.published import data_of, find_versions
from training.data.data_sets import DataSet
from training.errors import UnknownName
from training.report.charts.samples import check_output, sample


def run(arguments: Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:
    """Draw the first images of a class in a part of a published network's data."""
    check_output(arguments.out, arguments.models)
    (name, version), *_ = find_versions(arguments.models, arguments.name, arguments.version)[::-1]
    manifest = artifact.read(arguments.models, name, version).manifest
    split = data_of(manifest, data, data_sets)
    for kind, got, known in (
        ("Part", arguments.part, list(split.parts)),
        ("Class", arguments.label, list(split.classes)),
    ):
        if got not in known:
            raise UnknownName(kind, got, known)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_bytes(sample(split, arguments.part, arguments.label, arguments.theme))
    print(f"Drew {arguments.out}.")
