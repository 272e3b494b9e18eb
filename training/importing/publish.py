"""Publication of an imported network: input, form of the graph, comparison with the original, folder."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.artifact import artifact
from service.core.artifact.artifact import Artifact
from service.core.artifact.golden import Golden
from service.core.artifact.manifest import LOGITS_NAME, PROBABILITIES_NAME, complete
from service.core.inputs import InputPreprocessing, Inputs, default_preprocessing
from service.core.network import dense_layers, onnx_graph
from service.core.network.engine import Engine
from training.errors import NameTaken, NotImportable
from training.importing import dense_reader, graph, onnx_file
from training.importing.dense_reader import NotDense
from training.importing.network import DenseNetwork, Scaling, fold_input
from training.importing.original import input_shape, run_source
from training.publishing import golden, provenance
from training.publishing.onnx_float import OPSET

_TOLERANCE = 1e-4
"""Tolerance of the golden examples, and of the logits against the original, relative to max(1, |logit|)."""

_ROWS = 8

Run = Callable[[NDArray[np.float32]], NDArray[np.float64]]


@dataclass(frozen=True)
class Request:
    """What a user says of a network.

    Attributes:
        name: Name of the model.
        labels: Names of the classes; None: those of the file, or 0, 1, 2, ….
        shape: Shape of one input, (H, W), (H, W, 3) or (n,); None: found out.
        scaling: How the network's input follows from pixels or numbers.
        preprocessing: Preprocessing of drawings and pictures; None: by the shape.
    """

    name: str
    labels: tuple[str, ...] | None
    shape: tuple[int, ...] | None
    scaling: Scaling
    preprocessing: InputPreprocessing | None


@dataclass(frozen=True)
class Imported:
    """A published network.

    Attributes:
        artifact: The folder.
        reason: Why it is not explained; None if it is.
        difference: Largest difference of logits from the original.
    """

    artifact: Artifact
    reason: str | None
    difference: float


def publish_source(content: bytes, request: Request, models: Path, origin: str) -> Imported:
    """Publish an ONNX file under a name that is not taken.

    Raises:
        NotImportable: It cannot be served, or the shape or the scale has to be given.
        NameTaken: A model of this name exists.
    """
    source = onnx_file.read(content)
    shape = input_shape(source.shape, source.is_uint8, request.shape)
    is_image = len(shape) > 1
    _check_scale(request, is_image and not source.is_uint8)
    factor, offset = request.scaling.affine(shape)

    def run(inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        return run_source(source, shape, inputs * factor.reshape(shape) + offset.reshape(shape))

    digest = hashlib.sha256(content).hexdigest()
    origin = f"{origin}, {source.model.producer_name or 'unknown producer'} {source.model.producer_version}"
    try:
        layers = dense_reader.dense_layers(source)
    except NotDense as error:
        model = graph.of_source(source, shape, is_image, factor, offset)
        return _publish(model, (), shape, source.classes, request, models, run, origin, digest, str(error))
    if len(shape) == 3 and source.shape == (shape[2], *shape[:2]):  # pixels are [height, width, channel]
        order = np.arange(int(np.prod(shape))).reshape(source.shape).transpose(1, 2, 0).reshape(-1)
        first = layers[0]
        layers = (type(first)(first.weight[order], first.bias, first.activation), *layers[1:])
    network = DenseNetwork(layers, None, origin)
    return publish_layers(network, request, models, digest, run, shape)


def publish_layers(
    network: DenseNetwork,
    request: Request,
    models: Path,
    digest: str,
    run: Run | None = None,
    shape: tuple[int, ...] | None = None,
) -> Imported:
    """Publish dense layers under a name that is not taken.

    Args:
        network: The layers, whose input is scaled as `request` says.
        request: What the user says.
        models: The models folder.
        digest: SHA-256 of the file.
        run: Runs the original on unscaled inputs; None: the layers in float64.
        shape: Shape of one input, if it is known.

    Raises:
        NotImportable, NameTaken: As `publish_source`.
    """
    inputs = len(network.layers[0].weight)
    shape = shape or input_shape((inputs,), False, request.shape)
    if int(np.prod(shape)) != inputs:
        raise NotImportable(f"--input should have {inputs:,} numbers; got {list(shape)}.")
    is_image = len(shape) > 1
    _check_scale(request, is_image and run is None)
    factor, offset = request.scaling.affine(shape)
    original = network.layers

    def run_layers(values: NDArray[np.float32]) -> NDArray[np.float64]:
        signal = values.reshape(len(values), -1) * factor + offset
        for layer in original:
            signal = _ACTIVATIONS[layer.activation](signal @ layer.weight + layer.bias)
        return signal

    scaled = fold_input(network, factor * (255 if is_image else 1), offset)
    model = graph.of_layers(scaled.layers, shape, is_image)
    other = {layer.activation for layer in network.layers} - {"relu", "none"}
    reason = f"{', '.join(sorted(other))} is no ReLU" if other else None
    layers = [
        {
            "name": name,
            "inputs": layer.weight.shape[0],
            "units": layer.weight.shape[1],
            "activation": layer.activation,
            "weight": f"{name}.weight",
            "bias": f"{name}.bias",
        }
        for name, layer in zip(graph.names(len(original)), original, strict=True)
    ]
    labelled = request if request.labels or network.labels is None else _with_labels(request, network.labels)
    classes = original[-1].weight.shape[1]
    return _publish(
        model,
        () if other else layers,
        shape,
        classes,
        labelled,
        models,
        run or run_layers,
        network.source,
        digest,
        reason,
    )


_ACTIVATIONS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "none": lambda sums: sums,
    "relu": lambda sums: np.maximum(sums, 0),
    "tanh": np.tanh,
    "sigmoid": lambda sums: 0.5 * (1 + np.tanh(0.5 * sums)),
}


def _with_labels(request: Request, labels: tuple[str, ...]) -> Request:
    return Request(request.name, labels, request.shape, request.scaling, request.preprocessing)


def _publish(
    model: bytes,
    layers: Sequence[Mapping[str, Any]],
    shape: tuple[int, ...],
    classes: int,
    request: Request,
    models: Path,
    run: Run,
    origin: str,
    digest: str,
    reason: str | None,
) -> Imported:
    if artifact.versions_of(models, request.name) or (models / request.name).exists():
        raise NameTaken(request.name)
    labels = request.labels or tuple(str(index) for index in range(classes))
    if len(labels) != classes or len(set(labels)) != classes or classes < 2:
        raise NotImportable(
            f"--labels should be {classes} different names, one per output of the network, at least 2; "
            f"got {len(set(labels))}."
        )
    is_image = len(shape) > 1
    inputs = _examples(shape, is_image, request.scaling)
    preprocessing = request.preprocessing or ("none" if not is_image else _default(shape))
    manifest = {
        "name": request.name,
        "description": f"Imported from {origin}.",
        "input": {
            "name": "image" if is_image else "row",
            "dtype": "uint8" if is_image else "float32",
            "shape": [-1, *shape],
        },
        "outputs": [
            {"name": name, "dtype": "float32", "shape": [-1, classes]}
            for name in (LOGITS_NAME, PROBABILITIES_NAME)
        ],
        "preprocessing": preprocessing,
        "labels": list(labels),
        "layers": list(layers),
        "parameters": _parameters(model, layers),
        "opset": OPSET,
        "recipe": {"imported": {"from": origin, "sha256": digest}},
        "data": [],
        "making": provenance.making(0, 0, provenance.commit(), 1).model_dump(),
        "metrics": [],
    }
    expected = run(inputs.astype(np.float32))
    if not np.isfinite(expected).all():
        raise NotImportable("Scores should be finite; the network gives others for its examples.")
    scale = np.maximum(1, np.abs(expected).max())
    probabilities = _softmax(expected)
    examples = Golden(inputs, expected.astype(np.float32), probabilities, _TOLERANCE)
    digests = dict.fromkeys(("model.onnx", "golden.json"), "0" * 64)
    trial = Artifact(complete(manifest, "1", digests), model, examples)
    engine = Engine.load(trial)  # all that the service checks, before anything is written
    if layers:
        dense_layers.check(trial, dense_layers.read(trial), lambda images: engine.run(images).logits)
    difference = float((np.abs(engine.run(inputs).logits - expected) / scale).max())
    published = artifact.publish(models, manifest, model, examples, {})
    return Imported(published, reason, difference)


def _default(shape: tuple[int, ...]) -> InputPreprocessing:
    """Return the preprocessing of images: resizing, except for 28 x 28, which may be anything."""
    if default_preprocessing(shape) == "mnist":
        return "none"
    return "resize" if len(shape) == 2 or shape[-1] == 3 else "none"


def _parameters(model: bytes, layers: Sequence[Mapping[str, Any]]) -> int:
    if layers:
        return sum(int((layer["inputs"] + 1) * layer["units"]) for layer in layers)
    tensors = onnx_graph.read(model, onnx_graph.OTHER_OPERATORS).tensors.values()
    return max(1, sum(tensor.size for tensor in tensors if tensor.dtype.kind == "f"))


def _examples(shape: tuple[int, ...], is_image: bool, scaling: Scaling) -> Inputs:
    """Return the inputs of the golden examples: images by rule, or rows in the network's range."""
    if is_image:
        return golden.images(shape)
    mean, std = np.array(scaling.mean), np.array(scaling.std)
    noise = np.random.default_rng(0).standard_normal((_ROWS, *shape))
    return np.asarray((mean + std * noise) * (scaling.scale or 1.0), np.float32)


def _check_scale(request: Request, is_needed: bool) -> None:
    if is_needed and request.scaling.scale is None:
        raise NotImportable(
            "A file does not say how its pixels are scaled: say --scale 255 if the network was trained on "
            "pixels 0..1, or --scale 1 if on 0..255."
        )


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)
