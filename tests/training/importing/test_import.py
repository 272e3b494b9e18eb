"""`python -m training import`: networks of each library, published and run by the service's engine."""

import io
import pickle
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import nn

from service.core.artifact import artifact
from service.core.artifact.artifact import Artifact
from service.core.network import attribution, dense_layers
from service.core.network.engine import Engine
from training.__main__ import FAILED, main
from training.importing import sklearn_file
from training.publishing import catalogue

joblib = pytest.importorskip(
    "joblib", reason="joblib is not installed: pip install -e '.[import]' scikit-learn"
)

PIXELS = np.random.default_rng(1).integers(0, 256, (5, 28, 28), np.uint8)


class Normalising(nn.Module):
    """784-16-10 with normalisation, batch normalisation and log-softmax in the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(784, 16), nn.BatchNorm1d(16), nn.Linear(16, 10)
        for name, tensor in self.norm.named_buffers():
            if name != "num_batches_tracked":
                tensor.uniform_(0.5, 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        rows = (image.view(image.size(0), -1) - 0.1307) / 0.3081
        return torch.log_softmax(self.last(torch.relu(self.norm(self.first(rows)))), 1)


def exported(net: nn.Module, *shape: int, is_dynamic: bool = True) -> bytes:
    """Return the file of a plain `torch.onnx.export`."""
    stream = io.BytesIO()
    axes = {"x": {0: "batch"}} if is_dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is deprecated, and still the one most files are of
        torch.onnx.export(
            net.eval(),
            (torch.zeros(1, *shape),),
            cast("Any", stream),
            dynamo=False,
            input_names=["x"],
            dynamic_axes=axes,
        )
    return stream.getvalue()


def run_import(tmp_path: Path, content: bytes, *arguments: str) -> int:
    """Write an ONNX file and import it as `own`."""
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    return main(["import", str(file), "--name", "own", "--models", str(tmp_path / "models"), *arguments], {})


def published(tmp_path: Path, name: str = "own") -> Artifact:
    return artifact.read(tmp_path / "models", name, "1")


def logits(found: Artifact, inputs: NDArray[Any]) -> NDArray[np.float32]:
    return Engine.load(found).run(inputs).logits


def scores(net: nn.Module, inputs: NDArray[Any]) -> NDArray[np.float32]:
    with torch.no_grad():
        return np.asarray(net.eval()(torch.from_numpy(inputs.astype(np.float32))).numpy())


@pytest.mark.parametrize("is_dynamic", [True, False])
def test_normalisation_in_the_graph_is_folded(tmp_path: Path, is_dynamic: bool) -> None:
    """
    The weights of 784-16-10 follow from pixels 0..255, and the shares sum to the logit.
    """
    net = Normalising()

    code = run_import(tmp_path, exported(net, 1, 28, 28, is_dynamic=is_dynamic), "--scale", "255")

    found = published(tmp_path)
    probabilities = Engine.load(found).run(PIXELS).probabilities
    explained = attribution.explain(dense_layers.read(found), PIXELS, np.zeros(5, np.intp))
    assert code == 0
    assert [layer.units for layer in found.manifest.layers] == [16, 10]
    assert found.manifest.input.shape == (-1, 28, 28)
    np.testing.assert_allclose(np.log(probabilities), scores(net, PIXELS[:, None] / 255), atol=1e-4)
    total = explained.shares.reshape(5, -1).sum(axis=1) + explained.bias
    np.testing.assert_allclose(total, logits(found, PIXELS)[:, 0], atol=1e-3)


def test_mean_and_std_per_channel_are_folded(tmp_path: Path) -> None:
    """
    PyTorch has [3, height, width], the service [height, width, 3].
    """
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 4, 5), nn.ReLU(), nn.Linear(5, 3))
    pixels = np.random.default_rng(2).integers(0, 256, (4, 6, 4, 3), np.uint8)
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.6, 0.7])

    content = exported(net, 3, 6, 4)
    run_import(tmp_path, content, "--scale", "255", "--mean", "0.1,0.2,0.3", "--std", "0.5,0.6,0.7")

    expected = scores(net, ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2))
    found = published(tmp_path)
    assert (found.manifest.input.shape, found.manifest.preprocessing) == ((-1, 6, 4, 3), "resize")
    np.testing.assert_allclose(logits(found, pixels), expected, atol=1e-4)


@pytest.mark.parametrize("is_dynamic", [True, False])
def test_convolutions_are_served_without_explanation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_dynamic: bool
) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(338, 10))

    run_import(tmp_path, exported(net, 1, 28, 28, is_dynamic=is_dynamic), "--scale", "255", "--mean", "0.5")

    found = published(tmp_path)
    assert found.manifest.layers == ()
    assert "predictions alone, not explained: Conv is no part" in capsys.readouterr().out
    expected = scores(net, PIXELS[:, None] / 255 - 0.5)
    np.testing.assert_allclose(logits(found, PIXELS), expected, atol=1e-4)


def test_rows_are_found_out(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(1))
    rows = np.random.default_rng(3).standard_normal((6, 4)).astype(np.float32)

    run_import(tmp_path, exported(net, 4), "--labels", "a,b,c")

    found = published(tmp_path)
    assert (found.manifest.input.name, found.manifest.labels) == ("row", ("a", "b", "c"))
    np.testing.assert_allclose(Engine.load(found).run(rows).probabilities, scores(net, rows), atol=1e-5)


def test_a_published_name_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = exported(nn.Linear(4, 3), 4)
    run_import(tmp_path, content)

    code = run_import(tmp_path, content)

    assert (code, artifact.versions_of(tmp_path / "models", "own")) == (FAILED, ["1"])
    assert "a name that no published model has; got own" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("net", "shape", "arguments", "message"),
    [
        (nn.Linear(784, 10), (784,), (), "say --input 28,28 for an image, or --input 784 for rows"),
        (nn.Flatten(), (1, 28, 28), (), "--scale 255"),
        (nn.Linear(4, 3), (4,), ("--labels", "a,b"), "--labels should be 3 different names"),
        (nn.Linear(4, 3), (4,), ("--labels", "a,a,b"), "--labels should be 3 different names"),
        (nn.Linear(4, 3), (4,), ("--std", "0"), "not 0"),
        (nn.Linear(4, 3), (4,), ("--mean", "1,2"), "--mean should be one number or 4"),
        (nn.Linear(4, 3), (4,), ("--input", "5"), "--input should have 4 numbers"),
    ],
)
def test_what_is_missing_or_wrong_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    net: nn.Module,
    shape: tuple[int, ...],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    code = run_import(tmp_path, exported(net, *shape), *arguments)

    assert code == FAILED
    assert message in capsys.readouterr().err
    assert not (tmp_path / "models" / "own").exists()


@pytest.mark.parametrize(
    ("operator", "domain", "message"),
    [("Loop", "", "valid ONNX"), ("Sin", "", "got Sin"), ("A", "x.y", "x.y")],
)
def test_other_operators_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], operator: str, domain: str, message: str
) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3]) for name in ("x", "y")]
    node = helper.make_node(operator, ["x"], ["y"], domain=domain)
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("x.y", 1)]
    content = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()

    assert run_import(tmp_path, content) == FAILED
    assert message in capsys.readouterr().err


def test_imported_networks_are_listed(tmp_path: Path) -> None:
    """
    With layers and without, and without training data.
    """
    dense = nn.Sequential(nn.Flatten(), nn.Linear(784, 3))
    other = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 26 * 26, 3))
    assert run_import(tmp_path, exported(dense, 1, 28, 28), "--scale", "255") == 0
    assert run_import(tmp_path, exported(other, 1, 28, 28), "--scale", "255", "--name", "other") == 0

    page = catalogue.page(tmp_path / "models")

    assert "| `own` 1 | 784-3 | 2,355 |" in page
    assert "| `other` 1 |  | 4," in page


def test_a_file_of_another_kind_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_import(tmp_path, b"no network") == FAILED
    assert "a valid ONNX file" in capsys.readouterr().err


def test_torch_modules_with_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    monkeypatch.chdir(tmp_path)
    make = "    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))"
    Path("own_net.py").write_text(f"from torch import nn\ndef make():\n{make}\n")
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    safetensors.save_file(net.state_dict(), "weights.safetensors")
    rows = np.random.default_rng(4).standard_normal((6, 3)).astype(np.float32)

    arguments = ["--torch", "own_net:make", "--weights", "weights.safetensors", "--name", "own"]
    code = main(["import", *arguments, "--models", "models"], {})

    assert code == 0
    np.testing.assert_allclose(logits(published(tmp_path), rows), scores(net, rows), atol=1e-5)


def test_scikit_learn_networks(tmp_path: Path) -> None:
    """
    With scalers, all activations, two and three classes, and labels of text: the same probabilities.
    """
    modules = ("linear_model", "neural_network", "pipeline", "preprocessing")
    reason = "scikit-learn is not installed"
    linear, neural, pipeline, scalers = (
        pytest.importorskip(f"sklearn.{module}", reason=reason) for module in modules
    )
    make_pipeline, MLPClassifier = pipeline.make_pipeline, neural.MLPClassifier  # noqa: N806 - a class

    generator = np.random.default_rng(5)
    rows = generator.normal(3, 2, (60, 4))
    three = np.array(["low", "middle", "high"], object)[generator.integers(0, 3, 60)]
    options = {"hidden_layer_sizes": (5, 4), "solver": "lbfgs", "max_iter": 5}
    cases = {
        "relu": (make_pipeline(scalers.StandardScaler(), MLPClassifier(**options)), three),
        "tanh": (make_pipeline(scalers.MinMaxScaler(), MLPClassifier(activation="tanh", **options)), three),
        "logistic": (MLPClassifier(activation="logistic", **options), three == "low"),
        "identity": (
            make_pipeline(scalers.MaxAbsScaler(), MLPClassifier(activation="identity", **options)),
            three,
        ),
        "regression": (linear.LogisticRegression(max_iter=5), three),
        "binary": (
            make_pipeline(scalers.StandardScaler(), linear.LogisticRegression(max_iter=50)),
            three == "high",
        ),
    }
    for number, (name, (model, labels)) in enumerate(cases.items()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has not converged, which does not matter here
            model.fit(rows, labels)
        file = tmp_path / name
        if number % 2:
            file.write_bytes(pickle.dumps(model))
        else:
            joblib.dump(model, file, compress=number % 4)

        code = main(
            ["import", "--sklearn", str(file), "--name", name, "--models", str(tmp_path / "models")], {}
        )

        found = published(tmp_path, name)
        assert code == 0
        assert found.manifest.labels == tuple(str(label) for label in model.classes_)
        assert bool(found.manifest.layers) == (name not in ("tanh", "logistic"))
        probabilities = Engine.load(found).run(rows.astype(np.float32)).probabilities
        np.testing.assert_allclose(probabilities, model.predict_proba(rows), atol=1e-4)


class Harmful:
    """An object whose pickle calls a function when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("harm"),)


