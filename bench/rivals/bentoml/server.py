"""BentoML: one worker, no metrics, no access log."""

import argparse
import os
import sys
from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
import onnxruntime
from bentoml.validators import ContentType, DType
from numpy.typing import NDArray

_MODEL, _SETTING = "BENCH_MODEL", "BENCH_SETTING"
"""BentoML imports this file anew in its worker, which is told by the environment what to do."""

SETTINGS = ("plain", "batching")


@bentoml.service(
    workers=1,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    traffic={"timeout": 60},
)
class Network:
    """The network in ONNX Runtime."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ[_MODEL], options)

    @bentoml.api(batchable=os.environ.get(_SETTING) == "batching", max_batch_size=1024, max_latency_ms=60_000)
    async def predict(self, images: Annotated[NDArray[np.uint8], DType("uint8")]) -> NDArray[np.float32]:
        """Answer images in JSON."""
        return self._run(images)

    @bentoml.api
    async def raw(
        self, body: Annotated[bytes, ContentType("application/octet-stream")], /
    ) -> NDArray[np.float32]:
        """Answer raw bytes, which BentoML does not batch."""
        return self._run(np.frombuffer(body, np.uint8).reshape(-1, 28, 28))

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        probabilities: NDArray[np.float32]
        (probabilities,) = self._session.run(["probabilities"], {"image": images})
        return probabilities


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--setting", choices=SETTINGS, required=True)
    parser.add_argument("--port", required=True)
    arguments = parser.parse_args()
    environment = {
        **os.environ,
        _MODEL: arguments.model,
        _SETTING: arguments.setting,
        "BENTOML_HOME": str(Path.cwd()),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    command = [sys.executable, "-m", "bentoml", "serve", "server:Network", "--host", "127.0.0.1"]
    folder = str(Path(__file__).parent)
    os.execve(sys.executable, [*command, "--port", arguments.port, "--working-dir", folder], environment)
