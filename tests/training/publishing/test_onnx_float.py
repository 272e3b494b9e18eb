import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from service.core.network import onnx_graph as reader
from tests import precision, toys
from tests.conftest import REPOSITORY
from training.model.mlp import MLP
from training.publishing.onnx_float import OPSET, layers, to_onnx


@pytest.fixture(scope="module")
def net() -> MLP:
    return MLP(30, (4,), 3, "glorot-uniform", torch.Generator().manual_seed(5)).eval()


@pytest.fixture(scope="module")
def exported(net: MLP) -> bytes:
    return to_onnx(net, (6, 5))


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (9, 6, 5), np.uint8)


def _run(content: bytes, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    logits, probabilities = session.run(["logits", "probabilities"], {"image": images})
    return [logits, probabilities]


def test_the_file_agrees_with_the_network(net: MLP, exported: bytes, images: NDArray[np.uint8]) -> None:
    """
    Logits and probabilities, for any number of images.
    """
    for count in (1, 2, 9):
        logits, probabilities = _run(exported, images[:count])

        expected = net(torch.tensor(images[:count])).detach()
        error = precision.logit_error(net.numpy_layers(), images[:count])
        assert np.all(np.abs(logits - expected.numpy()) <= 2 * error)
        off = np.abs(probabilities - torch.softmax(expected, 1).numpy())
        assert np.all(off <= 2 * precision.probability_error(error))


def test_a_temperature_softens_probabilities_and_leaves_logits(
    net: MLP, exported: bytes, images: NDArray[np.uint8]
) -> None:
    """
    The temperature applies to the probabilities only.
    """
    logits, probabilities = _run(to_onnx(net, (6, 5), temperature=2.5), images)

    error = precision.logit_error(net.numpy_layers(), images)
    assert np.all(np.abs(logits - _run(exported, images)[0]) <= 2 * error)
    off = np.abs(probabilities - toys.softmax(logits, 2.5))
    assert np.all(off <= precision.softmax_error(logits, 2.5))


def test_the_service_reads_the_file(net: MLP, exported: bytes) -> None:
    """
    The service's ONNX reader accepts it, and its weights have the names in the manifest's layers.
    """
    tensors = reader.read(exported).tensors

    for layer in layers(net):
        weight = net.dense[layer.name].weight.detach().numpy()
        np.testing.assert_array_equal(tensors[layer.weight], weight)
        assert tensors[layer.bias].shape == (layer.units,)
    assert [layer.activation for layer in layers(net)] == ["relu", "none"]


def test_the_file_is_valid_and_of_the_pinned_version(exported: bytes) -> None:
    """
    ONNX's checker accepts it, and the operator set is the pinned one.
    """
    model = onnx.load_from_string(exported)

    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", OPSET)]


def test_the_file_has_no_information_about_the_machine(exported: bytes) -> None:
    """
    No path, no stack trace, no source line.
    """
    graph = onnx.load_from_string(exported).graph

    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        assert not part.doc_string
        assert not part.metadata_props
    here = str(REPOSITORY).encode()
    assert not any(word in exported for word in (here, b".py", b"File ", b"return "))


def test_the_same_weights_give_the_same_bytes(tmp_path: Path, exported: bytes) -> None:
    """
    In this process and in a new one with another hash seed.
    """
    program = (
        "import sys, torch; from training.model.mlp import MLP;"
        "from training.publishing.onnx_float import to_onnx;"
        "net = MLP(30, (4,), 3, 'glorot-uniform', torch.Generator().manual_seed(5)).eval();"
        "sys.stdout.buffer.write(to_onnx(net, (6, 5)))"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        check=True,
        env={"PYTHONHASHSEED": "77", "PYTHONPATH": str(REPOSITORY)},
        cwd=tmp_path,
    )

    assert done.stdout == exported
    assert done.stderr == b""


def test_colour_images_are_supported() -> None:
    """
    The image shape is an argument of the exporter.
    """
    net = MLP(4 * 4 * 3, (), 2, "glorot-uniform", torch.Generator().manual_seed(5)).eval()

    logits, _ = _run(to_onnx(net, (4, 4, 3)), np.zeros((5, 4, 4, 3), np.uint8))

    assert logits.shape == (5, 2)
