"""`include=steps`: the preprocessing steps of an image, from the code that preprocesses it."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from tests import digits

PATH = "/v1/models/mlp-128/versions/1/predict?include=seen,steps"
FOUR = digits.DIGITS["4"][0]


def request(client: TestClient, query: str = "", **body: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - httpx's arguments
    """Return the entries of an answer with steps."""
    response = client.post(PATH + query, **body)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["predictions"]
    return found


def file(picture: Image.Image, form: str = "PNG") -> bytes:
    """Return a picture file."""
    written = io.BytesIO()
    picture.save(written, form)
    return written.getvalue()


def pixels(step: dict[str, Any]) -> NDArray[np.uint8]:
    """Return a step's picture, which has the size that the step names."""
    head, _, data = step["picture"].partition(",")
    assert head == "data:image/png;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert picture.size == (step["width"], step["height"])
    return np.asarray(picture)


def names(entry: dict[str, Any]) -> list[str]:
    return [step["name"] for step in entry["steps"]]


def test_steps_of_strokes(real_client: TestClient) -> None:
    """The last step is the model's input."""
    (entry,) = request(real_client, json={"strokes": FOUR})

    assert names(entry) == ["drawn", "cropped", "fitted", "centred"]
    assert entry["steps"][0]["title"] == "As drawn"
    assert max(pixels(entry["steps"][2]).shape) == 20
    np.testing.assert_array_equal(pixels(entry["steps"][-1]), entry["seen"])


@pytest.mark.parametrize("dark_on_light", [True, False])
@pytest.mark.parametrize(("pen", "changes_pen"), [(4, True), (60, True), (30, False)])
def test_steps_of_an_image_file(
    real_client: TestClient, dark_on_light: bool, pen: int, changes_pen: bool
) -> None:
    """From the second step on the ink is light; the step pen is absent if it changes nothing."""
    picture = digits.canvas(FOUR, 420, pen, dark_on_light)

    (entry,) = request(real_client, content=file(picture), headers={"Content-Type": "image/png"})

    expected = ["drawn", "ink", "cropped", "pen", "fitted", "centred"]
    assert names(entry) == [name for name in expected if changes_pen or name != "pen"]
    drawn, ink = (pixels(step) for step in entry["steps"][:2])
    assert max(drawn.shape) == 280
    assert (np.median(drawn) > 127) == dark_on_light
    assert np.median(ink) == 0
    assert ink.max() == 255
    np.testing.assert_array_equal(pixels(entry["steps"][-1]), entry["seen"])


@pytest.mark.parametrize("label", digits.DIGITS)
def test_steps_do_not_change_predictions(real_client: TestClient, label: str) -> None:
    for body in (
        {"json": {"strokes": digits.DIGITS[label][0]}},
        {
            "content": file(digits.canvas(digits.DIGITS[label][0], 333, 9)),
            "headers": {"Content-Type": "image/png"},
        },
    ):
        (entry,) = request(real_client, **body)
        plain = real_client.post(PATH.replace(",steps", ""), **body).json()["predictions"][0]
        del entry["steps"]
        assert entry == plain


def test_an_image_used_unchanged_has_one_step(real_client: TestClient) -> None:
    images = np.zeros((2, 28, 28), np.uint8)
    images[0, 5, 5] = images[1, 9, 9] = 255

    entries = request(real_client, "&prepare=none", json={"images": images.tolist()})

    for entry, image in zip(entries, images, strict=True):
        assert names(entry) == ["taken"]
        np.testing.assert_array_equal(pixels(entry["steps"][0]), image)


def test_steps_of_a_photograph(real_client: TestClient) -> None:
    """The centre square, and the model's input of 64 x 64."""
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))

    response = real_client.post(
        "/v1/models/flowers17/predict?include=seen,steps",
        content=file(photo),
        headers={"Content-Type": "image/png"},
    )

    (entry,) = response.json()["predictions"]
    assert names(entry) == ["drawn", "cropped", "taken"]
    np.testing.assert_array_equal(pixels(entry["steps"][0]), np.asarray(photo))
    assert pixels(entry["steps"][1]).shape == (90, 90, 3)
    np.testing.assert_array_equal(pixels(entry["steps"][2]), entry["seen"])


def test_steps_of_too_many_images_are_refused(real_client: TestClient) -> None:
    body = {"images": np.eye(28, dtype=int)[None].repeat(17, axis=0).tolist()}
    for image in body["images"]:
        image[0] = [200] * 28

    refused = real_client.post(PATH, json=body)
    answered = real_client.post(PATH.replace(",steps", ""), json=body)

    assert refused.status_code == 413
    assert "16" in refused.json()["detail"]
    assert answered.status_code == 200


def test_an_image_file_with_a_very_long_side_is_refused(real_client: TestClient) -> None:
    """It has few pixels, but would need much memory."""
    picture = file(Image.new("L", (20_001, 1), 255))

    response = real_client.post(PATH, content=picture, headers={"Content-Type": "image/png"})

    assert response.status_code == 413
    assert "20,000" in response.json()["detail"]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow says so, and goes on
def test_a_file_with_broken_exif_data_is_not_rotated(real_client: TestClient) -> None:
    written = io.BytesIO()
    digits.canvas(FOUR).save(written, "JPEG", quality=95, exif=b"Exif\x00\x00MM\x00*garbage, and more of it")

    response = real_client.post(PATH, content=written.getvalue(), headers={"Content-Type": "image/jpeg"})

    assert response.status_code == 200
    assert response.json()["predictions"][0]["label"] == "4"
