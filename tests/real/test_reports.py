"""The repository's reports against MNIST itself: what they say is what the service answers."""

import os
from pathlib import Path

import numpy as np
import pytest

from service.core.artifact import artifact, report
from service.core.network.engine import Engine
from tests.conftest import REPOSITORY
from training.data.mnist import MNIST, official_split

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif("INKLING_DATA" not in os.environ, reason="INKLING_DATA does not name the data sets"),
]

ROOT = REPOSITORY / "models"

DIGITS = [
    (name, version)
    for name, versions in artifact.versions(ROOT).items()
    for version in versions
    if name in ("softmax", "mlp-128", "mlp-512x4")
]


@pytest.mark.parametrize(("name", "version"), DIGITS)
def test_a_report_counts_what_its_network_answers(name: str, version: str) -> None:
    """
    The matrix of MNIST's test images, the manifest's accuracy, and the rows of the troublesome images.
    """
    published = artifact.read(ROOT, name, version)
    found = report.read(ROOT, published.manifest)
    test = official_split(Path(os.environ["INKLING_DATA"]), MNIST).parts["test"]

    probabilities = Engine.load(published).run(test.pixels).probabilities

    named = probabilities.argmax(axis=1)
    counts = np.histogram2d(test.labels, named, bins=(range(11), range(11)))[0]
    (matrix,) = (each for each in found.confusion if (each.fit, each.split) == ("published", "test"))
    assert np.abs(np.array(matrix.counts) - counts).sum() <= 4  # another processor may turn two images round
    (claimed,) = (
        metric for metric in published.manifest.metrics if (metric.fit, metric.split) == ("published", "test")
    )
    (measured,) = (each for each in found.accuracy if (each.fit, each.split) == ("published", "test"))
    assert measured.accuracy == pytest.approx(claimed.accuracy, abs=2e-4)
    assert measured.loss == pytest.approx(claimed.loss, rel=1e-3)
    for extreme in found.extremes:
        if extreme.split == "test":
            label = int(extreme.label)
            rows = [seen.row for seen in extreme.troublesome]
            assert (test.labels[rows] == label).all()
            own = np.where(test.labels == label, probabilities[:, label], 2)
            assert own[rows[0]] == pytest.approx(own.min(), abs=1e-6)
