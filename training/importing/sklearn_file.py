"""Reader of scikit-learn's MLPClassifier and LogisticRegression, without running code of the file.

A pickle names functions to call. Here every name but those of NumPy's arrays becomes an inert object that
only keeps its state, so that loading a file of unknown origin runs nothing of it. scikit-learn is not
needed.
"""

import io
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.errors import NotImportable
from training.importing.network import Activation, DenseLayer, DenseNetwork, fold_input, with_two_classes

_NUMPY = {"_reconstruct", "_frombuffer", "scalar", "ndarray", "dtype"}
_NUMPY_MODULES = (
    "numpy",
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "numpy.core.numeric",
    "numpy._core.numeric",
)

_ACTIVATIONS: dict[str, Activation] = {
    "relu": "relu",
    "identity": "none",
    "logistic": "sigmoid",
    "tanh": "tanh",
}

_SCALERS = {
    "StandardScaler": ("mean_", "scale_"),
    "MinMaxScaler": ("min_", "scale_"),
    "MaxAbsScaler": ("", "scale_"),
}

_MAX_BYTES = 512 * 2**20


class Inert:
    """Stands for an object of any class of a pickle; keeps its state."""

    kind = ""

    def __new__(cls, *arguments: object, **members: object) -> "Inert":
        """Create the object; the arguments are ignored."""
        del arguments, members
        return super().__new__(cls)

    def __init__(self, *arguments: object, **members: object) -> None:
        """Ignore the arguments."""

    def __setstate__(self, state: object) -> None:
        """Keep the state."""
        if isinstance(state, dict):
            self.__dict__.update(state)


def read(path: Path) -> DenseNetwork:
    """Read a file of `joblib.dump` or `pickle.dump`.

    Args:
        path: The file: an MLPClassifier or LogisticRegression, or a Pipeline of scalers and one of them.

    Raises:
        NotImportable: It is something else, or not fitted.
    """
    return _network(load(path))


def load(path: Path) -> Any:  # noqa: ANN401 - a pickle can be anything; `_network` checks it
    """Return the object of a pickle or joblib file, with inert objects in place of all but NumPy's arrays."""
    from joblib.numpy_pickle import (  # noqa: PLC0415 - needed for these files only
        NumpyArrayWrapper,
        NumpyUnpickler,
    )

    class _PlainArray(NumpyArrayWrapper):  # type: ignore[misc] # joblib has no types
        def read(self, unpickler: Any, *options: Any) -> Any:  # noqa: ANN401 - as of joblib
            if self.dtype.hasobject:  # joblib would read it with pickle, which runs code
                return _Unpickler("", unpickler.file_handle, ensure_native_byte_order=False).load()
            return super().read(unpickler, *options)

    class _Unpickler(NumpyUnpickler):  # type: ignore[misc] # joblib has no types
        def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as of pickle
            if module in _NUMPY_MODULES and name in _NUMPY:
                return super().find_class(module, name)
            if module.startswith("joblib.numpy_pickle") and name == "NumpyArrayWrapper":
                return _PlainArray
            return type(name, (Inert,), {"kind": f"{module}.{name}"})

    content = path.read_bytes()
    if len(content) > _MAX_BYTES:
        raise NotImportable(f"{path.name} should be at most {_MAX_BYTES:,} bytes; got {len(content):,}.")
    try:
        if content[:1] == b"\x78":  # joblib's compression by zlib
            content = zlib.decompress(content)
        return _Unpickler(path.name, io.BytesIO(content), ensure_native_byte_order=False).load()
    except (
        pickle.UnpicklingError,
        zlib.error,
        ValueError,
        EOFError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
    ) as error:
        raise NotImportable(
            f"{path.name} should be a file of joblib.dump or pickle.dump; it cannot be read ({error})."
        ) from error


def _network(model: Any) -> DenseNetwork:  # noqa: ANN401 - as `load`
    kind = _kind(model)
    if kind == "Pipeline":
        return _pipeline(model)
    if not hasattr(model, "classes_"):
        raise NotImportable(
            "The file should hold a fitted MLPClassifier or LogisticRegression, or a Pipeline of "
            f"StandardScaler, MinMaxScaler or MaxAbsScaler and one of them; got {kind}."
        )
    labels = tuple(str(label) for label in np.asarray(model.classes_).tolist())
    if kind == "LogisticRegression":
        if len(labels) > 2 and getattr(model, "multi_class", "auto") == "ovr":
            raise NotImportable("LogisticRegression should be multinomial; got one-versus-rest.")
        weights, biases = [np.asarray(model.coef_).T], [np.asarray(model.intercept_)]
        activation: Activation = "none"
    elif kind == "MLPClassifier":
        weights, biases = (
            [np.asarray(each) for each in model.coefs_],
            list(map(np.asarray, model.intercepts_)),
        )
        activation = _ACTIVATIONS[model.activation]
        if model.out_activation_ == "logistic" and weights[-1].shape[1] > 1:
            raise NotImportable("MLPClassifier should give one class; got one with several labels at once.")
    else:
        raise NotImportable(f"The file should hold an MLPClassifier or LogisticRegression; got {kind}.")
    pairs = [(_matrix(weight), _matrix(bias)) for weight, bias in zip(weights, biases, strict=True)]
    layers = [DenseLayer(weight, bias, activation) for weight, bias in pairs[:-1]]
    weight, bias = pairs[-1]
    last = with_two_classes(weight, bias) if weight.shape[1] == 1 else DenseLayer(weight, bias)
    return DenseNetwork((*layers, last), labels, f"scikit-learn {kind}")


def _pipeline(model: Any) -> DenseNetwork:  # noqa: ANN401 - as `load`
    steps = [step for _, step in model.steps]
    network = _network(steps[-1])
    for step in reversed(steps[:-1]):
        if step is None or step == "passthrough":
            continue
        kind = _kind(step)
        if kind not in _SCALERS:
            raise NotImportable(
                f"Steps before the network should be among {', '.join(_SCALERS)}; got {kind}."
            )
        inputs = len(network.layers[0].weight)
        offset_name, scale_name = _SCALERS[kind]
        scale = getattr(step, scale_name, None)
        scale = np.ones(inputs) if scale is None else np.asarray(scale, np.float64)
        shift = getattr(step, offset_name, None) if offset_name else None
        shift = np.zeros(inputs) if shift is None else np.asarray(shift, np.float64)
        if kind == "MinMaxScaler":  # x * scale_ + min_
            network = fold_input(network, scale, shift)
        else:  # (x - mean_) / scale_
            network = fold_input(network, 1 / scale, -shift / scale)
    return network


def _kind(model: object) -> str:
    return model.kind.rpartition(".")[2] if isinstance(model, Inert) else type(model).__name__


def _matrix(values: NDArray[Any]) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    if not np.isfinite(found).all():
        raise NotImportable("Weights should be finite numbers; got others.")
    return found
