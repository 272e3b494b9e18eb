"""The repository's networks of flowers on the lesson's test photographs, sent as the JPEG files they are."""

import csv
import os
import tarfile
from pathlib import Path

import pytest
from starlette.testclient import TestClient

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif("INKLING_DATA" not in os.environ, reason="INKLING_DATA does not name the data sets"),
]

OF_A_CLASS = 80
"""Photographs; they are numbered class by class."""


@pytest.fixture(scope="module")
def photographs() -> dict[int, bytes]:
    """The files of the test part by their numbers."""
    folder = Path(os.environ["INKLING_DATA"]) / "flowers17"
    with (folder / "flowers_17.csv").open(encoding="utf-8") as table:
        requested_output = {
            int(row["obs_id"][-6:]) for row in csv.DictReader(table) if row["train_id"] == "test"
        }
    with tarfile.open(folder / "17flowers.tgz") as archive:
        return {number: _file(archive, f"jpg/image_{number:04}.jpg") for number in sorted(requested_output)}


def _file(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    assert member
    return member.read()


@pytest.mark.parametrize(("version", "least"), [("1", 0.26), ("2", 0.40)])
def test_photographs_are_recognised_as_the_manifest_says(
    real_client: TestClient, photographs: dict[int, bytes], version: str, least: float
) -> None:
    """
    The service prepares a file as the trainer did: its share of right answers is the manifest's.
    """
    path = f"/v1/models/flowers17/versions/{version}"
    summary = real_client.get(path).json()
    (claimed,) = (
        metric["accuracy"]
        for metric in summary["metrics"]
        if (metric["fit"], metric["split"]) == ("published", "test")
    )

    right = 0
    for number, content in photographs.items():
        answer = real_client.post(f"{path}/predict", content=content, headers={"content-type": "image/jpeg"})
        (prediction,) = answer.json()["predictions"]
        right += prediction["index"] == (number - 1) // OF_A_CLASS

    assert len(photographs) == 340
    assert right / len(photographs) == pytest.approx(claimed, abs=0.004)
    assert claimed >= least
