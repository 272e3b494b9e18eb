"""`service/http/api/read.py`: numbers as strokes and pictures, read by the published `ink`."""

import base64
import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageDraw
from starlette.testclient import TestClient

from service.settings import Settings
from tests import digits
from tests.conftest import REPOSITORY
from tests.service.http.bodies import problem
from tests.service.http.running import service

READ = "/v1/models/ink/read"

Strokes = list[list[list[float]]]


@pytest.fixture(scope="module")
def client(toy_settings: Settings) -> Iterator[TestClient]:
    with service(
        toy_settings, models=REPOSITORY / "models", max_body_bytes=2**20, max_picture_pixels=10**7
    ) as client:
        yield client


def number(text: str, top: float = 0, step: float = 1.2) -> Strokes:
    """Strokes of a number: digits 100 units high, side by side."""
    strokes: Strokes = []
    for place, label in enumerate(text):
        drawn = digits.arrays(digits.DIGITS[label][0])
        points = np.concatenate(drawn)
        low, scale = points.min(axis=0), 100 / np.ptp(points[:, 1])
        at = np.array([100 * step * place, top])
        strokes += [((stroke - low) * scale + at).tolist() for stroke in drawn]
    return strokes


def picture(strokes: Strokes) -> bytes:
    """A PNG of strokes, black on white, with a pen of 8 pixels."""
    points = np.concatenate([np.array(stroke) for stroke in strokes])
    width, height = (points.max(axis=0) + 60).astype(int).tolist()
    image = Image.new("L", (width, height), 255)
    draw = ImageDraw.Draw(image)
    for stroke in strokes:
        draw.line([(x + 30, y + 30) for x, y in stroke], fill=0, width=8, joint="curve")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("text", ["7", "42", "308", "1976"])
def test_numbers_are_read_as_strokes_and_as_pictures(client: TestClient, text: str) -> None:
    """
    The same digits, from left to right, with a box for each.
    """
    strokes = number(text)

    drawn = client.post(READ, json={"strokes": strokes}).json()
    seen = client.post(READ, content=picture(strokes), headers={"content-type": "image/png"}).json()

    for found in (drawn, seen):
        assert found["text"] == text
        assert "".join(digit["label"] for digit in found["digits"]) == text
        lefts = [digit["box"][0] for digit in found["digits"]]
        assert lefts == sorted(lefts)
        expected = np.prod([digit["confidence"] for digit in found["digits"]])
        assert found["confidence"] == pytest.approx(expected, rel=1e-4)


def test_boxes_are_in_units_of_the_drawing(client: TestClient) -> None:
    """
    As the strokes' coordinates, and as pixels of the picture.
    """
    strokes = number("42")

    drawn = client.post(READ, json={"strokes": strokes}).json()["digits"][1]["box"]
    seen = client.post(READ, content=picture(strokes), headers={"content-type": "image/png"})

    assert drawn[0] == pytest.approx(120, abs=1)
    assert drawn[3] == pytest.approx(100, abs=1)
    assert seen.json()["digits"][1]["box"][0] == pytest.approx(146, abs=5)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_boxes_are_in_pixels_of_a_file_that_is_decoded_reduced(client: TestClient, form: str) -> None:
    """
    A large picture has the boxes of the small one, enlarged.
    """
    small = Image.open(io.BytesIO(picture(number("42"))))
    width, height = small.size
    file = io.BytesIO()
    small.resize((12 * width, 12 * height)).save(file, form)

    found = client.post(READ, content=file.getvalue(), headers={"content-type": f"image/{form.lower()}"})

    assert found.json()["text"] == "42"
    assert found.json()["digits"][1]["box"][0] == pytest.approx(12 * 146, abs=12 * 8)
    assert found.json()["digits"][1]["box"][3] <= 12 * height


def test_lines_are_read_from_top_to_bottom(client: TestClient) -> None:
    """
    With a line feed between two.
    """
    strokes = [*number("64"), *number("20", top=170)]

    assert client.post(READ, json={"strokes": strokes}).json()["text"] == "64\n20"


def test_digits_that_touch_are_separated(client: TestClient) -> None:
    """
    In a picture they are one component.
    """
    touching = picture(number("30", step=0.72))

    found = client.post(READ, content=touching, headers={"content-type": "image/png"}).json()

    assert found["text"] == "30"


def test_a_base64_picture_and_numbers_are_accepted(client: TestClient) -> None:
    """
    As every form that `predict` accepts.
    """
    text = base64.b64encode(picture(number("42"))).decode()
    grey = Image.open(io.BytesIO(picture(number("7")))).resize((28, 28))

    assert client.post(READ, json={"image": text}).json()["text"] == "42"
    numbers = (255 - np.asarray(grey)).tolist()
    assert client.post(READ, json={"image": numbers}).json()["text"] == "7"


def test_bad_requests_are_refused(client: TestClient) -> None:
    """
    Nothing drawn, several drawings, a model of photographs.
    """
    blank = Image.new("L", (100, 50), 255)
    file = io.BytesIO()
    blank.save(file, "PNG")
    twice = {"images": [[0] * 300 + [255] * 100 + [0] * 384] * 2}

    empty = client.post(READ, content=file.getvalue(), headers={"content-type": "image/png"})
    several = client.post(READ, json=twice)
    photographs = client.post("/v1/models/flowers17/read", json={"strokes": number("1")})

    assert problem(empty, 422, "blank-image").startswith("Body should show something drawn")
    assert problem(several, 400, "malformed-request") == "Body should be one drawing; got 2."
    assert problem(photographs, 400, "tensor-mismatch").startswith("Model should be of 28 x 28 pixels")
