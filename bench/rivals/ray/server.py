"""Ray Serve as it is quickest: one replica that callers ask without a proxy between, no access log."""

import argparse
import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import orjson
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

SETTINGS = ("plain", "batching")
ENVIRONMENT = {
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # else it writes a token into the home folder
}
"""The first one is Ray's own choice for most requests: one event loop, replicas that listen themselves."""


def serve(model: str, port: int, setting: str) -> None:
    """Serve until a signal comes."""
    # Read when Ray is imported: the replica takes the first port of these; the last is not among them.
    os.environ |= ENVIRONMENT
    os.environ["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"] = str(port)
    os.environ["RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"] = str(port + 1)
    import ray  # noqa: PLC0415 - reads the environment set above
    from ray import serve  # noqa: PLC0415 - reads the environment set above
    from ray.serve.config import HTTPOptions  # noqa: PLC0415 - reads the environment set above
    from ray.serve.schema import LoggingConfig  # noqa: PLC0415 - reads the environment set above

    class Network:
        """The network in ONNX Runtime, for JSON and raw bytes."""

        def __init__(self) -> None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(model, options)

        async def __call__(self, request: Request) -> Response:
            body = await request.body()
            if request.headers["content-type"] == "application/json":
                images = np.array(orjson.loads(body)["images"], np.uint8)
            else:
                images = np.frombuffer(body, np.uint8).reshape(-1, 28, 28)
            probabilities = await self._together(images) if setting == "batching" else self._run(images)
            return Response(
                orjson.dumps({"probabilities": probabilities}, option=orjson.OPT_SERIALIZE_NUMPY),
                media_type="application/json",
            )

        @serve.batch(max_batch_size=32, batch_wait_timeout_s=0)
        async def _together(self, requests: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
            """Run what waits together, requests of several images each."""
            cuts = np.cumsum([len(images) for images in requests])[:-1]
            return np.split(self._run(np.concatenate(requests)), cuts)

        def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            probabilities: NDArray[np.float32]
            (probabilities,) = self._session.run(["probabilities"], {"image": images})
            return probabilities

    ray.init(
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100_000_000,
        _temp_dir=str(Path.cwd()),
    )
    # Its proxy starts all the same, at a port where nobody asks it.
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=_free_port()))
    quiet = LoggingConfig(enable_access_log=False, log_level="ERROR")
    deployment = serve.deployment(num_replicas=1, max_ongoing_requests=1000, logging_config=quiet)(Network)
    serve.run(deployment.bind(), name="mlp-128", logging_config=quiet)
    # An orderly end waits half a minute for callers; the benchmark ends Ray's processes itself.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.pause()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--setting", choices=SETTINGS, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    serve(arguments.model, arguments.port, arguments.setting)
