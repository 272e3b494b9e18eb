"""`import`: publish a network that was trained elsewhere."""

import hashlib
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from training.data.data_sets import DataSet
from training.errors import NotImportable
from training.importing.network import Scaling
from training.importing.publish import Imported, Request, publish_layers, publish_source


def run(arguments: Namespace, data: Path, data_sets: Mapping[str, DataSet]) -> None:
    """Read the network, compare it with its form for the service, and publish it under a new name."""
    del data, data_sets
    request = Request(
        name=arguments.name,
        labels=_labels(arguments.labels),
        shape=arguments.input,
        scaling=Scaling(arguments.scale, arguments.mean, arguments.std),
        preprocessing=arguments.preprocessing,
    )
    _print(_imported(arguments, request), arguments.models)


def _imported(arguments: Namespace, request: Request) -> Imported:
    models: Path = arguments.models
    given = [each for each in (arguments.file, arguments.sklearn, arguments.torch) if each]
    if len(given) != 1:
        raise NotImportable("Name one network: FILE.onnx, --sklearn FILE or --torch MODULE:FACTORY.")
    if arguments.weights and not arguments.torch:
        raise NotImportable("--weights should be with --torch, the module that has them.")
    if arguments.sklearn:
        from training.importing import sklearn_file  # noqa: PLC0415 - needs joblib

        digest = hashlib.sha256(arguments.sklearn.read_bytes()).hexdigest()
        return publish_layers(sklearn_file.read(arguments.sklearn), request, models, digest)
    if arguments.torch:
        from training.importing import torch_module  # noqa: PLC0415 - imports torch, which takes seconds

        content = torch_module.export(arguments.torch, arguments.weights, arguments.input)
        return publish_source(content, request, models, f"PyTorch, {arguments.torch}")
    return publish_source(arguments.file.read_bytes(), request, models, f"ONNX file {arguments.file.name}")


def _labels(text: str | None) -> tuple[str, ...] | None:
    """Return labels that are separated by commas, or the lines of a file."""
    if text is None:
        return None
    path = Path(text)
    if "," not in text and path.is_file():
        return tuple(line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip())
    return tuple(label.strip() for label in text.split(","))


def _print(imported: Imported, models: Path) -> None:
    manifest = imported.artifact.manifest
    shape = list(manifest.input.shape[1:])
    print(f"{imported.artifact.identity} published in {models}.")
    print(f"input: {manifest.input.name}, {manifest.input.dtype}, {shape}")
    print(f"preprocessing: {manifest.preprocessing}")
    print(f"labels: {', '.join(manifest.labels[:20])}{' …' if len(manifest.labels) > 20 else ''}")
    if imported.reason is None:
        widths = [manifest.layers[0].inputs, *(layer.units for layer in manifest.layers)]
        print(f"layers: {'-'.join(map(str, widths))}, explained exactly")
    else:
        print(f"layers: served with predictions alone, not explained: {imported.reason}")
    print(f"logits differ from the original by at most {imported.difference:.1g}")
    if manifest.input.name == "row":
        example = ", ".join(["0"] * min(3, shape[0])) + (", …" if shape[0] > 3 else "")
        print(f'send rows as {{"row": [{example}]}} to /v1/models/{manifest.name}/predict')
