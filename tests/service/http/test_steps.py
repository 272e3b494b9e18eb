"""`include=steps`: the drawing after each step of its preparation, from the code that prepares."""

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


def asked(client: TestClient, query: str = "", **body: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - httpx's arguments
    """Return the entries of an answer with steps."""
    answer = client.post(PATH + query, **body)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["predictions"]
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


def test_strokes_are_drawn_cropped_fitted_and_centred(real_client: TestClient) -> None:
    """
    The last step is what the network saw.
    """
    (entry,) = asked(real_client, json={"strokes": FOUR})

    assert names(entry) == ["drawn", "cropped", "fitted", "centred"]
    assert entry["steps"][0]["title"] == "As drawn"
    assert max(pixels(entry["steps"][2]).shape) == 20
    np.testing.assert_array_equal(pixels(entry["steps"][-1]), entry["seen"])


@pytest.mark.parametrize("dark_on_light", [True, False])
@pytest.mark.parametrize(("pen", "changes_pen"), [(4, True), (60, True), (30, False)])
def test_a_picture_goes_through_all_steps(
    real_client: TestClient, dark_on_light: bool, pen: int, changes_pen: bool
) -> None:
    """
    The ink is light from the second step on; the pen's step is there where it changes something.
    """
    picture = digits.canvas(FOUR, 420, pen, dark_on_light)

    (entry,) = asked(real_client, content=file(picture), headers={"Content-Type": "image/png"})

    expected = ["drawn", "ink", "cropped", "pen", "fitted", "centred"]
    assert names(entry) == [name for name in expected if changes_pen or name != "pen"]
    drawn, ink = (pixels(step) for step in entry["steps"][:2])
    assert max(drawn.shape) == 280
    assert (np.median(drawn) > 127) == dark_on_light
    assert np.median(ink) == 0
    assert ink.max() == 255
    np.testing.assert_array_equal(pixels(entry["steps"][-1]), entry["seen"])


@pytest.mark.parametrize("label", digits.DIGITS)
def test_steps_change_no_answer(real_client: TestClient, label: str) -> None:
    """
    Strokes and pictures alike, to the last bit.
    """
    for body in (
        {"json": {"strokes": digits.DIGITS[label][0]}},
        {
            "content": file(digits.canvas(digits.DIGITS[label][0], 333, 9)),
            "headers": {"Content-Type": "image/png"},
        },
    ):
        (entry,) = asked(real_client, **body)
        plain = real_client.post(PATH.replace(",steps", ""), **body).json()["predictions"][0]
        del entry["steps"]
        assert entry == plain


def test_what_is_taken_as_it_is_has_one_step(real_client: TestClient) -> None:
    """
    Two images, each its own.
    """
    images = np.zeros((2, 28, 28), np.uint8)
    images[0, 5, 5] = images[1, 9, 9] = 255

    entries = asked(real_client, "&prepare=none", json={"images": images.tolist()})

    for entry, image in zip(entries, images, strict=True):
        assert names(entry) == ["taken"]
        np.testing.assert_array_equal(pixels(entry["steps"][0]), image)


def test_a_photograph_shows_its_middle_square(real_client: TestClient) -> None:
    """
    And the 64 x 64 that the network of flowers saw.
    """
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))

    answer = real_client.post(
        "/v1/models/flowers17/predict?include=seen,steps",
        content=file(photo),
        headers={"Content-Type": "image/png"},
    )

    (entry,) = answer.json()["predictions"]
    assert names(entry) == ["drawn", "cropped", "taken"]
    np.testing.assert_array_equal(pixels(entry["steps"][0]), np.asarray(photo))
    assert pixels(entry["steps"][1]).shape == (90, 90, 3)
    np.testing.assert_array_equal(pixels(entry["steps"][2]), entry["seen"])


def test_more_drawings_than_are_shown_are_refused(real_client: TestClient) -> None:
    """
    With how many there may be; without steps they are answered.
    """
    body = {"images": np.eye(28, dtype=int)[None].repeat(17, axis=0).tolist()}
    for image in body["images"]:
        image[0] = [200] * 28

    refused = real_client.post(PATH, json=body)
    answered = real_client.post(PATH.replace(",steps", ""), json=body)

    assert refused.status_code == 413
    assert "16" in refused.json()["detail"]
    assert answered.status_code == 200


def test_a_picture_of_absurd_sides_is_refused(real_client: TestClient) -> None:
    """
    It has few pixels, and would still take much memory.
    """
    picture = file(Image.new("L", (20_001, 1), 255))

    answer = real_client.post(PATH, content=picture, headers={"Content-Type": "image/png"})

    assert answer.status_code == 413
    assert "20,000" in answer.json()["detail"]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow says so, and goes on
def test_a_file_with_broken_notes_is_taken_as_not_turned(real_client: TestClient) -> None:
    """
    The camera's notes are no part of the picture.
    """
    written = io.BytesIO()
    digits.canvas(FOUR).save(written, "JPEG", quality=95, exif=b"Exif\x00\x00MM\x00*garbage, and more of it")

    answer = real_client.post(PATH, content=written.getvalue(), headers={"Content-Type": "image/jpeg"})

    assert answer.status_code == 200
    assert answer.json()["predictions"][0]["label"] == "4"
