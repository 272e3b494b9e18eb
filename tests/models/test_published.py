"""Every folder below models/ is whole, reproduces its examples, and is what the design names."""

import json
import re
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from service.core.artifact import artifact, checksums
from service.core.artifact.artifact import Artifact
from service.core.inputs import Inputs, scale_of
from service.core.network import dense_layers, onnx_graph
from service.core.network.engine import Engine
from tests import toys
from tests.conftest import REPOSITORY

ROOT = REPOSITORY / "models"

MAX_BYTES = 10_000_000
"""Of one model.onnx."""

DIGITS = tuple("0123456789")

DESIGN: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    "softmax": ((28, 28), (784, 10), 7_850),
    "mlp-128": ((28, 28), (784, 128, 10), 101_770),
    "mlp-512x4": ((28, 28), (784, 512, 512, 512, 512, 10), 1_195_018),
    "flowers17": ((64, 64, 3), (12_288, 128, 128, 128, 17), 1_608_209),
    "letters": ((28, 28), (784, 768, 384, 26), 908_186),
}
"""Shape of an image, widths from input to output, parameters; `ink` may be any network for digits. `letters`
was made by `fit --data`."""

BESIDE_THE_MODELS = {"README.md", "SHA256SUMS", "manifest.schema.json"}

IN_A_FOLDER = {"model.onnx", "manifest.json", "golden.json", "report"}

REPORT_FILES = re.compile(r"[a-z0-9][a-z0-9_-]*\.(json|png|svg|csv)")

PUBLISHED = [(name, version) for name, versions in artifact.versions(ROOT).items() for version in versions]

each_folder = pytest.mark.parametrize(("name", "version"), PUBLISHED)


def forward(published: Artifact, images: Inputs) -> NDArray[np.float64]:
    """Return the logits of a rectifier network, in double precision, from its matrices and biases.

    The matrices are those that the service shows, the biases those that the `onnx` package reads.
    """
    model = onnx.ModelProto.FromString(published.model)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    layers = dense_layers.read(published)
    if published.manifest.layers[0].rounding:
        return forward_in_whole_numbers(published, tensors, images)
    signal = images.reshape(len(images), -1).astype(np.float64) * scale_of(images)  # (B, inputs)
    for layer in published.manifest.layers:
        signal = signal @ layers[layer.name].weight.astype(np.float64) + tensors[layer.bias]  # (B, units)
        if layer.activation == "relu":
            signal = np.maximum(signal, 0)
    return signal


def forward_in_whole_numbers(
    published: Artifact, tensors: Mapping[str, NDArray[Any]], images: Inputs
) -> NDArray[np.float64]:
    """Return the logits of a rounded network, in 64-bit whole numbers, from the file's tensors."""
    signal = images.reshape(len(images), -1).astype(np.int64)
    for layer in published.manifest.layers:
        assert layer.rounding
        sums = signal @ tensors[layer.weight].astype(np.int64) + tensors[layer.bias]
        values = np.asarray(sums * tensors[layer.rounding.step].astype(np.float64))
        if layer.rounding.given:
            counts = np.rint(np.maximum(values, 0) / float(tensors[layer.rounding.given]))
            signal = np.minimum(counts, 255).astype(np.int64)
    return values


def test_something_is_published() -> None:
    """
    The tests below have something to look at: the lesson's two smallest networks at least.
    """
    assert {("softmax", "1"), ("mlp-128", "1")} <= set(PUBLISHED)


@each_folder
def test_folder_is_whole_and_reproduces_its_examples(name: str, version: str) -> None:
    """
    Digests, contract, graph and golden examples are right: the service would serve it.
    """
    published = artifact.read(ROOT, name, version)

    scores = Engine.load(published).run(published.golden.images)

    assert len(scores.logits) >= 2
    np.testing.assert_allclose(scores.probabilities.sum(axis=1), 1, rtol=1e-5)


@each_folder
def test_manifest_fits_the_stored_schema(name: str, version: str) -> None:
    """
    As another program would check it, with the file that lies beside the models.
    """
    schema = jsonschema_rs.Draft202012Validator(json.loads((ROOT / "manifest.schema.json").read_text()))

    schema.validate(json.loads((ROOT / name / version / "manifest.json").read_text()))


@each_folder
def test_network_is_the_product_of_its_matrices(name: str, version: str) -> None:
    """
    Multiplied by hand in double precision, they give the golden logits and probabilities.
    """
    published = artifact.read(ROOT, name, version)
    golden = published.golden

    logits = forward(published, golden.images)

    np.testing.assert_allclose(logits, golden.logits, rtol=golden.tolerance, atol=golden.tolerance)
    probabilities = toys.softmax(np.asarray(logits / published.manifest.temperature, np.float32))
    np.testing.assert_allclose(probabilities, golden.probabilities, atol=golden.tolerance)


ROUNDED = [
    (name, version)
    for name, version in PUBLISHED
    if artifact.read(ROOT, name, version).manifest.layers[0].rounding
]

each_rounded = pytest.mark.parametrize(("name", "version"), ROUNDED)


