"""The trainer's command line: fit, quantise, sweep, report; list recipes, fetch data, verify models.

The only file of the trainer that reads the environment and prints.
"""

import argparse
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from service.core import artifact, checksums, network
from service.core.artifact import Artifact
from service.core.errors import ServiceError
from service.core.manifest import Manifest
from service.core.report import write as write_report
from training.cli.parser import RUNS, TRIALS, parse
from training.data import mnist, pen_digits
from training.data.data_sets import DATA_SETS, DataSet
from training.data.examples import Split
from training.data.unipen import conversion
from training.errors import TrainingError, UnknownName
from training.evaluation.ablation import page as survey
from training.evaluation.ablation import variants as steps
from training.publishing import catalogue
from training.recipes.lesson import LESSON_FIGURES
from training.recipes.recipe import Recipe
from training.recipes.registry import RECIPES

CATALOGUE_FILE = "README.md"
"""In the models folder: the table of what is published."""

DONE, FAILED, INTERRUPTED = 0, 1, 130
"""Exit codes; argparse adds 2 for a command it does not understand."""


def main(
    argv: Sequence[str], environ: Mapping[str, str], data_sets: Mapping[str, DataSet] = DATA_SETS
) -> int:
    """Run one command.

    Args:
        argv: Its words, without the program's name.
        environ: INKLING_DATA names the data folder.
        data_sets: By the names that recipes call them.

    Returns:
        The exit code. What a person can mend is told in one line on stderr.
    """
    data = Path(environ.get("INKLING_DATA") or "data")
    try:
        arguments = parse(argv)
        COMMANDS[arguments.command](arguments, data, data_sets)
    except KeyboardInterrupt:
        return _say("Interrupted. The same command goes on from where it was.", INTERRUPTED)
    except ModuleNotFoundError as error:
        return _say(f"The trainer needs {error.name}: pip install -e '.[training]'", FAILED)
    except (TrainingError, ServiceError, OSError) as error:
        return _say(str(error), FAILED)
    return DONE


