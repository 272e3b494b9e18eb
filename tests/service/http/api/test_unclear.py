"""The member `unclear` of `predict`: pictures whose segmentation is not clear are not sure."""

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from service.core.drawing import mnist
from tests import digits
from tests.service.http.api.test_several import client as client  # noqa: PLC0414 - a fixture
from tests.service.http.bodies import picture as file_of


def striped() -> Image.Image:
    """Return a seven in the light of blinds, under strong noise."""
    grey = np.asarray(digits.canvas(digits.DIGITS["7"][0], 300), np.float32) * 0.5 + 90
    grey += np.random.default_rng(1).normal(0, 25, grey.shape)
    grey[(np.arange(300) // 30) % 2 == 1] *= 0.6
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


def test_an_unclear_picture_is_not_sure(client: TestClient) -> None:
    """
    The prediction says why; a clean drawing has no such member.
    """
    doubts: list[object] = []
    mnist.from_picture(striped(), doubts=doubts)  # type: ignore[arg-type]  # any list takes them

    bodies = [file_of(striped()), file_of(digits.canvas(digits.DIGITS["7"][0]))]
    unclear, clean = (
        client.post("/v1/models/ink/predict", content=body, headers={"content-type": "image/png"}).json()
        for body in bodies
    )

    assert doubts == [unclear["predictions"][0]["unclear"]]
    assert unclear["predictions"][0]["sure"] is False
    assert clean["predictions"][0]["sure"] is True
    assert "unclear" not in clean["predictions"][0]