@pytest.mark.parametrize("is_in_array", [False, True])
def test_pickles_run_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_in_array: bool) -> None:
    """
    Neither directly nor within an array of objects, which joblib itself reads with pickle.
    """
    monkeypatch.chdir(tmp_path)
    if is_in_array:
        joblib.dump(np.array([Harmful()], object), "file")
    else:
        Path("file").write_bytes(pickle.dumps(Harmful()))

    sklearn_file.load(Path("file"))
    code = main(["import", "--sklearn", "file", "--name", "own", "--models", "models"], {})

    assert code == FAILED
    assert not Path("harm").exists()


def test_other_objects_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    for content in (b"", b"nothing", pickle.dumps({"a": 1}), b"\x78\x9cbroken"):
        file.write_bytes(content)

        assert (
            main(["import", "--sklearn", str(file), "--name", "own", "--models", str(tmp_path)], {}) == FAILED
        )
        assert "should" in capsys.readouterr().err


def test_the_graph_has_the_form_of_the_service(tmp_path: Path) -> None:
    run_import(tmp_path, exported(nn.Linear(784, 10), 784), "--input", "28,28", "--scale", "255")

    model = onnx.load_from_string(published(tmp_path).model)

    assert [node.op_type for node in model.graph.node] == ["Cast", "Div", "Reshape", "Gemm", "Softmax"]