def _fit(arguments: argparse.Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:
    # imported here, so that the other commands answer at once and without torch
    from training.cli import console as terminal  # noqa: PLC0415
    from training.cli.progress_bars import Bars  # noqa: PLC0415
    from training.run import Terms, fit_on, run  # noqa: PLC0415

    recipe: Recipe = arguments.recipe
    turns = data_sets[recipe.data].fit_jobs(data, recipe, arguments.runs, lambda line: _write(f"  {line}"))
    print(f"{recipe.name}: {recipe.description}")
    for name, value in recipe.to_dict().items():
        if name not in ("name", "description"):
            print(f"  {name.replace('_', ' '):<18} {_shown(value)}")
    with Bars() as bars:
        terms = Terms(
            turns=turns,
            models=arguments.models,
            runs=arguments.runs,
            watch=lambda title, epochs: terminal.watch(title, epochs, bars, _write),
            notice=lambda line: _write(f"  {line}"),
        )
        if arguments.only:
            fit_on(arguments.only, recipe, terms, arguments.fresh)
            return
        published = run(recipe, terms, arguments.fresh)
    manifest = published.artifact.manifest
    print()
    for line in terminal.summary(manifest.metrics, LESSON_FIGURES.get(recipe.model_name, {})):
        print(line)
    folder = arguments.models / manifest.name / manifest.version
    size = len(published.artifact.model)
    print()
    if published.is_new:
        print(f"Published {folder}: {manifest.parameters:,} parameters, {size:,} bytes.")
    else:
        print(f"Nothing to publish: {folder} is this very network already.")


def _quantise(arguments: argparse.Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:
    # imported here for the same reason: torch takes seconds
    from training.cli import console as terminal  # noqa: PLC0415
    from training.cli.progress_bars import Bars  # noqa: PLC0415
    from training.publishing.publish import publish_derived  # noqa: PLC0415
    from training.quantisation import comparison as losses  # noqa: PLC0415
    from training.quantisation.quantise import quantise  # noqa: PLC0415
    from training.report.build import HISTORY_FILE  # noqa: PLC0415
    from training.run import Terms  # noqa: PLC0415

    models: Path = arguments.models
    published = _newest_in_floats(models, arguments.name, arguments.version)
    base = _recipe_of(published.manifest)
    recipe = replace(base, epochs=arguments.epochs or base.epochs)
    data_set = data_sets[base.data]
    folder = models / published.manifest.name / published.manifest.version
    history = folder / artifact.REPORT_FOLDER / HISTORY_FILE
    with Bars() as bars:
        terms = Terms(
            turns=data_set.fit_jobs(data, recipe, arguments.runs, lambda line: _write(f"  {line}")),
            models=models,
            runs=arguments.runs,
            watch=lambda title, epochs: terminal.watch(title, epochs, bars, _write),
            notice=lambda line: _write(f"  {line}"),
        )
        made = quantise(
            published,
            history.read_bytes() if history.is_file() else b"",
            recipe,
            terms,
            data_set.unseen(data),
        )
    print(f"{published.identity} in whole numbers:")
    for line in terminal.losses(made.losses):
        print(line)
    if arguments.only_measure:
        return
    losses.check(published.manifest.name, made.losses)
    new = publish_derived(made.derived, models)
    manifest = new.artifact.manifest
    folder = models / manifest.name / manifest.version
    if new.is_new:
        print(f"Published {folder}: {len(new.artifact.model):,} bytes.")
    else:
        print(f"Nothing to publish: {folder} is this very network already.")


def _sweep(arguments: argparse.Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:
    # imported here for the same reason: torch, Optuna and Matplotlib take seconds
    from training.cli import console as terminal  # noqa: PLC0415
    from training.cli.progress_bars import Bars  # noqa: PLC0415
    from training.sweep.chart import write  # noqa: PLC0415
    from training.sweep.findings import Findings, text, trial_line  # noqa: PLC0415
    from training.sweep.search import Listener, Terms, mode, sweep  # noqa: PLC0415
    from training.sweep.study import storage_at, storage_in  # noqa: PLC0415

    base: Recipe = arguments.recipe
    folder = arguments.into or RUNS / "sweeps" / base.name
    storage = storage_at(arguments.storage) if arguments.storage else storage_in(folder / "study.db")
    turns = data_sets[base.data].fit_jobs(data, base, RUNS, _write)
    lesson = next(turn.split for turn in turns if turn.split.valid)
    assert lesson.valid  # chosen for it
    folder.mkdir(parents=True, exist_ok=True)
    limit = arguments.trials or (None if arguments.one_at_a_time else TRIALS)
    with Bars() as bars:
        trials = sweep(
            Terms(
                recipe=base,
                classes=len(lesson.classes),
                train=lesson.train,
                valid=lesson.valid,
                storage=storage,
                one_at_a_time=arguments.one_at_a_time,
                trials=limit,
                worker=f"{platform.node()} {os.getpid()}",
                grace_s=arguments.grace,
            ),
            Listener(
                watch=terminal.quiet_watch(bars),
                begun=lambda name, found: _write(f"{name}, in {storage.shown}: {len(found)} trials so far"),
                waiting=lambda others: _write(f"waiting for {others} of other workers"),
                ended=lambda trial, found: _write(trial_line(trial, found, limit)),
            ),
        )
    findings = Findings(base, RECIPES[base.name], arguments.one_at_a_time, trials, limit, len(lesson.valid))
    print()
    for line in text(findings):
        print(line)
    print()
    print(f"Wrote {', '.join(str(path) for path in write(findings, folder, mode(arguments.one_at_a_time)))}.")


def _list(_: argparse.Namespace, __: Path, ___: Mapping[str, DataSet]) -> None:
    for recipe in RECIPES.values():
        print(f"{recipe.name:<14}{recipe.description}")


def _data(arguments: argparse.Namespace, folder: Path, data_sets: Mapping[str, DataSet]) -> None:
    # tqdm belongs to the extra `training`; the other commands do without
    from training.cli.progress_bars import Bars  # noqa: PLC0415

    if arguments.unipen is not None:
        _convert(arguments.unipen, folder)
    for name, data_set in data_sets.items():
        with Bars() as bars:
            fetched = data_set.download(
                folder, lambda name, done, total: bars.show(name, done, total, "B", scale=True)
            )
        for file in fetched:
            print(f"fetched {folder / data_set.folder / file}")
        print(f"{name} in {folder / data_set.folder}: all as it should be")
        for line in data_set.summary(folder):
            print(f"  {line}")


def _convert(archive: Path, folder: Path) -> None:
    converted = conversion.convert(archive, folder)
    print(f"Wrote {pen_digits.PEN_DIGITS.path(folder)}: {len(converted.digits):,} digits.")
    for reason, count in converted.skipped.items():
        print(f"  {count:,} skipped: {reason}")


def _steps(arguments: argparse.Namespace, data: Path, _: Mapping[str, DataSet]) -> None:
    digits = survey.chosen(pen_digits.read(data), arguments.digits)
    found = survey.models(arguments.models, arguments.folds, pen_digits.donors(digits))
    # A page without its marks is told of before minutes go by; the page may be edited meanwhile.
    survey.rewritten(arguments.page.read_text(encoding="utf-8"), "")
    test = mnist.official_split(data).test
    assert test is not None  # MNIST has one
    sets = [survey.mnist_pictures(test)]
    print(f"prepared {sets[-1].name}: {len(sets[-1].labels):,} digits", flush=True)
    for pictures in survey.all_drawings(digits):
        sets.append(pictures)
        print(f"prepared {sets[-1].name}: {len(sets[-1].labels):,} digits", flush=True)
    text = survey.figures(found, sets, pen_digits.digest(digits))
    page = arguments.page.read_text(encoding="utf-8")
    arguments.page.write_text(survey.rewritten(page, text), encoding="utf-8")
    steps.picture().save(arguments.page.parent / "images" / "ink-steps.png", optimize=True)
    print(f"Wrote {arguments.page} and its picture.")


def _models(arguments: argparse.Namespace, _: Path, __: Mapping[str, DataSet]) -> None:
    root: Path = arguments.models
    page = catalogue.page(root)
    (root / CATALOGUE_FILE).write_text(page, encoding="utf-8")
    checksums.update(root, artifact.versions(root))
    for name, versions in artifact.versions(root).items():
        print(f"{name:<12}{', '.join(versions)}: as published")
    print(f"Wrote {root / CATALOGUE_FILE} and {root / checksums.CHECKSUMS_FILE}.")


def _report(arguments: argparse.Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:
    # Matplotlib takes a second to import
    from training.report import build as contents  # noqa: PLC0415
    from training.report.charts import render as pictures  # noqa: PLC0415
    from training.report.charts import samples  # noqa: PLC0415

    models: Path = arguments.models
    if arguments.pictures:
        samples.check_place(arguments.pictures, models)
    for name, version in _published(models, arguments.name, arguments.version):
        published = artifact.read(models, name, version)
        split = _data_of(published.manifest, data, data_sets)
        folder = models / name / version / artifact.REPORT_FOLDER
        records = {
            file: (folder / file).read_bytes()
            for file in (contents.HISTORY_FILE, contents.LESSON_FILE)
            if (folder / file).is_file()
        }
        made = contents.make(published, split, records, LESSON_FIGURES.get(name, {}))
        first = next(iter(network.read(published).values()))
        whole, files = pictures.draw(made, first.weight, published.manifest.input.shape[1:])
        write_report(models, whole, files)
        print(f"{name} {version}: {len(files)} pictures and report.json in {folder}")
        for note in whole.notes:
            print(f"  {note}")
        if arguments.pictures:
            for path in samples.draw_extremes(whole, split, arguments.pictures, arguments.theme):
                print(f"  drew {path}")


def _sample(arguments: argparse.Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:
    # Matplotlib again
    from training.report.charts import samples  # noqa: PLC0415

    samples.check_place(arguments.out, arguments.models)
    (name, version), *_ = _published(arguments.models, arguments.name, arguments.version)[::-1]
    manifest = artifact.read(arguments.models, name, version).manifest
    split = _data_of(manifest, data, data_sets)
    for what, got, known in (
        ("Part", arguments.part, list(split.parts)),
        ("Class", arguments.label, list(split.classes)),
    ):
        if got not in known:
            raise UnknownName(what, got, known)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_bytes(samples.sample(split, arguments.part, arguments.label, arguments.theme))
    print(f"Drew {arguments.out}.")


def _data_of(manifest: Manifest, data: Path, data_sets: Mapping[str, DataSet]) -> Split:
    """Return the data that a published network was fitted and measured on, as its recipe has it."""
    return data_sets[_recipe_of(manifest).data].published_split(data)


def _recipe_of(manifest: Manifest) -> Recipe:
    """Return the recipe that a published network was made by."""
    name = str(manifest.recipe.get("name"))
    if name not in RECIPES:
        raise UnknownName(f"Recipe of {manifest.name}/{manifest.version}", name, list(RECIPES))
    return RECIPES[name]


def _newest_in_floats(models: Path, name: str, version: str | None) -> Artifact:
    """Return the version of that number, or the newest, of those that are not rounded."""
    found = {
        number: published
        for name, number in _published(models, name, None)
        if (published := artifact.read(models, name, number)).manifest.layers[0].rounding is None
    }
    if not found or version not in (None, *found):
        raise UnknownName(f"Version of {name} in floats", str(version), list(found))
    return found[version] if version else next(reversed(found.values()))


def _published(models: Path, name: str, version: str | None) -> list[tuple[str, str]]:
    """Return what is published under a name, oldest version first; `all` is every name."""
    found = artifact.versions(models)
    names = list(found) if name == "all" else [name]
    if missing := [each for each in names if each not in found]:
        raise UnknownName("Model", missing[0], [*found, "all"])
    pairs = [(each, number) for each in names for number in found[each] if version in (None, number)]
    if not pairs:
        raise UnknownName(f"Version of {name}", str(version), found.get(name, []))
    return pairs


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(each) for each in value) or "none"
    if isinstance(value, dict):
        return str(value["name"])  # a teacher, whose own numbers the manifest holds
    return str(value)


COMMANDS: Mapping[str, Callable[[argparse.Namespace, Path, Mapping[str, DataSet]], None]] = {
    "list": _list,
    "data": _data,
    "fit": _fit,
    "quantise": _quantise,
    "sweep": _sweep,
    "models": _models,
    "report": _report,
    "sample": _sample,
    "steps": _steps,
}
"""What is done for each word; all are given what was typed, the data folder and the data sets."""


def _write(line: str) -> None:
    print(line, flush=True)


def _say(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
