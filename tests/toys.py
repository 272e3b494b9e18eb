"""Toy models, small enough to compute by hand, as published folders.

`quadrants` classifies a 28 x 28 image by the quarter with the most ink: the logit of a quarter is its number
of white pixels. `colours` classifies a 64 x 64 photograph by its dominant colour of three. Built as ONNX
graphs without torch.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.core.artifact import artifact, report
from service.core.artifact.artifact import Artifact
from service.core.artifact.golden import Golden
from service.core.artifact.report import Report
from service.core.network.dense_layers import Dense, Layer

QUARTERS = ("upper left", "upper right", "lower left", "lower right")

COLOURS = ("red rose", "green leaf", "blue bell")

PHOTO = (64, 64, 3)

CERTAINTY: dict[str, Any] = {
    "score": "energy",
    "threshold": 1.0,
    "kept": [{"images": "dots", "examples": 200, "share": 0.99}],
    "passed": [{"images": "blanks", "examples": 50, "share": 0.02}],
}
"""Member `certainty` of a manifest. Four logits of 0 at temperature 0.5 have an energy of log(4) / 2 < 1."""

OPSET = 20


def quadrant_weights() -> NDArray[np.float32]:
    """[units, inputs] = (4, 784): 1 where the pixel lies in the unit's quarter."""
    weights = np.zeros((4, 28, 28), np.float32)
    for unit, (top, left) in enumerate([(0, 0), (0, 14), (14, 0), (14, 14)]):
        weights[unit, top : top + 14, left : left + 14] = 1
    return weights.reshape(4, 784)


def colour_weights() -> NDArray[np.float32]:
    """[units, inputs] = (3, 12288): so much that a photograph of one colour has a logit of 10."""
    weights = np.zeros((3, *PHOTO), np.float32)
    for unit in range(3):
        weights[unit, :, :, unit] = 10 / (64 * 64)
    return weights.reshape(3, -1)


