"""What most people write: FastAPI, pydantic's list of lists, ONNX Runtime in the route."""

import argparse

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel


class Images(BaseModel):
    """Images of 28 x 28 numbers 0..255."""

    images: list[list[list[int]]]


class Probabilities(BaseModel):
    """A row an image."""

    probabilities: list[list[float]]


def create_app(model: str) -> FastAPI:
    """Build the app for the network in a file."""
    app = FastAPI()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)

    @app.post("/predict")
    async def predict(body: Images) -> Probabilities:
        images = np.array(body.images, np.uint8)
        (probabilities,) = session.run(["probabilities"], {"image": images})
        return Probabilities(probabilities=probabilities.tolist())

    @app.post("/raw")
    async def raw(request: Request) -> Probabilities:
        images = np.frombuffer(await request.body(), np.uint8).reshape(-1, 28, 28)
        (probabilities,) = session.run(["probabilities"], {"image": images})
        return Probabilities(probabilities=probabilities.tolist())

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    uvicorn.run(
        create_app(arguments.model),
        port=arguments.port,
        http="httptools",
        loop="uvloop",
        access_log=False,
        log_level="error",
    )
