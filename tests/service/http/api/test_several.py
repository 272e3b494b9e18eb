"""The member `several` of `predict`, `probabilities` and `explain`, with the published `ink`."""

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from service.inference import several_digits
from service.settings import Settings
from tests import digits
from tests.conftest import REPOSITORY
from tests.service.http.api.test_read import Strokes, number, picture
from tests.service.http.bodies import form
from tests.service.http.running import service

PREDICT = "/v1/models/ink/predict"
ZERO_OF_TWO_HALVES: digits.Strokes = [
    digits.DIGITS["0"][0][0][:13],
    digits.DIGITS["0"][0][0][12:],
]
EIGHT_OF_TWO_CIRCLES: digits.Strokes = [digits.DIGITS["8"][0][0][:24], digits.DIGITS["8"][0][0][24:]]
FIVE_WITH_BAR: digits.Strokes = [digits.DIGITS["5"][0][0][1:], digits.DIGITS["5"][0][0][:2]]


@pytest.fixture(scope="module")
def client(toy_settings: Settings) -> Iterator[TestClient]:
    with service(toy_settings, models=REPOSITORY / "models", max_body_bytes=2**20) as client:
        yield client


def predicted(client: TestClient, path: str = PREDICT, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - httpx's options
    response = client.post(path, **request)
    assert response.status_code == 200, response.text
    (prediction,) = response.json()["predictions"]
    assert isinstance(prediction, dict)
    return prediction


@pytest.mark.parametrize("text", ["10", "42", "07", "365", "2026"])
def test_numbers_are_several_and_not_sure(client: TestClient, text: str) -> None:
    """
    As strokes, as a picture, as base64 of it and in a form.
    """
    strokes = number(text)
    image = picture(strokes)
    answers = [
        predicted(client, json={"strokes": strokes}),
        predicted(client, content=image, headers={"content-type": "image/png"}),
        predicted(client, json={"image": base64.b64encode(image).decode()}),
        predicted(client, content=form(("a", image))[1], headers={"content-type": form()[0]}),
    ]

    for answer in answers:
        assert answer["several"] is True
        assert answer["sure"] is False


def test_two_lines_are_several(client: TestClient) -> None:
    answer = predicted(client, json={"strokes": number("3") + number("6", top=160)})

    assert answer["several"] is True


@pytest.mark.parametrize("label", "0123456789")
def test_one_digit_is_not_several(client: TestClient, label: str) -> None:
    """
    As strokes and as a picture; the member is absent.
    """
    for strokes in digits.DIGITS[label]:
        drawn = predicted(client, json={"strokes": strokes})
        shown = predicted(client, content=picture(strokes), headers={"content-type": "image/png"})

        assert "several" not in drawn
        assert "several" not in shown


@pytest.mark.parametrize(
    ("strokes", "label"),
    [(ZERO_OF_TWO_HALVES, "0"), (EIGHT_OF_TWO_CIRCLES, "8"), (FIVE_WITH_BAR, "5")],
    ids=["zero", "eight", "five"],
)
def test_a_digit_of_several_strokes_is_not_several(
    client: TestClient, strokes: digits.Strokes, label: str
) -> None:
    answer = predicted(client, json={"strokes": strokes})

    assert (answer["label"], answer["sure"]) == (label, True)
    assert "several" not in answer


def test_a_strip_of_dozens_of_digits_is_several(client: TestClient) -> None:
    strokes = number("31415926535897932384626433832795028841971693993751")
    strip = Image.open(io.BytesIO(picture(strokes)))
    file = io.BytesIO()
    strip.resize((strip.width // 4, strip.height // 4)).save(file, "PNG")

    answer = predicted(client, content=file.getvalue(), headers={"content-type": "image/png"})

    assert answer["several"] is True
    assert answer["sure"] is False


@pytest.mark.parametrize("path", ["probabilities", "explain", "predict?include=seen"])
def test_every_operation_has_the_member(client: TestClient, path: str) -> None:
    several = predicted(client, f"/v1/models/ink/{path}", json={"strokes": number("42")})
    one = predicted(client, f"/v1/models/ink/{path}", json={"strokes": digits.DIGITS["3"][0]})

    assert (several["several"], several["sure"]) == (True, False)
    assert "several" not in one
    assert one["sure"] is True


def test_each_file_of_a_form_has_its_own(client: TestClient) -> None:
    files = [("a", picture(number(text))) for text in ("3", "42", "6")]

    content_type, body = form(*files)
    response = client.post(PREDICT, content=body, headers={"content-type": content_type})
    predictions = response.json()["predictions"]

    assert [entry.get("several") for entry in predictions] == [None, True, None]
    assert [entry["sure"] for entry in predictions] == [True, False, True]


def test_a_canvas_scaled_down_by_the_client_is_examined(client: TestClient) -> None:
    """
    28 x 28 numbers that are not as MNIST's; unchanged images never are.
    """
    canvas = Image.new("L", (280, 280), 255)
    number_image = Image.open(io.BytesIO(picture(number("10")))).convert("L").resize((230, 200))
    canvas.paste(number_image, (20, 30))
    small = 255 - np.asarray(canvas.resize((28, 28), Image.Resampling.BOX)).astype(int)

    auto = predicted(client, json={"image": small.tolist()})
    unchanged = predicted(client, f"{PREDICT}?prepare=none", json={"image": small.tolist()})

    assert auto["several"] is True
    assert "several" not in unchanged


def test_parts_at_the_sides_of_a_picture_are_no_digits(client: TestClient) -> None:
    """
    A table beside the sheet, and a neighbour's ink.
    """
    image = digits.canvas(digits.DIGITS["3"][0])
    image.paste(60, (0, 0, 30, 280))
    file = io.BytesIO()
    image.save(file, "PNG")

    answer = predicted(client, content=file.getvalue(), headers={"content-type": "image/png"})

    assert "several" not in answer


def test_drawings_after_the_limit_of_parts_are_not_examined(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(several_digits, "MAX_CANDIDATES", 1)
    files = [("a", picture(number("42")))] * 3

    content_type, body = form(*files)
    response = client.post(PREDICT, content=body, headers={"content-type": content_type})
    predictions = response.json()["predictions"]

    assert [entry.get("several") for entry in predictions] == [True, None, None]


def test_hundreds_of_strokes_are_answered(client: TestClient) -> None:
    """
    More parts than `read` takes.
    """
    strokes: Strokes = [[[at * 10.0, 0.0], [at * 10.0 + 5, 100.0]] for at in range(250)]

    response = client.post(PREDICT, content=json.dumps({"strokes": strokes}))

    assert response.status_code == 200
    assert response.json()["predictions"][0]["sure"] is False
