"""The running service and its expected outputs, for the tests with clients.

Runs in the clients' own environment, where nothing of the service can be imported.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Service:
    """A running service and its expected outputs.

    Attributes:
        http: Its address.
        grpc: Its address for gRPC.
        models: The folder that it serves.
        spare: Versions that can be put there.
        folder: Arrays: images, and what the engine says of them.
    """

    http: str
    grpc: str
    models: Path
    spare: Path
    folder: Path

    def array(self, name: str) -> NDArray[Any]:
        """Return what was written under a name."""
        return np.asarray(np.load(self.folder / f"{name}.npy"))

    def images(self, count: int) -> NDArray[np.uint8]:
        """Return (count, 28, 28) digits."""
        return self.array("images")[:count]

    def scores(
        self, output: str, count: int, model: str = "mlp-128", version: str = "3"
    ) -> NDArray[np.float32]:
        """Return what the engine says of so many images, all at once."""
        return self.array(f"{model}-{version}-{count}-{output}")

    def publish(self, name: str, version: str) -> None:
        """Publish a spare version."""
        shutil.copytree(self.spare / name / version, self.models / name / f".{version}")
        (self.models / name / f".{version}").rename(self.models / name / version)


def check_classes(found: NDArray[Any], scores: NDArray[np.float32], classes: int) -> None:
    """Check that the top classes of a digit model are returned, the most likely first.

    Args:
        found: (B, classes) `value:index:label`, as text or bytes.
        scores: (B, 10), what the values should be.
        classes: How many should be named.
    """
    assert found.shape == (len(scores), classes)
    for elements, row in zip(found, scores, strict=True):
        texts = [element if isinstance(element, str) else element.decode() for element in elements]
        values, indices, labels = zip(*(text.split(":") for text in texts), strict=True)
        best = np.argsort(-row, kind="stable")[:classes]
        assert [int(index) for index in indices] == best.tolist()
        assert labels == tuple(str(index) for index in best)
        np.testing.assert_array_equal(np.array(values, np.float32), row[best])
