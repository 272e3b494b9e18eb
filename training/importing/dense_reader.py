"""Reads dense layers from an ONNX graph that has nothing else, and folds scaling into them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from training.importing.network import Activation, DenseLayer
from training.importing.onnx_file import Source

_BATCH = 2
"""Batch size that shapes in a graph are computed with, if its own is not fixed."""


class NotDense(Exception):
    """The graph has other than dense layers with ReLU; the message says which."""


@dataclass
class _View:
    """A tensor that is computed from a vector: x[index] * scale + shift, for one example.

    Attributes:
        index: Index into the vector, in the tensor's shape without the batch axis.
        scale: Factor of each element.
        shift: Summand of each element.
    """

    index: NDArray[np.intp]
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> "_View":
        size = int(np.prod(shape))
        return cls(np.arange(size).reshape(shape), np.ones(shape), np.zeros(shape))

    def map(self, change: Any) -> "_View":  # noqa: ANN401 - a function of an array
        return _View(change(self.index), change(self.scale), change(self.shift))


def dense_layers(source: Source) -> tuple[DenseLayer, ...]:
    """Return the layers of a graph that computes dense layers with ReLU from its input.

    Scaling, normalisation, reshaping and transposing before, between and after them are folded into them.

    Raises:
        NotDense: The graph computes anything else.
    """
    return _DenseReader(source).read()


class _DenseReader:
    """Follows the tensors of a graph from the input on."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._batch = source.batch or _BATCH
        graph = source.model.graph
        self._constants: dict[str, NDArray[Any]] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer
        }
        self._views = {
            each.name: _View.of(source.shape) for each in graph.input if each.name not in self._constants
        }
        self._depth: dict[str, int] = dict.fromkeys(self._views, 0)
        self._layers: list[DenseLayer] = []
        self._stage = 0

    def read(self) -> tuple[DenseLayer, ...]:
        for node in self._source.model.graph.node:
            if self._source.scores in self._views:
                break
            known = [name for name in node.input if name in self._views]
            if not known:
                self._evaluate(node)
            elif len(known) > 1:
                raise NotDense(f"{node.op_type} joins two branches")
            elif node.op_type == "Shape":
                view = self._views[known[0]]
                self._constants[node.output[0]] = np.array([self._batch, *view.index.shape], np.int64)
            else:
                if self._depth[known[0]] != self._stage:
                    raise NotDense(f"{node.op_type} joins two branches")
                self._views[node.output[0]] = self._apply(node, self._views[known[0]])
                self._stage += node.op_type in ("MatMul", "Gemm", "Relu")
                self._depth[node.output[0]] = self._stage
        result = self._views.get(self._source.scores)
        if result is None or not self._layers or result.index.ndim != 1:
            raise NotDense("no dense layer leads to the output")
        self._fold(result, "none")
        return tuple(self._layers)

    def _evaluate(self, node: onnx.NodeProto) -> None:
        """Compute a node of constants."""
        from onnx.reference import ReferenceEvaluator  # noqa: PLC0415 - slow to import

        names = [name for name in node.input if name]
        if missing := [name for name in names if name not in self._constants]:
            raise NotDense(f"{node.op_type} uses {missing[0]}")
        graph = helper.make_graph(
            [node],
            "part",
            [onnx.ValueInfoProto(name=name) for name in names],
            [onnx.ValueInfoProto(name=name) for name in node.output],
        )
        part = helper.make_model(graph, opset_imports=self._source.model.opset_import)
        try:
            values = ReferenceEvaluator(part).run(None, {name: self._constants[name] for name in names})
        except Exception as error:  # the evaluator raises exceptions of many types
            raise NotDense(f"{node.op_type} of constants cannot be computed") from error
        self._constants.update(zip(node.output, map(np.asarray, values), strict=True))

    def _apply(self, node: onnx.NodeProto, view: _View) -> _View:
        kind = node.op_type
        options = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        if kind in ("Identity", "Cast", "Dropout"):
            return view
        if kind in ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"):
            return self._moved(node, view, options)
        if kind in ("Add", "Sub", "Mul", "Div"):
            return self._scaled(node, view)
        if kind == "BatchNormalization":
            gain, bias, mean, variance = (self._constants[name] for name in node.input[1:5])
            sides = (-1, *(1 for _ in view.index.shape[1:]))
            gain = (gain / np.sqrt(variance + options.get("epsilon", 1e-5))).reshape(sides)
            return _View(
                view.index, view.scale * gain, (view.shift - mean.reshape(sides)) * gain + bias.reshape(sides)
            )
        if kind in ("MatMul", "Gemm"):
            return self._dense(node, view, options)
        if kind == "Relu" and self._layers:
            return self._fold(view, "relu")
        raise NotDense(f"{kind} is no part of a dense layer with ReLU")

    def _moved(self, node: onnx.NodeProto, view: _View, options: Mapping[str, Any]) -> _View:
        """Apply a change of shape, which has to leave the batch axis in its place."""
        whole = (self._batch, *view.index.shape)
        marks = np.broadcast_to(np.arange(self._batch).reshape(-1, *(1 for _ in whole[1:])), whole)
        values = [self._constants[name] for name in node.input[1:] if name]

        def change(array: NDArray[Any]) -> NDArray[Any]:
            if node.op_type == "Transpose":
                return np.transpose(array, options.get("perm"))
            if node.op_type == "Flatten":
                axis = options.get("axis", 1)
                return array.reshape(int(np.prod(array.shape[:axis])), -1)
            if node.op_type == "Reshape":
                sides = [
                    array.shape[i] if side == 0 and not options.get("allowzero") else int(side)
                    for i, side in enumerate(values[0])
                ]
                return array.reshape(sides)
            axes = [int(axis) for axis in (values[0] if values else options.get("axes", []))]
            if node.op_type == "Squeeze":
                return np.squeeze(array, tuple(axes) or None)
            return np.expand_dims(array, tuple(axes))

        try:
            moved = change(marks)
            rows = np.arange(self._batch).reshape(-1, *(1 for _ in moved.shape[1:]))
            if moved.shape[0] != self._batch or not (moved == rows).all():
                raise NotDense(f"{node.op_type} mixes the examples of a batch")
            return view.map(lambda array: change(np.broadcast_to(array, whole))[0])
        except ValueError as error:
            raise NotDense(f"{node.op_type} has a shape that does not fit") from error

    def _scaled(self, node: onnx.NodeProto, view: _View) -> _View:
        first = node.input[0] in self._views
        constant = np.asarray(self._constants[node.input[1 if first else 0]], np.float64)
        if constant.ndim > view.index.ndim:
            if constant.shape[0] != 1:
                raise NotDense(f"{node.op_type} differs between the examples of a batch")
            constant = constant[0]
        try:
            values = np.broadcast_to(constant, view.index.shape)
        except ValueError as error:
            raise NotDense(f"{node.op_type} makes a larger tensor") from error
        if node.op_type == "Add":
            return replace(view, shift=view.shift + values)
        if node.op_type == "Sub":
            sign = 1 if first else -1
            return replace(view, scale=sign * view.scale, shift=sign * (view.shift - values))
        if node.op_type == "Div" and not first:
            raise NotDense("Div by the input")
        values = 1 / values if node.op_type == "Div" else values
        return replace(view, scale=view.scale * values, shift=view.shift * values)

    def _dense(self, node: onnx.NodeProto, view: _View, options: Mapping[str, Any]) -> _View:
        if view.index.ndim != 1 or node.input[0] not in self._views or options.get("transA"):
            raise NotDense(f"{node.op_type} is applied to more than one vector an example")
        weight = np.asarray(self._constants[node.input[1]], np.float64)
        weight = weight.T if options.get("transB") else weight
        weight = weight * options.get("alpha", 1.0)
        bias = np.zeros(weight.shape[1])
        if len(node.input) > 2 and node.input[2]:
            bias = bias + np.asarray(self._constants[node.input[2]], np.float64).reshape(-1) * options.get(
                "beta", 1.0
            )
        width = self._layers[-1].weight.shape[1] if self._layers else int(np.prod(self._source.shape))
        folded = np.zeros((width, weight.shape[1]))
        np.add.at(folded, view.index, view.scale[:, None] * weight)
        self._layers.append(DenseLayer(folded, bias + view.shift @ weight))
        return _View.of((weight.shape[1],))

    def _fold(self, view: _View, activation: Activation) -> _View:
        """Fold scaling and order of the last layer's outputs into it, and set its activation."""
        last = self._layers[-1]
        if last.activation != "none":
            raise NotDense("no dense layer follows a Relu")
        index, scale, shift = (each.reshape(-1) for each in (view.index, view.scale, view.shift))
        self._layers[-1] = DenseLayer(
            last.weight[:, index] * scale, last.bias[index] * scale + shift, activation
        )
        return _View.of(view.index.shape)
