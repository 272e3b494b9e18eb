"""LitServe: one worker for each of two ways to ask, of which one works at a time; no access log."""

import argparse
from collections.abc import Sequence
from typing import Annotated, Any

import litserve
import numpy as np
import onnxruntime
import orjson
from fastapi import Body, Response
from numpy.typing import NDArray

BATCHING = {"plain": {}, "fast-queue": {}, "batching": {"max_batch_size": 32, "batch_timeout": 0.001}}


class Network(litserve.LitAPI):
    """The network in ONNX Runtime, for images as JSON."""

    def __init__(self, model: str, path: str, batching: dict[str, float]) -> None:
        super().__init__(api_path=path, **batching)
        self._model = model

    def setup(self, device: str) -> None:
        """Read the file, in the worker."""
        del device
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self._model, options)

    def decode_request(self, request: dict[str, Any]) -> NDArray[np.uint8]:
        """Return the images of a request."""
        return np.array(request["images"], np.uint8)

    def batch(self, inputs: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], list[int]]:
        """Join requests, which may hold several images each; remember where to cut."""
        return np.concatenate(inputs), np.cumsum([len(images) for images in inputs])[:-1].tolist()

    def predict(
        self, x: NDArray[np.uint8] | tuple[NDArray[np.uint8], list[int]]
    ) -> NDArray[np.float32] | tuple[NDArray[np.float32], list[int]]:
        """Return the probabilities of one request's images, or of several requests' with the cuts."""
        images, cuts = x if isinstance(x, tuple) else (x, None)
        (probabilities,) = self._session.run(["probabilities"], {"image": images})
        return probabilities if cuts is None else (probabilities, cuts)

    def unbatch(self, output: tuple[NDArray[np.float32], list[int]]) -> list[NDArray[np.float32]]:
        """Cut the probabilities into requests again."""
        return np.split(*output)

    def encode_response(self, output: NDArray[np.float32]) -> Response:
        """Write an answer."""
        answer = orjson.dumps({"probabilities": output}, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(answer, media_type="application/json")


class Raw(Network):
    """The same for raw bytes."""

    # LitServe reads from the argument's type what to hand over.
    def decode_request(self, request: Annotated[bytes, Body()]) -> NDArray[np.uint8]:  # type: ignore[override]
        """Return the images of a request."""
        return np.frombuffer(request, np.uint8).reshape(-1, 28, 28)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--setting", choices=BATCHING, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    server = litserve.LitServer(
        [
            Network(arguments.model, "/predict", BATCHING[arguments.setting]),
            Raw(arguments.model, "/raw", BATCHING[arguments.setting]),
        ],
        accelerator="cpu",
        fast_queue=arguments.setting == "fast-queue",
    )
    server.run(
        host="127.0.0.1",
        port=arguments.port,
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
