"""What TorchServe's worker calls: the network in ONNX Runtime, for all requests of a batch together."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray


class Network:
    """The network, and how requests become its images."""

    def initialize(self, context: Any) -> None:  # noqa: ANN401 - TorchServe's own, not in our environment
        """Read the file beside this one."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        model = Path(context.system_properties["model_dir"]) / "model.onnx"
        self._session = onnxruntime.InferenceSession(str(model), options)

    def handle(self, data: list[dict[str, Any]], context: object) -> list[str]:
        """Answer requests, each JSON or raw bytes, with one run of the network."""
        del context
        requests = [_images(request["body"]) for request in data]
        (probabilities,) = self._session.run(["probabilities"], {"image": np.concatenate(requests)})
        cuts = np.cumsum([len(images) for images in requests])[:-1]
        return [json.dumps({"probabilities": rows.tolist()}) for rows in np.split(probabilities, cuts)]


def _images(body: dict[str, Any] | bytearray) -> NDArray[np.uint8]:
    if isinstance(body, dict):
        return np.array(body["images"], np.uint8)
    return np.frombuffer(body, np.uint8).reshape(-1, 28, 28)
