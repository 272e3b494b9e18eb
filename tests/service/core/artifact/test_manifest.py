"""`service/core/artifact/manifest.py`: valid and invalid manifests, and their JSON Schema."""

import json
from pathlib import Path

import jsonschema_rs
import pytest

from service.core.artifact import artifact, manifest
from service.core.errors import ManifestInvalid
from tests import toys
from tests.conftest import REPOSITORY
from tests.service.core.artifact.folders import Json, altered, load, publish, read


def test_parameters_of_a_layer(folder: Path) -> None:
    """
    784 inputs and 4 units: 784 * 4 weights and 4 biases.
    """
    assert [layer.parameters for layer in read(folder).manifest.layers] == [3140]


def _int8_layers(first: Json, last: Json) -> list[Json]:
    """Return the layers of a 784-12-4 network with further members of the first and last layer."""
    named = {"weight": "w", "bias": "b"}
    return [
        {"name": "hidden1", "inputs": 784, "units": 12, "activation": "relu", **named, **first},
        {"name": "output", "inputs": 12, "units": 4, "activation": "none", **named, **last},
    ]


HIDDEN: Json = {"rounding": {"step": "s", "given": "g"}}
LAST: Json = {"rounding": {"step": "s", "given": None}}


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        (_int8_layers(HIDDEN, {}), "all quantized or all float32"),
        (_int8_layers({}, LAST), "all quantized or all float32"),
        (_int8_layers(LAST, LAST), "all but the last"),
        (_int8_layers(HIDDEN, HIDDEN), "all but the last"),
        (_int8_layers({**HIDDEN, "activation": "none"}, LAST), "activation relu, all but the last"),
    ],
)
def test_int8_and_float32_layers_cannot_be_mixed(tmp_path: Path, layers: list[Json], reason: str) -> None:
    """
    Hidden int8 layers have ReLU and an output scale, the last one has neither.
    """
    parameters = 784 * 12 + 12 + 12 * 4 + 4

    with pytest.raises(ManifestInvalid, match=reason):
        publish(tmp_path, altered(layers=layers, parameters=parameters))
    publish(tmp_path, altered(layers=_int8_layers(HIDDEN, LAST), parameters=parameters))


def test_stored_schema_is_up_to_date() -> None:
    stored = REPOSITORY / "models" / "manifest.schema.json"

    assert stored.read_text() == manifest.schema()


@pytest.mark.parametrize("said", [{}, {"temperature": 1.0}, {"certainty": None}])
def test_default_values_are_not_written(said: Json) -> None:
    """
    Manifests without temperature or certainty are written as they were read.
    """
    digests = dict.fromkeys(("model.onnx", "golden.json"), "0" * 64)
    whole = manifest.complete(altered(**said), "1", digests)

    written = manifest.write(whole)

    assert (whole.temperature, whole.certainty) == (1.0, None)
    assert json.loads(written).keys() == {*altered(), "version", "sha256", *said}
    assert manifest.write(manifest.parse("quadrants/1", written)) == written


def test_temperature_and_certainty_are_read_back(tmp_path: Path) -> None:
    published = toys.publish(tmp_path, temperature=2.5, certainty=toys.CERTAINTY)

    found = artifact.read(tmp_path, "quadrants", "1").manifest

    assert found == published.manifest
    assert found.temperature == 2.5
    assert found.certainty is not None
    assert found.certainty.model_dump(mode="json") == toys.CERTAINTY


@pytest.mark.parametrize(
    "said",
    [
        {"temperature": 0},
        {"temperature": -1.0},
        {"certainty": {**toys.CERTAINTY, "score": "magic"}},
        {"certainty": {**toys.CERTAINTY, "kept": []}},
        {"certainty": {**toys.CERTAINTY, "passed": [{"images": "blanks", "examples": 1, "share": 1.1}]}},
        {"certainty": {key: value for key, value in toys.CERTAINTY.items() if key != "threshold"}},
    ],
)
def test_invalid_certainty_or_temperature_is_refused(said: Json) -> None:
    digests = dict.fromkeys(("model.onnx", "golden.json"), "0" * 64)

    with pytest.raises(ManifestInvalid, match=next(iter(said))):
        manifest.complete(altered(**said), "1", digests)


@pytest.mark.parametrize(
    ("shape", "named", "expected"),
    [
        ((28, 28), None, "mnist"),
        ((64, 64, 3), None, "resize"),
        ((32, 32, 3), None, "none"),
        ((13,), None, "none"),
        ((28, 28), "letters", "letters"),
        ((28, 28), "resize", "resize"),
        ((28, 28), "none", "none"),
        ((32, 20, 3), "resize", "resize"),
        ((30, 28), "resize", "resize"),
    ],
)
def test_preprocessing_is_named_or_follows_from_the_shape(
    shape: tuple[int, ...], named: str | None, expected: str
) -> None:
    said = {} if named is None else {"preprocessing": named}
    digests = dict.fromkeys(("model.onnx", "golden.json"), "0" * 64)

    whole = manifest.complete(toys.manifest("quadrants", toys.QUARTERS, shape) | said, "1", digests)

    assert whole.input_preprocessing == expected
    assert ("preprocessing" in json.loads(manifest.write(whole))) == (named is not None)


@pytest.mark.parametrize(
    ("shape", "named"),
    [((30, 28), "mnist"), ((64, 64, 3), "letters"), ((32, 32, 2), "resize"), ((9,), "resize")],
)
def test_preprocessing_of_another_shape_is_refused(shape: tuple[int, ...], named: str) -> None:
    """Preprocessing as MNIST makes 28 x 28 only; a picture is resized to one or three channels."""
    digests = dict.fromkeys(("model.onnx", "golden.json"), "0" * 64)
    said = toys.manifest("quadrants", toys.QUARTERS, shape) | {"preprocessing": named}

    with pytest.raises(ManifestInvalid, match=f"preprocessing '{named}' should"):
        manifest.complete(said, "1", digests)


def test_published_manifests_match_the_schema(folder: Path) -> None:
    schema = jsonschema_rs.Draft202012Validator(json.loads(manifest.schema()))

    assert schema.is_valid(load(folder))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Quadrants"},
        {"version": "0"},
        {"favourite": "blue"},
        {"parameters": "many"},
        {"format": 2},
        {"labels": []},
        {"sha256": {"model.onnx": "short"}},
    ],
)
def test_invalid_manifests_do_not_match_the_schema(folder: Path, change: Json) -> None:
    """
    The schema checks names, patterns, types and extra members.
    """
    schema = jsonschema_rs.Draft202012Validator(json.loads(manifest.schema()))

    assert not schema.is_valid({**load(folder), **change})