def plain(*colours: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return 64 x 64 photographs of one colour each."""
    return np.stack([np.full(PHOTO, colour, np.uint8) for colour in colours])


def dot(*quarters: int) -> NDArray[np.uint8]:
    """Return a 28 x 28 image with one white pixel in the middle of each named quarter."""
    image = np.zeros((28, 28), np.uint8)
    for quarter in quarters:
        image[7 + 14 * (quarter // 2), 7 + 14 * (quarter % 2)] = 255
    return image


def layers(weights: NDArray[np.float32]) -> dict[str, Layer]:
    """Return a toy's one layer, of which `precision` takes how far its sums may be off.

    Args:
        weights: [units, inputs].
    """
    return {"output": Dense(weights.T, np.zeros(len(weights), np.float32), is_rectified=False)}


def expected_logits(images: NDArray[np.uint8], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what one layer without bias gives, pixels / 255 times weights, computed in double precision."""
    return np.asarray(images.reshape(len(images), -1) / 255.0 @ weights.T.astype(np.float64), np.float32)


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Return the probabilities of logits over a temperature, row by row, computed in double precision."""
    tempered = np.asarray(logits, np.float64) / temperature
    raised = np.exp(tempered - tempered.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)


def onnx_model(
    weights: NDArray[np.float32], shape: tuple[int, ...] = (28, 28), temperature: float = 1.0
) -> onnx.ModelProto:
    """Return one dense layer as a graph: uint8 pixels to logits and probabilities.

    Args:
        weights: [units, inputs] float32.
        shape: Of one image.
        temperature: What logits are divided by before the softmax, by a node of its own unless it is 1.
    """
    units, inputs = weights.shape
    tensors: dict[str, NDArray[Any]] = {
        "scale": np.array(255, np.float32),
        "flat": np.array([-1, inputs], np.int64),
        "output.weight": weights,
        "output.bias": np.zeros(units, np.float32),
    }
    tempering = []
    if temperature != 1:
        tensors["temperature"] = np.array(temperature, np.float32)
        tempering = [helper.make_node("Div", ["logits", "temperature"], ["tempered"])]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["cast", "scale"], ["pixels"]),
            helper.make_node("Reshape", ["pixels", "flat"], ["rows"]),
            helper.make_node("Gemm", ["rows", "output.weight", "output.bias"], ["logits"], transB=1),
            *tempering,
            helper.make_node("Softmax", ["tempered" if tempering else "logits"], ["probabilities"], axis=1),
        ],
        "toy",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", *shape])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", units]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", units]),
        ],
        [numpy_helper.from_array(tensor, name) for name, tensor in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def rounded_tensors(layer: str, seed: int, inputs: int, units: int, given: float | None) -> dict[str, Any]:
    """Return the tensors of a random layer in whole numbers.

    Args:
        layer: Its name.
        seed: Of weights and biases.
        inputs: Of the layer.
        units: Of the layer.
        given: What one of the signal that goes out stands for; None for the last layer.
    """
    generator = np.random.default_rng(seed)
    step = 2.0 ** generator.integers(-14, -11, units) if given else generator.uniform(1e-5, 1e-3, units)
    tensors = {
        "weight": generator.integers(-64, 65, (inputs, units)).astype(np.int8),
        "bias": generator.integers(-9000, 9000, units).astype(np.int32),
        "step": step.astype(np.float32),
        **({"given": np.array(given, np.float32)} if given else {}),
    }
    return {f"{layer}.{name}": tensor for name, tensor in tensors.items()}


def rounded_model(layers: Sequence[Mapping[str, Any]], shape: tuple[int, ...]) -> onnx.ModelProto:
    """Return layers in whole numbers as a graph: uint8 pixels to logits and probabilities.

    Args:
        layers: Each as `rounded_tensors` gives it, from input to output.
        shape: Of one image.
    """
    tensors: dict[str, Any] = {"flat": np.array([-1, math.prod(shape)], np.int64), "zero": np.uint8(0)}
    nodes = [helper.make_node("Reshape", ["image", "flat"], ["signal0"])]
    for depth, layer in enumerate(layers):
        tensors |= layer
        weight, bias, step, *given = layer
        sums = f"sums{depth}" if given else "logits"
        nodes += [
            helper.make_node("MatMulInteger", [f"signal{depth}", weight], [f"products{depth}"]),
            helper.make_node("Add", [f"products{depth}", bias], [f"whole{depth}"]),
            helper.make_node("Cast", [f"whole{depth}"], [f"cast{depth}"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"cast{depth}", step], [sums]),
        ]
        if given:
            nodes += [
                helper.make_node("Relu", [sums], [f"relu{depth}"]),
                helper.make_node("QuantizeLinear", [f"relu{depth}", *given, "zero"], [f"signal{depth + 1}"]),
            ]
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
    classes = len(tensors[bias])
    graph = helper.make_graph(
        nodes,
        "rounded toy",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", *shape])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", classes]),
        ],
        [numpy_helper.from_array(np.asarray(tensor), name) for name, tensor in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def rounded_logits(layers: Sequence[Mapping[str, Any]], images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What such a graph gives, worked out in Python's whole numbers."""
    signal = images.reshape(len(images), -1).astype(np.int64)
    for layer in layers:
        weight, bias, step, *given = layer.values()
        values = (signal @ weight.astype(np.int64) + bias) * step.astype(np.float64)
        if given:
            signal = np.clip(np.rint(np.maximum(values, 0) / float(given[0])), 0, 255).astype(np.int64)
    return np.asarray(values)


def publish_rounded(root: Path) -> Artifact:
    """Publish a network in whole numbers, 784-12-4 with random weights, under the next free version."""
    layers = [
        rounded_tensors("hidden1", 1, 784, 12, given=0.125),
        rounded_tensors("output", 2, 12, 4, given=None),
    ]
    images = np.stack([dot(0), dot(3), dot(0, 1, 2)])
    logits = rounded_logits(layers, images).astype(np.float32)
    whole = manifest("rounded", QUARTERS)
    whole["layers"] = [
        {
            "name": name,
            "inputs": inputs,
            "units": units,
            "activation": "relu" if given else "none",
            "weight": f"{name}.weight",
            "bias": f"{name}.bias",
            "rounding": {"step": f"{name}.step", "given": given},
        }
        for name, inputs, units, given in (("hidden1", 784, 12, "hidden1.given"), ("output", 12, 4, None))
    ]
    whole["parameters"] = 784 * 12 + 12 + 12 * 4 + 4
    golden = Golden(images, logits, softmax(logits), 1e-4)
    model = rounded_model(layers, (28, 28))
    return artifact.publish(root, whole, model.SerializeToString(), golden, {"history.json": b"[]\n"})


def manifest(name: str, labels: tuple[str, ...], shape: tuple[int, ...] = (28, 28)) -> dict[str, Any]:
    """Return the manifest of one dense layer, as `artifact.publish` takes it."""
    classes, inputs = len(labels), math.prod(shape)
    digest = "0" * 64
    measured = {"fit": "published", "data": "none", "split": "test", "examples": 10, "seeds": [1]}
    return {
        "name": name,
        "description": "A toy.",
        "input": {"name": "image", "dtype": "uint8", "shape": [-1, *shape]},
        "outputs": [
            {"name": "logits", "dtype": "float32", "shape": [-1, classes]},
            {"name": "probabilities", "dtype": "float32", "shape": [-1, classes]},
        ],
        "labels": list(labels),
        "layers": [
            {
                "name": "output",
                "inputs": inputs,
                "units": classes,
                "activation": "none",
                "weight": "output.weight",
                "bias": "output.bias",
            }
        ],
        "parameters": inputs * classes + classes,
        "opset": OPSET,
        "recipe": {"epochs": 0},
        "data": [{"name": "none", "split": "train", "examples": 1, "sha256": digest}],
        "making": {
            "finished": "2026-01-01T00:00:00Z",
            "seconds": 0.0,
            "seed": 1,
            "hardware": "a head",
            "threads": 1,
            "commit": "none",
            "libraries": {"onnx": onnx.__version__},
        },
        "metrics": [{**measured, "accuracy": 1.0, "spread": None, "loss": 0.0}],
    }


def publish(
    root: Path,
    name: str = "quadrants",
    weights: NDArray[np.float32] | None = None,
    labels: tuple[str, ...] = QUARTERS,
    alter: Callable[[onnx.ModelProto], object] = id,
    temperature: float = 1.0,
    **said: Any,  # noqa: ANN401 - whatever a manifest may say
) -> Artifact:
    """Publish a toy under the next free version.

    Args:
        root: A models folder.
        name: Model name.
        weights: [units, inputs] float32; None is the quadrants'.
        labels: One a unit.
        alter: Changes the graph before it is written.
        temperature: Of the graph, its golden examples and its manifest.
        said: What the manifest says besides.
    """
    weights = quadrant_weights() if weights is None else weights
    is_photo = weights.shape[1] == math.prod(PHOTO)
    shape = PHOTO if is_photo else (28, 28)
    images = plain((200, 0, 0), (9, 90, 50)) if is_photo else np.stack([dot(0), dot(3), dot(0, 1, 2)])
    logits = expected_logits(images, weights)
    model = onnx_model(weights, shape, temperature)
    alter(model)
    golden = Golden(images, logits, softmax(logits, temperature), 1e-4)
    said |= {} if temperature == 1 else {"temperature": temperature}
    whole = manifest(name, labels, shape) | said
    return artifact.publish(root, whole, model.SerializeToString(), golden, {"history.json": b"[]\n"})


PICTURE = b"\x89PNG\r\n\x1a\n and more"
"""What begins like a PNG file; nobody opens it."""


def report_of(published: Artifact) -> Report:
    """Return the report of a toy that was shown ten images and took one for its neighbour."""
    manifest = published.manifest
    where = {"fit": "published", "data": "none", "split": "test"}
    seen = {"row": 3, "probability": 0.25, "answer": QUARTERS[1]}
    counts = [[3, 1, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 2]]
    document: dict[str, Any] = {
        "sha256": manifest.sha256["model.onnx"],
        "model": manifest.name,
        "version": manifest.version,
        "labels": QUARTERS,
        "layers": [{"name": "output", "shape": [784, 4], "activation": "none", "parameters": 3140}],
        "parameters": 3140,
        "accuracy": [
            {**where, "examples": 10, "seeds": [1], "accuracy": 0.9, "spread": None, "loss": 0.5},
        ],
        "lesson": {"test": 0.5},
        "confusion": [
            {
                **where,
                "seeds": [1],
                "examples": 10,
                "counts": counts,
                "confused": [{"truth": QUARTERS[0], "answer": QUARTERS[1], "count": 1}],
            }
        ],
        "calibration": [
            {
                **where,
                "examples": 10,
                "error": 0.1,
                "bins": [{"lower": 0, "upper": 1, "images": 10, "confidence": 1.0, "accuracy": 0.9}],
            }
        ],
        "extremes": [
            {"data": "none", "split": "test", "label": QUARTERS[0], "typical": [], "troublesome": [seen]}
        ],
        "history": [
            {
                "fit": "published",
                "seed": 1,
                "learning_rate": [0.1],
                "train_loss": [0.5],
                "train_accuracy": [0.9],
                "valid_loss": None,
                "valid_accuracy": None,
            }
        ],
        "notes": ["A toy has no valid part."],
        "pictures": [{"name": "confusion-test", "title": "Which quarter was taken for which."}],
    }
    return Report.model_validate(document)


def write_report(root: Path, published: Artifact) -> None:
    """Give a published toy its report."""
    pictures = {"confusion-test.png": PICTURE + b"light", "confusion-test-dark.png": PICTURE + b"dark"}
    report.write(root, report_of(published), pictures)
