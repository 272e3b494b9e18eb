"""The original of an imported ONNX file: the shape of its input for the service, and its logits."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from training.errors import NotImportable
from training.importing.onnx_file import Source


def input_shape(sides: tuple[int, ...], is_uint8: bool, given: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the shape of one input for the service.

    Raises:
        NotImportable: It cannot be found out, or differs from that of the network.
    """
    size = int(np.prod(sides))
    if given is not None:
        if int(np.prod(given)) != size:
            raise NotImportable(f"--input should have {size:,} numbers; got {list(given)}.")
        return given
    if len(sides) == 1:
        if size in (784, 12288) or is_uint8:
            raise NotImportable(
                f"The network takes {size:,} numbers, which may be an image or a row: "
                f"say --input 28,28 for an image, or --input {size} for rows."
            )
        return sides
    if len(sides) == 2:
        return sides
    if len(sides) == 3 and 1 in (sides[0], sides[2]):
        return sides[1:] if sides[0] == 1 else sides[:2]
    if len(sides) == 3 and sides[2] == 3:
        return sides
    if len(sides) == 3 and sides[0] == 3:
        return (*sides[1:], 3)
    raise NotImportable(
        f"The input should be an image of one or three channels, or a row; got {list(sides)}."
    )


def run_source(source: Source, shape: tuple[int, ...], inputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Run the original file, with its own batch size."""
    from onnx.reference import ReferenceEvaluator  # noqa: PLC0415 - slow to import

    model = onnx.ModelProto()
    model.CopyFrom(source.model)
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(source.scores, onnx.TensorProto.FLOAT, None))
    if len(shape) == 3 and source.shape == (shape[2], *shape[:2]):
        inputs = inputs.transpose(0, 3, 1, 2)
    rows = inputs.reshape(-1, *source.shape).astype(np.uint8 if source.is_uint8 else np.float32)
    session = ReferenceEvaluator(model)  # another implementation than the service's
    weights = {tensor.name for tensor in model.graph.initializer}
    (name,) = (each.name for each in source.model.graph.input if each.name not in weights)
    each = source.batch or len(rows)
    found = []
    for row in range(0, len(rows), each):
        part = rows[row : row + each]
        padded = np.concatenate([part, np.repeat(part[-1:], each - len(part), axis=0)])
        outputs: Any = session.run(None, {name: padded})  # a list or a dict, by its types
        found.append(np.asarray(outputs[0])[: len(part)])
    return np.concatenate(found).astype(np.float64)
