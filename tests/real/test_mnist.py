"""The repository's models on MNIST's own 10,000 test images, asked over HTTP."""

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from service.codecs import arrays
from service.codecs.drawings import Limits
from service.core.artifact import artifact
from service.core.errors import MalformedRequest

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif("INKLING_DATA" not in os.environ, reason="INKLING_DATA does not name the data sets"),
]

BATCH = 1000
ALONE = 200


def idx(name: str) -> NDArray[np.uint8]:
    """Read one of MNIST's files, packed or not, wherever under INKLING_DATA it lies."""
    root = Path(os.environ["INKLING_DATA"])
    found = sorted([*root.rglob(name), *root.rglob(f"{name}.gz")])
    assert found, f"no {name} under INKLING_DATA"
    content = found[0].read_bytes()
    raw = gzip.decompress(content) if found[0].suffix == ".gz" else content
    shape = [int(side) for side in np.frombuffer(raw, ">i4", raw[3], 4)]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return idx("t10k-images-idx3-ubyte")


@pytest.fixture(scope="module")
def labels() -> NDArray[np.uint8]:
    return idx("t10k-labels-idx1-ubyte")


def ask(
    client: TestClient, model: str, images: NDArray[np.uint8], version: str = "1"
) -> list[dict[str, Any]]:
    """Send one batch as bytes."""
    path = f"/v1/models/{model}/versions/{version}/probabilities"
    headers = {"content-type": "application/octet-stream"}
    answer = client.post(path, content=images.tobytes(), headers=headers)
    assert answer.status_code == 200, answer.text
    predictions: list[dict[str, Any]] = answer.json()["predictions"]
    return predictions


LEAST = {
    ("softmax", "1"): 0.920,
    ("softmax", "2"): 0.925,
    ("mlp-128", "1"): 0.976,
    ("mlp-128", "2"): 0.986,
    ("mlp-128", "3"): 0.986,
    ("mlp-512x4", "1"): 0.977,
    ("mlp-512x4", "2"): 0.993,
    ("mlp-512x4", "3"): 0.9925,
    ("ink", "1"): 0.993,
    ("ink", "2"): 0.993,
    ("ink", "3"): 0.993,
    ("ink", "4"): 0.993,
}
"""Share of right answers on the test images."""


@pytest.mark.parametrize(("model", "version"), LEAST)
def test_a_model_is_as_good_as_promised(
    real_client: TestClient, images: NDArray[np.uint8], labels: NDArray[np.uint8], model: str, version: str
) -> None:
    """
    Its share of right answers among all 10,000, as bytes in batches; and that is what its manifest says.
    """
    claimed = [
        metric["accuracy"]
        for metric in real_client.get(f"/v1/models/{model}/versions/{version}").json()["metrics"]
        if (metric["fit"], metric["split"]) == ("published", "test")
    ]

    answers = [
        prediction
        for start in range(0, 10_000, BATCH)
        for prediction in ask(real_client, model, images[start : start + BATCH], version)
    ]

    right = np.array([answer["label"] for answer in answers]) == labels.astype(str)
    assert len(right) == 10_000
    assert right.mean() >= LEAST[model, version]
    assert claimed == [pytest.approx(right.mean(), abs=2e-4)]


@pytest.mark.parametrize("model", ["mlp-128", "softmax"])
def test_an_image_gets_the_same_answer_alone_as_in_a_batch(
    real_client: TestClient, published: Path, images: NDArray[np.uint8], model: str
) -> None:
    """
    The first 200, one by one as JSON: nested, flat, and on the unit scale. Float32 sums in another order may
    differ by what another processor's may: the tolerance of the golden examples.
    """
    together = ask(real_client, model, images[:ALONE])
    tolerance = artifact.read(published, model, "1").golden.tolerance
    path = f"/v1/models/{model}/versions/1/probabilities"

    for image, requested_output in zip(images[:ALONE], together, strict=True):
        for body in (
            {"image": image.tolist()},
            {"image": image.ravel().tolist()},
            {"image": (image / 255).tolist(), "scale": "unit"},
        ):
            (found,) = real_client.post(path, json=body).json()["predictions"]
            assert found["label"] == requested_output["label"]
            np.testing.assert_allclose(
                found["probabilities"], requested_output["probabilities"], rtol=0, atol=tolerance
            )


def test_bytes_and_wider_numbers_are_told_apart(images: NDArray[np.uint8]) -> None:
    """
    No batch of images is mistaken for an array of floats or integers, and each such array is found.
    """
    limits = Limits(images=64, picture_pixels=1, points=1)

    for count in (2, 4, 8, 16, 64):
        for start in range(0, len(images) - count, count):
            batch = images[start : start + count]
            assert len(arrays.read_octets(batch.tobytes(), (28, 28), limits)) == count
    for dtype in ("<f4", "<f8", "<i2", "<i4", "<i8"):
        for image in images[:1000]:
            array = (image / 255 if "f" in dtype else image).astype(dtype)
            with pytest.raises(MalformedRequest, match="one a pixel"):
                arrays.read_octets(array.tobytes(), (28, 28), limits)
