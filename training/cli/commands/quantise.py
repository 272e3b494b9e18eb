"""`quantise`: publish a network's next version in int8."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from service.core.artifact import artifact
from training.cli.console import comparison_table, fit_callbacks, print_line, print_notice
from training.cli.progress_bars import ProgressBars
from training.cli.published import find_float_version, recipe_of
from training.cli.release import print_published
from training.data.data_sets import DataSet
from training.fitting.jobs import FitContext
from training.fitting.precision import choose_precision
from training.publishing.publish import publish_quantised
from training.quantisation.comparison import check_gates
from training.quantisation.quantise import quantise
from training.report.records import HISTORY_FILE


def run(arguments: Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:
    """Quantise a float32 version, print the effect, and publish the result if its accuracy suffices."""
    models: Path = arguments.models
    published = find_float_version(models, arguments.name, arguments.version)
    base = recipe_of(published.manifest)
    if arguments.epochs:
        base = replace(base, epochs=arguments.epochs, held_out_epochs=0)
    recipe = choose_precision(base, print_notice)
    data_set = data_sets[base.data]
    folder = models / published.manifest.name / published.manifest.version
    history = folder / artifact.REPORT_FOLDER / HISTORY_FILE
    with ProgressBars() as bars:
        result = quantise(
            published,
            history.read_bytes() if history.is_file() else b"",
            recipe,
            data_set.fit_jobs(data, recipe, arguments.runs, print_notice),
            FitContext(
                runs=arguments.runs,
                callbacks=lambda title, epochs: fit_callbacks(title, epochs, bars, print_line),
                notice=print_notice,
            ),
            data_set.unseen(data),
        )
    print(f"{published.identity} quantised to int8:")
    for line in comparison_table(result.comparisons):
        print(line)
    if arguments.only_measure:
        return
    check_gates(published.manifest.name, result.comparisons)
    print_published(publish_quantised(result.model, models), models)
