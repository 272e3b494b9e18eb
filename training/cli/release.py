"""Publication on the console: comparison with what is served, and the next command."""

from argparse import Namespace
from pathlib import Path

from service.core.artifact import artifact
from service.core.artifact.artifact import Artifact
from service.core.artifact.report import Report
from service.core.artifact.report import read as read_report
from service.core.artifact.report import write as write_report
from service.core.errors import ReportUnavailable
from service.core.network import dense_layers
from training.cli.console import print_line
from training.data.examples import Split
from training.errors import TrainingError
from training.publishing import release
from training.publishing.publish import Published, same_network
from training.publishing.release import Comparison
from training.report.build import build
from training.report.charts.render import render
from training.report.records import HISTORY_FILE

FINISHED = "finished"
"""Folder of finished networks in the runs folder; it is a models folder too."""


def conclude(arguments: Namespace, finished: Artifact, split: Split) -> None:
    """Compare a finished network with what is served, and publish it if that was asked for.

    It was asked for with `--publish`, or if nothing of its name is published.

    Raises:
        ChanceLevel, WorseThanServed: It is not published; it stays in the runs folder.
        ArtifactError, OSError: As for `release.release`.
    """
    models: Path = arguments.models
    comparison = release.compare(finished, split, models)
    print_line("")
    for line in comparison_table(finished, comparison):
        print_line(line)
    print_line("")
    root = arguments.runs / FINISHED
    if same := same_network(finished, models):
        print_published(Published(same, is_new=False), models)
        return
    if comparison.served and not arguments.publish:
        _explain(finished, comparison, root, arguments)
        return
    release.check(finished, comparison, arguments.anyway)
    published = release.release(finished, root, models)
    manifest = published.artifact.manifest
    if published.is_new:
        _copy_report(finished, root, published.artifact, models)
    print_published(published, models)
    print_line(f"Serve it:  .venv/bin/python -m service --models {models}")
    print_line(f"Use it:    http://127.0.0.1:8000/v1/models/{manifest.name}/predict")


def write_own_report(finished: Artifact, split: Split, root: Path) -> None:
    """Write the report of a network of own data: figures and charts, without an image of the data."""
    folder = root / finished.manifest.name / finished.manifest.version / artifact.REPORT_FOLDER
    records = {HISTORY_FILE: (folder / HISTORY_FILE).read_bytes()}
    _write(build(finished, split, records, {}), finished, root)


def comparison_table(finished: Artifact, comparison: Comparison) -> list[str]:
    """Return a table of the finished network and the version that answers today."""
    examples = comparison.examples
    lines = [f"{f'{examples:,} {comparison.part} images':<28}{'right':>8}{'accuracy':>12}"]
    lines.append(_row(f"{finished.manifest.name}, this fit", comparison.right, examples))
    if comparison.served_right is not None:
        lines.append(_row(f"{comparison.served}, served", comparison.served_right, examples))
    elif comparison.served:
        lines.append(f"{f'{comparison.served}, served':<28}not comparable: {comparison.reason}")
    lines.append(f"{'one class for every image':<28}{'':>8}{100 * comparison.chance:>10.2f} %")
    return lines


def print_published(published: Published, models: Path) -> None:
    """Print the folder of a published network."""
    manifest = published.artifact.manifest
    folder = models / manifest.name / manifest.version
    if published.is_new:
        size = len(published.artifact.model)
        print_line(f"Published {folder}: {manifest.parameters:,} parameters, {size:,} bytes.")
    else:
        print_line(f"Nothing to publish: {folder} is the same network.")


def _row(name: str, right: int, examples: int) -> str:
    return f"{name:<28}{right:>8,}{100 * right / examples:>10.2f} %"


def _explain(finished: Artifact, comparison: Comparison, root: Path, arguments: Namespace) -> None:
    """Print that nothing was published, and what can be done next."""
    folder = root / finished.manifest.name / finished.manifest.version
    print_line(f"Finished {folder}. Nothing was published: {comparison.served} goes on answering.")
    print_line(f"Try it:      .venv/bin/python -m service --models {root} --port 8001")
    try:
        release.check(finished, comparison, arguments.anyway)
    except TrainingError as error:
        print_line(f"Publish it:  {error}")
    else:
        print_line("Publish it:  the same command with --publish")


def _copy_report(finished: Artifact, root: Path, published: Artifact, models: Path) -> None:
    """Write the report of a finished network for its published version; nothing if it has none."""
    try:
        report = read_report(root, finished.manifest)
    except ReportUnavailable:
        return
    _write(report.model_copy(update={"version": published.manifest.version}), published, models)


def _write(report: Report, network: Artifact, root: Path) -> None:
    first = next(iter(dense_layers.read(network).values()))
    drawn, files = render(report, first.weight, network.manifest.input.shape[1:])
    write_report(root, drawn, files)
