"""Toy networks of rows of numbers, and of other than dense layers, as published folders."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.core.artifact import artifact
from service.core.artifact.artifact import Artifact
from service.core.artifact.golden import Golden
from tests import toys

LABELS = ("low", "high")

HIDDEN = np.array([[1, 0, -1], [0, 2, 0]], np.float32)
"""[units, inputs] of the hidden layer, without bias."""

OUTPUT = np.array([[1, 0], [0, 1]], np.float32)

ROWS = np.array([[1, 2, 3], [5, 0, 1], [0, 1, 0], [2.5, -1, 0]], np.float32)


def logits(rows: NDArray[np.float32], activation: str = "Relu") -> NDArray[np.float32]:
    """Return the logits of the network, computed in double precision."""
    sums = rows.astype(np.float64) @ HIDDEN.T
    hidden = np.tanh(sums) if activation == "Tanh" else np.maximum(sums, 0)
    return np.asarray(hidden @ OUTPUT.T, np.float32)


def model(activation: str = "Relu") -> onnx.ModelProto:
    """Return the graph of a network 3-2-2 with an activation."""
    tensors = {
        "hidden1.weight": HIDDEN,
        "hidden1.bias": np.zeros(2, np.float32),
        "output.weight": OUTPUT,
        "output.bias": np.zeros(2, np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["row", "hidden1.weight", "hidden1.bias"], ["sums"], transB=1),
            helper.make_node(activation, ["sums"], ["hidden"]),
            helper.make_node("Gemm", ["hidden", "output.weight", "output.bias"], ["logits"], transB=1),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "rows",
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["batch", 3])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 2]),
        ],
        [numpy_helper.from_array(tensor, name) for name, tensor in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", toys.OPSET)], ir_version=10)


def manifest(name: str, activation: str = "Relu") -> dict[str, Any]:
    """Return the manifest, as `artifact.publish` takes it; without layers unless the activation is ReLU."""
    layers = [
        {
            "name": layer,
            "inputs": inputs,
            "units": 2,
            "activation": kind,
            "weight": f"{layer}.weight",
            "bias": f"{layer}.bias",
        }
        for layer, inputs, kind in (("hidden1", 3, "relu"), ("output", 2, "none"))
    ]
    return {
        **toys.manifest(name, LABELS, (3,)),
        "input": {"name": "row", "dtype": "float32", "shape": [-1, 3]},
        "layers": layers if activation == "Relu" else [],
        "parameters": 3 * 2 + 2 + 2 * 2 + 2,
    }


def publish(root: Path, name: str, activation: str = "Relu") -> Artifact:
    """Publish the network under the next free version."""
    expected = logits(ROWS, activation)
    golden = Golden(ROWS, expected, toys.softmax(expected), 1e-4)
    content = model(activation).SerializeToString()
    return artifact.publish(root, manifest(name, activation), content, golden, {})
