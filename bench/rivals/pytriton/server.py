"""Triton as PyTriton brings it: its HTTP front, the network in a Python process of its own."""

import argparse
import os
import signal
import sysconfig
import threading

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

LARGEST = 1024
BATCHERS = {
    "plain": ModelConfig(max_batch_size=LARGEST, batcher=None),
    "batching": ModelConfig(max_batch_size=LARGEST, batcher=DynamicBatcher()),
}


def serve(model: str, port: int, setting: str) -> None:
    """Serve until a signal comes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)

    @batch
    def run(image: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        (probabilities,) = session.run(["probabilities"], {"image": image})
        return {"probabilities": probabilities}

    # Triton starts a Python of its own, whose library must be this Python's, not whichever the system has.
    os.environ["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=port,
        http_thread_count=2,
        allow_grpc=False,
        allow_metrics=False,
        log_verbose=0,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="mlp-128",
            infer_func=run,
            inputs=[Tensor(name="image", dtype=np.uint8, shape=(28, 28))],
            outputs=[Tensor(name="probabilities", dtype=np.float32, shape=(10,))],
            config=BATCHERS[setting],
        )
        triton.run()
        ended.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--setting", choices=BATCHERS, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    serve(arguments.model, arguments.port, arguments.setting)
