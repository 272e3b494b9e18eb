"""One network loaded into ONNX Runtime; the only module that imports it."""

import math
import os
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from service.core.artifact.artifact import Artifact
from service.core.artifact.manifest import LOGITS_NAME, PROBABILITIES_NAME, Tensor
from service.core.errors import GoldenMismatch, GraphRefused, InferenceFailed, TensorMismatch
from service.core.inputs import Inputs
from service.core.network import onnx_graph

# Disables ONNX Runtime's telemetry; read when the package is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

_LOG_ERRORS_ONLY = 3

_MIN_PROBABILITY = 1e-30
"""Probabilities below this are subnormal in float32 and not exact."""

_TEMPERATURE_TOLERANCE = 1e-3
"""Tolerance of log-probabilities against those of the logits in float64, relative to max(1, |value|)."""

_MAX_RUN_PIXELS = 256 * 28 * 28
"""Numbers of one run; larger batches are divided, at no cost in time. The activations of 4,096 images took 70
to 126 MB in the published networks, those of 256 take 5 to 8 MB."""

_MAX_OTHER_RUN_PIXELS = 8 * 28 * 28
"""The same for networks of other layers: a convolution gives many numbers for each of its input."""

_MAX_RUN_ROWS = 1024
"""Rows of one run: a row may have few numbers, and the network many units."""

_ORT_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


class Scores(NamedTuple):
    """Outputs of a network for a batch.

    Attributes:
        logits: (B, classes) float32.
        probabilities: (B, classes) float32, each row sums to 1.
    """

    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]


class Engine:
    """A network that has reproduced its golden examples and is ready to run."""

    def __init__(self, artifact: Artifact, session: onnxruntime.InferenceSession) -> None:
        self._manifest = artifact.manifest
        self._session = session
        most = _MAX_RUN_PIXELS if self._manifest.layers else _MAX_OTHER_RUN_PIXELS
        self._run_rows = min(_MAX_RUN_ROWS, max(1, most // math.prod(self._manifest.input.shape[1:])))

    @classmethod
    def load(cls, artifact: Artifact, threads: int = 1) -> Self:
        """Load a network, and verify it on its golden examples.

        Args:
            artifact: A published folder in memory.
            threads: Threads of one run, >= 1. The runtime's default, one per core, slows small networks.

        Returns:
            A warmed-up engine.

        Raises:
            GraphRefused: The file is not ONNX, has unsupported operators, or differs from the manifest in its
                inputs, outputs or temperature.
            GoldenMismatch: It does not reproduce its golden examples.
        """
        onnx_graph.read_artifact(artifact)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # The arena held 14 MB; runs of 1 to 1,000 images are as fast without it.
        options.enable_cpu_mem_arena = False
        options.log_severity_level = _LOG_ERRORS_ONLY
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Without this, bytes in the ORT format would be loaded, past the check of the graph.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        try:
            session = onnxruntime.InferenceSession(
                artifact.model, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:  # ONNX Runtime raises a dozen types without a common base
            raise GraphRefused(artifact.identity, "model.onnx could not be loaded.") from error
        session._model_bytes = None  # kept for a fallback that is disabled; 33 MB in all
        _check_signature(artifact, session)
        engine = cls(artifact, session)
        _check_temperature(artifact, engine._reproduce(artifact))
        return engine

    def run(self, images: Inputs) -> Scores:
        """Run the network on one batch.

        Args:
            images: (B, ...) of the declared dtype and shape, B >= 1.

        Returns:
            One row of scores per image.

        Raises:
            TensorMismatch: Another dtype or shape.
            InferenceFailed: The runtime could not compute an answer.
        """
        declared = self._manifest.input
        shape = declared.shape[1:]
        if images.dtype != declared.dtype or images.shape[1:] != shape or len(images) < 1:
            sides = ", ".join(str(size) for size in shape)
            raise TensorMismatch(
                f"Input {declared.name!r}",
                f"(B, {sides}) {declared.dtype} with B >= 1",
                f"{images.shape} {images.dtype}",
            )
        if len(images) <= self._run_rows:
            return self._run(images)
        step = self._run_rows
        parts = [self._run(images[start : start + step]) for start in range(0, len(images), step)]
        logits, probabilities = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Scores(logits, probabilities)

    def _run(self, images: Inputs) -> Scores:
        feed = {self._manifest.input.name: images}
        try:
            logits, probabilities = self._session.run([LOGITS_NAME, PROBABILITIES_NAME], feed)
        except Exception as error:  # as above: no common base
            raise InferenceFailed(self._manifest.name, self._manifest.version) from error
        return Scores(logits, probabilities)

    def _reproduce(self, artifact: Artifact) -> Scores:
        golden = artifact.golden
        try:
            scores = self.run(golden.images)
        except InferenceFailed as error:
            raise GoldenMismatch(artifact.identity, "it could not run its golden examples.") from error
        if (scores.logits.shape, scores.probabilities.shape) != (
            golden.logits.shape,
            golden.probabilities.shape,
        ):
            raise GoldenMismatch(artifact.identity, "it should give one row of scores an image; got others.")
        scale = np.maximum(1, np.abs(golden.logits))
        logit_error = np.abs(scores.logits - golden.logits) / scale
        probability_error = np.abs(scores.probabilities - golden.probabilities)
        worst = float(np.max(np.concatenate((logit_error, probability_error))))
        if not worst <= golden.tolerance:  # NaN fails too
            raise GoldenMismatch(
                artifact.identity,
                f"golden examples should be met within {golden.tolerance:g}; got {worst:.3g} off.",
            )
        return scores


def _check_temperature(artifact: Artifact, scores: Scores) -> None:
    """Check that the probabilities are the softmax of the logits at the manifest's temperature.

    Compares logarithms, so that small probabilities count as much as large ones.
    """
    temperature = artifact.manifest.temperature
    tempered = scores.logits / np.float64(temperature)
    expected = tempered - np.logaddexp.reduce(tempered, axis=1, keepdims=True)
    is_exact = (scores.probabilities > _MIN_PROBABILITY) | (expected > np.log(_MIN_PROBABILITY))
    found = np.log(np.maximum(scores.probabilities, _MIN_PROBABILITY), dtype=np.float64)
    error = np.abs(found - expected) / np.maximum(1, np.abs(expected))
    if not np.all(error[is_exact] <= _TEMPERATURE_TOLERANCE):  # NaN fails too
        expected_text = f"the softmax of the logits over {temperature:g}"
        raise GraphRefused(artifact.identity, f"probabilities should be {expected_text}; got others.")


def _check_signature(artifact: Artifact, session: onnxruntime.InferenceSession) -> None:
    declared = [artifact.manifest.input, *artifact.manifest.outputs]
    try:
        found = [
            Tensor.model_construct(
                name=node.name,
                dtype=_ORT_DTYPES.get(node.type, node.type),
                shape=tuple(-1 if isinstance(size, str) else size for size in node.shape[:1])
                + tuple(node.shape[1:]),
            )
            for node in [*session.get_inputs(), *session.get_outputs()]
        ]
    except UnicodeDecodeError as error:
        raise GraphRefused(
            artifact.identity, "names in model.onnx should be UTF-8; got other bytes."
        ) from error
    if found != declared:
        raise GraphRefused(artifact.identity, f"inputs and outputs should be {declared}; got {found}.")
