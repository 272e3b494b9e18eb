"""What is asked: seeded drawings in every form that servers take, and what they must answer."""

import base64
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnxruntime
import orjson
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from service.core.drawing import mnist, mnist_rule
from service.grpc.messages import inference_pb2 as pb

_SEED = 6
_BODIES = 16
"""Different bodies of a case, sent in turn."""

_POINTS = 60
_SIDE = 280
_TOLERANCE = 1e-4
"""Largest difference of two probabilities that are the same but for rounding."""

Strokes = list[list[list[int]]]


@dataclass(frozen=True)
class Request:
    """A case as one server is asked it.

    Attributes:
        path: What to POST to.
        headers: To send.
        bodies: One after the other.
        expected: (B, classes) probabilities for each body; None where the answer is a constant.
        read: Reads the probabilities of an answer, (B, classes); None where nothing is expected.
        is_grpc: Whether it is a call over gRPC, which has no headers.
    """

    path: str
    headers: dict[str, str]
    bodies: Sequence[bytes]
    expected: Sequence[NDArray[np.float32]] | None = None
    read: Callable[[dict[str, str], bytes], NDArray[Any]] | None = None
    is_grpc: bool = False

    def check(self, number: int, headers: dict[str, str], answer: bytes) -> None:
        """Compare the answer to one of the bodies with the engine's.

        Raises:
            ValueError: They are not the same.
        """
        if self.expected is None or self.read is None:
            return
        found, expected = self.read(headers, answer), self.expected[number]
        if found.shape != expected.shape:
            raise ValueError(f"Answer should be {expected.shape} probabilities; got {found.shape}.")
        off = float(np.abs(found - expected).max())
        if not off <= _TOLERANCE:
            raise ValueError(
                f"Probabilities should be the engine's within {_TOLERANCE:g}; got {off:.3g} off."
            )


class Engine:
    """A published network, run without any server.

    Attributes:
        shape: Of one image.
    """

    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(path, options)
        self.shape: tuple[int, ...] = tuple(self._session.get_inputs()[0].shape[1:])

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities, (B, classes), of images (B, *shape)."""
        probabilities: NDArray[np.float32]
        (probabilities,) = self._session.run(["probabilities"], {"image": images})
        return probabilities


def drawings() -> list[Strokes]:
    """Return seeded curves of one stroke each, in pixels of a canvas of 280 x 280.

    Preprocessed, all are like MNIST's images, so that servers without preprocessing get what ours does.
    """
    random = np.random.default_rng(_SEED)
    found: list[Strokes] = []
    while len(found) < _BODIES:
        steps = random.normal(0, 6, (_POINTS, 2)).cumsum(0)
        steps += random.normal(0, 3, 2) * np.arange(_POINTS)[:, None]
        low, high = steps.min(0), steps.max(0)
        points = np.rint(40 + (_SIDE - 80) * (steps - low) / (high - low)).astype(int)
        if mnist_rule.is_as_mnist(_drawn([points.tolist()])):
            found.append([points.tolist()])
    return found


def _drawn(strokes: Strokes) -> NDArray[np.uint8]:
    return mnist.from_strokes([np.array(stroke, np.float64) for stroke in strokes])


def images(count: int, shape: tuple[int, ...] = (28, 28)) -> list[NDArray[np.uint8]]:
    """Return batches of `count` images, (count, *shape) uint8: the drawings, prepared, or photographs."""
    drawn = (_drawn(strokes) for strokes in drawings())
    shown = _photographs(shape) if len(shape) == 3 else np.stack([*drawn])
    return [shown[(np.arange(count) + start) % _BODIES] for start in range(_BODIES)]


def _photographs(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return seeded gradients of colour with noise: to a server, pixels are as good as any others."""
    random = np.random.default_rng(_SEED)
    height, width, channels = shape
    down, right = random.uniform(0, 127, (2, _BODIES, 1, 1, channels))
    smooth = down * np.linspace(0, 1, height)[:, None, None] + right * np.linspace(0, 1, width)[:, None]
    noisy: NDArray[np.float64] = smooth + random.normal(0, 12, (_BODIES, *shape))
    return noisy.clip(0, 255).astype(np.uint8)


