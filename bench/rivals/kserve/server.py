"""KServe's model server, which has no batching: one process, uvloop, httptools, nothing logged."""

import argparse
import logging
from typing import Any

import numpy as np
import onnxruntime
import orjson
from kserve import InferOutput, InferRequest, InferResponse, Model, model_server
from numpy.typing import NDArray

SETTINGS = ("plain",)


class Network(Model):
    """The network in ONNX Runtime."""

    def __init__(self, model: str) -> None:
        super().__init__("mlp-128")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options)
        self.ready = True

    async def predict(
        self,
        payload: InferRequest | dict[str, Any] | bytes,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> InferResponse | bytes:
        """Answer the open protocol, a JSON object or raw bytes, each as it asks."""
        del headers, response_headers
        if isinstance(payload, InferRequest):
            probabilities = self._run(payload.inputs[0].as_numpy())
            output = InferOutput("probabilities", list(probabilities.shape), "FP32")
            output.set_data_from_numpy(probabilities)  # as binary; KServe makes it what the request asks for
            return InferResponse(
                payload.id or "none", self.name, [output], requested_outputs=payload.request_outputs
            )
        if isinstance(payload, dict):
            images = np.array(payload["images"], np.uint8)
        else:
            images = np.frombuffer(payload, np.uint8).reshape(-1, 28, 28)
        return orjson.dumps({"probabilities": self._run(images)}, option=orjson.OPT_SERIALIZE_NUMPY)

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        probabilities: NDArray[np.float32]
        (probabilities,) = self._session.run(["probabilities"], {"image": images})
        return probabilities


def serve(model: str, port: int) -> None:
    """Serve until a signal comes."""
    logging.disable(logging.INFO)  # else every request's times are written

    class Local(model_server.RESTServer):
        """Listens here alone, for which KServe has no setting."""

        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)
            self.config.host = "127.0.0.1"
            self.config.access_log = False
            self.config.http = "httptools"

    model_server.RESTServer = Local
    server = model_server.ModelServer(
        http_port=port, workers=1, enable_grpc=False, enable_latency_logging=False, event_loop="uvloop"
    )
    server.start([Network(model)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--setting", choices=SETTINGS, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    serve(arguments.model, arguments.port)
