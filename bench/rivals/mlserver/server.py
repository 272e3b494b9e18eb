"""MLServer with a runtime for the network: one process, no metrics, no access log."""

import argparse
import asyncio

import numpy as np
import onnxruntime
import orjson
from fastapi import Request, Response
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.handlers import custom_handler
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse
from numpy.typing import NDArray

BATCHING = {"plain": {}, "batching": {"max_batch_size": 32, "max_batch_time": 0.001}}


class Network(MLModel):
    """The network in ONNX Runtime."""

    async def load(self) -> bool:
        """Read the file that the settings name."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self.settings.parameters.uri, options)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer in the Open Inference Protocol."""
        probabilities = self._run(NumpyCodec.decode_input(payload.inputs[0]))
        output = NumpyCodec.encode_output("probabilities", probabilities)
        return InferenceResponse(model_name=self.name, outputs=[output])

    @custom_handler(rest_path="/raw")
    async def raw(self, request: Request) -> Response:
        """Answer raw bytes, which MLServer never batches."""
        images = np.frombuffer(await request.body(), np.uint8).reshape(-1, 28, 28)
        return Response(
            orjson.dumps({"probabilities": self._run(images)}, option=orjson.OPT_SERIALIZE_NUMPY),
            media_type="application/json",
        )

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        probabilities: NDArray[np.float32]
        (probabilities,) = self._session.run(["probabilities"], {"image": images})
        return probabilities


async def serve(model: str, port: int, setting: str) -> None:
    """Serve until a signal comes."""
    server = MLServer(
        Settings(
            host="127.0.0.1",
            http_port=port,
            grpc_port=0,
            debug=False,
            parallel_workers=0,
            metrics_endpoint=None,
            gzip_enabled=False,
        )
    )
    network = ModelSettings(
        name="mlp-128",
        implementation=Network,
        parameters=ModelParameters(uri=model),
        **BATCHING[setting],
    )
    await server.start([network])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--setting", choices=BATCHING, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.model, arguments.port, arguments.setting))