def _picture(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _canvas(strokes: Strokes) -> NDArray[np.uint8]:
    """Draw strokes as a drawing app would: a black pen of 18 pixels on white."""
    canvas = Image.new("L", (_SIDE, _SIDE), 255)
    draw = ImageDraw.Draw(canvas)
    for stroke in strokes:
        draw.line([(x, y) for x, y in stroke], fill=0, width=18, joint="curve")
    return np.asarray(canvas)


def _npy(batch: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, batch)
    return stream.getvalue()


def _v1(headers: dict[str, str], answer: bytes) -> NDArray[Any]:
    del headers
    return np.array([one["probabilities"] for one in json.loads(answer)["predictions"]])


def _array(headers: dict[str, str], answer: bytes) -> NDArray[Any]:
    del headers
    found: NDArray[Any] = np.load(io.BytesIO(answer))
    return found


def _v2(headers: dict[str, str], answer: bytes) -> NDArray[Any]:
    size = headers.get("inference-header-content-length")
    document = json.loads(answer if size is None else answer[: int(size)])
    (output,) = document["outputs"]
    if size is None:
        return np.array(output["data"]).reshape(output["shape"])
    return np.frombuffer(answer[int(size) :], "<f4").reshape(output["shape"])


def _message(headers: dict[str, str], answer: bytes) -> NDArray[Any]:
    del headers
    response = pb.ModelInferResponse.FromString(answer)
    (output,), (content,) = response.outputs, response.raw_output_contents
    return np.frombuffer(content, "<f4").reshape(output.shape)


def _plain(headers: dict[str, str], answer: bytes) -> NDArray[Any]:
    del headers
    return np.array(json.loads(answer)["probabilities"])


def _rows(headers: dict[str, str], answer: bytes) -> NDArray[Any]:
    del headers
    return np.array(json.loads(answer))


ANSWERS = {"v1": _v1, "v2": _v2, "probabilities": _plain, "rows": _rows}
"""Forms of answers: Inkling's own, the Open Inference Protocol's, an object with rows, and rows alone."""


def _v2_binary(batch: NDArray[np.uint8]) -> tuple[bytes, int]:
    tensor = {"name": "image", "shape": batch.shape, "datatype": "UINT8"}
    text = orjson.dumps(
        {
            "inputs": [{**tensor, "parameters": {"binary_data_size": batch.size}}],
            "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
        }
    )
    return text + batch.tobytes(), len(text)


def _grpc(model: str, batch: NDArray[np.uint8]) -> bytes:
    tensor = pb.ModelInferRequest.InferInputTensor(name="image", datatype="UINT8", shape=batch.shape)
    output = pb.ModelInferRequest.InferRequestedOutputTensor(name="probabilities")
    message = pb.ModelInferRequest(
        model_name=model, inputs=[tensor], outputs=[output], raw_input_contents=[batch.tobytes()]
    )
    return bytes(message.SerializeToString())


@cache
def inkling(case: str, count: int, model: str, engine: Engine) -> Request:
    """Return a case as Inkling is asked it.

    Args:
        case: One of `CASES`.
        count: Images in a request; 1 for pictures and strokes.
        model: Name of the network.
        engine: The same network; one of photographs takes `raw` and `npy` and the open protocol's cases.
    """
    own = f"/v1/models/{model}/probabilities"
    batches = images(count, engine.shape)
    path, headers = own, {"Content-Type": "application/json"}
    read = _v1
    match case:
        case "json":
            bodies = [orjson.dumps({"images": batch.tolist()}) for batch in batches]
        case "raw":
            headers = {"Content-Type": "application/octet-stream"}
            bodies = [batch.tobytes() for batch in batches]
        case "npy":
            headers, read = {"Content-Type": "application/x-npy", "Accept": "application/x-npy"}, _array
            bodies = [_npy(batch) for batch in batches]
        case "base64":
            encoded = [[base64.b64encode(_picture(image)).decode() for image in batch] for batch in batches]
            bodies = [orjson.dumps({"images": batch}) for batch in encoded]
        case "png":
            headers = {"Content-Type": "image/png"}
            bodies = [_picture(batch[0]) for batch in batches]
        case "png280":
            headers = {"Content-Type": "image/png"}
            canvases = [_canvas(strokes) for strokes in drawings()]
            bodies = [_picture(canvas) for canvas in canvases]
            batches = [mnist.from_picture(canvas)[None] for canvas in canvases]
        case "strokes":
            bodies = [orjson.dumps({"strokes": strokes}) for strokes in drawings()]
        case "v2_json":
            path, read = f"/v2/models/{model}/infer", _v2
            tensor = {"name": "image", "shape": batches[0].shape, "datatype": "UINT8"}
            outputs = [{"name": "probabilities"}]
            bodies = [
                orjson.dumps({"inputs": [{**tensor, "data": batch.ravel().tolist()}], "outputs": outputs})
                for batch in batches
            ]
        case "v2_binary":
            path, read = f"/v2/models/{model}/infer", _v2
            written = [_v2_binary(batch) for batch in batches]
            bodies = [body for body, _ in written]
            headers = {
                "Content-Type": "application/octet-stream",
                "Inference-Header-Content-Length": str(written[0][1]),
            }
        case "grpc":
            path, headers, read = "/inference.GRPCInferenceService/ModelInfer", {}, _message
            bodies = [_grpc(model, batch) for batch in batches]
        case _:
            raise ValueError(f"Case should be one of {', '.join(CASES)}; got {case!r}.")
    expected = [engine.run(batch) for batch in batches]
    return Request(path, headers, bodies, expected, read, is_grpc=case == "grpc")


CASES = ("json", "raw", "npy", "base64", "png", "png280", "strokes", "v2_json", "v2_binary", "grpc")
