"""Export of a PyTorch module, made by a user's function, to ONNX."""

import contextlib
import importlib
import sys
from pathlib import Path

import onnx
import torch
from torch import nn

from training.errors import NotImportable
from training.publishing.onnx_float import OPSET, quiet


def export(factory: str, weights: Path | None, shape: tuple[int, ...] | None) -> bytes:
    """Return the ONNX file of a module.

    Args:
        factory: `module:function` or `module:Class`, imported from the current folder or an installed package
            and called without arguments. This runs the user's code.
        weights: Its state: a safetensors file, or a file of `torch.save`, of which only tensors are read.
        shape: Shape of one input, (H, W), (H, W, 3) or (n,); None: the inputs of its first Linear layer.

    Raises:
        NotImportable: The module or its weights cannot be loaded, or it takes no input of this shape.
    """
    net = _module(factory)
    if weights is not None:
        try:
            net.load_state_dict(_state(weights))
        except (RuntimeError, ValueError, KeyError) as error:
            raise NotImportable(f"Weights should be those of {factory}; {str(error)[:300]}") from error
    net.eval()
    for sides in _candidates(net, shape):
        batch = torch.zeros((2, *sides))
        with contextlib.suppress(RuntimeError, ValueError, IndexError), torch.no_grad():
            net(batch)
            return _to_onnx(net, batch)
    raise NotImportable(f"{factory} should take images or rows; say their shape with --input.")


def _module(factory: str) -> nn.Module:
    name, _, attribute = factory.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        net = getattr(importlib.import_module(name), attribute)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise NotImportable(f"--torch should be module:function without arguments; {error}.") from error
    finally:
        sys.path.remove(str(Path.cwd()))
    if not isinstance(net, nn.Module):
        raise NotImportable(f"--torch should make a torch.nn.Module; got {type(net).__name__}.")
    return net


def _state(weights: Path) -> dict[str, torch.Tensor]:
    if weights.suffix == ".safetensors":
        from safetensors.torch import load_file  # noqa: PLC0415 - needed for these files only

        return dict(load_file(weights))
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader raises exceptions of many types
        raise NotImportable(
            f"{weights.name} should hold a state_dict, as safetensors or torch.save write it; "
            f"{str(error).splitlines()[0][:200]}"
        ) from error
    if not isinstance(state, dict):
        raise NotImportable(f"{weights.name} should hold a state_dict; got {type(state).__name__}.")
    return state


def _candidates(net: nn.Module, shape: tuple[int, ...] | None) -> list[tuple[int, ...]]:
    """Return the input shapes that a PyTorch module may have, most likely first."""
    if shape is None:
        linear = next((each for each in net.modules() if isinstance(each, nn.Linear)), None)
        return [] if linear is None else [(linear.in_features,)]
    if len(shape) == 1:
        return [shape]
    if len(shape) == 2:
        return [(1, *shape), shape, (shape[0] * shape[1],)]
    return [(shape[2], *shape[:2]), shape, (shape[0] * shape[1] * shape[2],)]


def _to_onnx(net: nn.Module, batch: torch.Tensor) -> bytes:
    with quiet():
        program = torch.onnx.export(
            net,
            (batch,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=({0: "batch"},),
            external_data=False,
            verbose=False,
        )
    assert program is not None  # None only from the old exporter
    model: onnx.ModelProto = program.model_proto
    return bytes(model.SerializeToString())