@each_rounded
def test_rounded_network_gives_the_same_bits_however_it_is_run(name: str, version: str) -> None:
    """
    Alone or together, and as whole numbers say: sums do not depend on their order, and no half on chance.
    """
    published = artifact.read(ROOT, name, version)
    noise = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
    images = np.concatenate([noise, noise // 255 * 255, np.full((1, 28, 28), 255, np.uint8)])
    engine = Engine.load(published)

    together = engine.run(images).logits

    np.testing.assert_array_equal(together, forward(published, images).astype(np.float32))
    alone = np.concatenate([engine.run(images[row : row + 1]).logits for row in range(len(images))])
    np.testing.assert_array_equal(together, alone)


@each_rounded
def test_rounded_network_says_what_it_is_made_of_and_what_it_lost(name: str, version: str) -> None:
    """
    At most 0.05 points of MNIST's test part and of strokes that were not met, from a version that is there.
    """
    quantised: Any = artifact.read(ROOT, name, version).manifest.recipe["quantised"]
    origin = artifact.read(ROOT, *quantised["from"].split("/"))

    assert origin.manifest.sha256["model.onnx"] == quantised["sha256"]
    gates = [loss for loss in quantised["losses"] if loss["is_gate"]]
    assert len(gates) >= 2
    for loss in gates:
        assert loss["before"] - loss["after"] <= 0.0005


@each_folder
def test_weights_are_read_as_the_onnx_package_reads_them(name: str, version: str) -> None:
    """
    Our reader of ONNX files agrees with ONNX's own about every published one.
    """
    data = (ROOT / name / version / "model.onnx").read_bytes()
    model = onnx.ModelProto.FromString(data)
    expected = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

    found = onnx_graph.read(data)

    assert found.operators == {node.op_type for node in model.graph.node}
    assert found.tensors.keys() == expected.keys()
    assert all(np.array_equal(found.tensors[key], tensor) for key, tensor in expected.items())


@each_folder
def test_file_is_complete_and_correct_onnx(name: str, version: str) -> None:
    """
    ONNX's own checker agrees, shapes included.
    """
    data = (ROOT / name / version / "model.onnx").read_bytes()

    onnx.checker.check_model(data, full_check=True)

    assert len(data) <= MAX_BYTES


@each_folder
def test_network_is_the_one_that_the_design_names(name: str, version: str) -> None:
    """
    Shape of an image, widths of the layers, parameters and labels.
    """
    manifest = artifact.read(ROOT, name, version).manifest
    widths = (manifest.layers[0].inputs, *(layer.units for layer in manifest.layers))
    image = manifest.input.shape[1:]

    if name == "ink":
        assert image == (28, 28)
        assert (widths[0], widths[-1]) == (784, 10)
    else:
        assert (image, widths, manifest.parameters) == DESIGN[name]
    assert [layer.activation for layer in manifest.layers] == ["relu"] * (len(widths) - 2) + ["none"]
    if widths[-1] == 10:
        assert manifest.labels == DIGITS
    if name == "letters":
        assert manifest.labels == tuple(string.ascii_lowercase)


@each_folder
def test_every_figure_names_its_conditions(name: str, version: str) -> None:
    """
    Something was measured, on data that the manifest names, and where there are seeds there is a spread.
    """
    manifest = artifact.read(ROOT, name, version).manifest

    assert manifest.data
    assert {metric.fit for metric in manifest.metrics} >= {"published"}
    for metric in manifest.metrics:
        assert (metric.spread is None) == (len(set(metric.seeds)) == 1)


@each_folder
def test_folder_holds_only_what_the_contract_names(name: str, version: str) -> None:
    """
    No checkpoint, no scratch file, nothing hidden.
    """
    folder = ROOT / name / version

    assert {path.name for path in folder.iterdir()} <= IN_A_FOLDER
    report = [path.name for path in (folder / "report").iterdir()] if (folder / "report").is_dir() else []
    assert [file for file in report if not REPORT_FILES.fullmatch(file)] == []


def test_every_published_file_is_listed_with_its_digest() -> None:
    """
    Those that never change, and no others; `sha256sum --check SHA256SUMS` says the same.
    """
    digests = [checksums.of_version(ROOT, name, version) for name, version in PUBLISHED]

    assert checksums.read(ROOT) == {path: digest for each in digests for path, digest in each.items()}


def test_models_folder_holds_only_models_and_three_files() -> None:
    """
    The table, the digests, the schema and the models of the design; versions are numbered without a gap.
    """
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    files = {path.name for path in ROOT.iterdir() if not path.is_dir()}

    assert files <= BESIDE_THE_MODELS
    assert folders <= {*DESIGN, "ink"}
    assert folders == {name for name, _ in PUBLISHED}
    for name in folders:
        versions = sorted(int(path.name) for path in Path(ROOT / name).iterdir())
        assert versions == list(range(1, len(versions) + 1))


def test_the_folder_is_a_repository_for_triton() -> None:
    """
    Names of models are folders and versions below them whole numbers, each with `model.onnx`; whatever Triton
    wants to know besides stands in the graph: tensors, their types, and a first dimension that is free.
    """
    folders = [path for path in ROOT.iterdir() if path.is_dir()]

    assert sorted(folder.name for folder in folders) == sorted({name for name, _ in PUBLISHED})
    for folder in folders:
        for version in folder.iterdir():
            assert version.is_dir()
            assert re.fullmatch("[1-9][0-9]*", version.name)
            graph = onnx.load(version / "model.onnx").graph
            onnx.checker.check_model(version / "model.onnx")
            for tensor in [*graph.input, *graph.output]:
                first, *rest = tensor.type.tensor_type.shape.dim
                assert first.dim_param
                assert all(side.dim_value > 0 for side in rest)
