"""Preprocessing for a model of colour photographs, with every content type.

For models of 28 x 28, see `tests/service/codecs` and `tests/service/http/api/test_predict.py`.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from service.core.drawing import photo
from service.settings import Settings
from tests import digits, toys
from tests.service.http.bodies import form, npy, picture, problem
from tests.service.http.running import service

PREDICT = "/v1/models/colours/predict"
RED, GREEN, BLUE = (250, 10, 10), (10, 250, 10), (10, 10, 250)


@pytest.fixture(scope="module")
def client(toy_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a service with `colours`, which returns the most frequent colour."""
    root = tmp_path_factory.mktemp("colours")
    toys.publish(root, "colours", toys.colour_weights(), toys.COLOURS)
    with service(toy_settings, models=root) as client:
        yield client


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (90, 70)) -> Image.Image:
    return Image.new("RGB", size, colour)


def labels(response: object) -> list[str]:
    assert isinstance(response, dict)
    return [entry["label"] for entry in response["predictions"]]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("size", [(90, 70), (64, 64), (1, 1), (400, 600)])
def test_pictures_of_any_size_are_preprocessed(client: TestClient, form: str, size: tuple[int, int]) -> None:
    """Labels may contain spaces."""
    response = client.post(
        PREDICT,
        content=picture(plain(BLUE, size), form),
        headers={"content-type": f"image/{form.lower()}"},
    )

    assert labels(response.json()) == ["blue bell"]


def test_every_content_type_gets_the_same_prediction(client: TestClient) -> None:
    """
    Files in a form, in base64 and as data: URL; numbers nested, flat, 0..1, as bytes and as NumPy arrays.
    """
    batch = toys.plain(RED, GREEN, BLUE)
    files = [picture(Image.fromarray(image)) for image in batch]
    texts = [base64.b64encode(file).decode() for file in files]
    json_type = "application/json"
    bodies = [
        form(*[("a", file) for file in files]),
        (json_type, json.dumps({"images": texts}).encode()),
        (json_type, json.dumps({"images": [f"data:image/png;base64,{text}" for text in texts]}).encode()),
        (json_type, json.dumps({"images": [texts[0], *batch[1:].reshape(2, -1).tolist()]}).encode()),
        ("application/octet-stream", batch.tobytes()),
        ("application/x-npy", npy(batch)),
        ("application/x-npy", npy((batch.reshape(3, -1) / 255).astype("f4"))),
    ]
    responses = [
        client.post(f"{PREDICT}?include=seen", content=body, headers={"content-type": kind}).json()
        for kind, body in bodies
    ]
    nested = client.post(f"{PREDICT}?include=seen", json={"image": batch[0].tolist()}).json()

    assert labels(responses[0]) == list(toys.COLOURS)
    np.testing.assert_array_equal([entry["seen"] for entry in responses[0]["predictions"]], batch)
    assert [entry.pop("file") for entry in responses[0]["predictions"]] == ["digit"] * 3  # of the form only
    assert all(response == responses[0] for response in responses)
    assert nested["predictions"] == responses[0]["predictions"][:1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_the_exif_orientation_is_applied(client: TestClient, orientation: int, form: str) -> None:
    upright = np.zeros((128, 192, 3), np.uint8)
    upright[:64, 32:96] = RED
    turned: NDArray[np.uint8] = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = picture(Image.fromarray(np.ascontiguousarray(turned)), form, exif=exif, quality=95, lossless=True)

    response = client.post(
        f"{PREDICT}?include=seen", content=file, headers={"content-type": f"image/{form.lower()}"}
    )

    (entry,) = response.json()["predictions"]
    assert np.abs(np.array(entry["seen"]) - photo.prepare(Image.fromarray(upright))).mean() < 2


def test_the_first_frame_of_an_animation_is_used(client: TestClient) -> None:
    """Of animated WebP and PNG files."""
    for kind in ("WEBP", "PNG"):
        file = picture(plain(GREEN), kind, save_all=True, append_images=[plain(RED), plain(BLUE)])

        response = client.post(PREDICT, content=file, headers={"content-type": f"image/{kind.lower()}"})

        assert labels(response.json()) == ["green leaf"]


def test_a_black_photograph_is_not_blank(client: TestClient) -> None:
    """Only drawings can be blank."""
    black = toys.plain((0, 0, 0))

    responses = [
        client.post(PREDICT, json={"image": black[0].tolist()}),
        client.post(PREDICT, content=picture(plain((0, 0, 0))), headers={"content-type": "image/png"}),
        client.post(PREDICT, content=black.tobytes(), headers={"content-type": "application/octet-stream"}),
    ]

    assert [response.status_code for response in responses] == [200] * 3


def test_strokes_are_refused(client: TestClient) -> None:
    """With any preprocessing."""
    body = {"strokes": digits.DIGITS["1"][0]}

    for query in ("", "?prepare=none"):
        detail = problem(client.post(PREDICT + query, json=body), 400, "tensor-mismatch")

        expected = "64 x 64 x 3 numbers or a picture file for this model"
        assert detail == f"Field 'strokes' should be {expected}; got strokes."


def test_without_preprocessing_a_picture_must_have_the_input_size(client: TestClient) -> None:
    """Checked in the header, before decoding."""
    png = {"content-type": "image/png"}
    fits = client.post(f"{PREDICT}?prepare=none", content=picture(plain(RED, (64, 64))), headers=png)
    not_quite = client.post(f"{PREDICT}?prepare=none", content=picture(plain(RED, (64, 65))), headers=png)

    assert labels(fits.json()) == ["red rose"]
    detail = problem(not_quite, 400, "tensor-mismatch")
    assert detail == "Body should be 64 x 64 pixels; got 64 x 65."


def test_mnist_preprocessing_is_refused(client: TestClient) -> None:
    """For pictures and numbers."""
    for body, kind in (
        (picture(plain(RED)), "image/png"),
        (toys.plain(RED).tobytes(), "application/octet-stream"),
    ):
        response = client.post(f"{PREDICT}?prepare=mnist", content=body, headers={"content-type": kind})

        detail = problem(response, 400, "malformed-request")
        assert detail.startswith("Query 'prepare' should be none, or left out, ")
        assert detail.endswith("; got 'mnist'.")


def test_limits_apply_to_photographs(client: TestClient) -> None:
    """Pixels of the file; and 4 photographs, which have as many numbers as 64 digits."""
    large = client.post(
        PREDICT, content=picture(plain(RED, (501, 500))), headers={"content-type": "image/png"}
    )
    five = form(*[("a", picture(plain(RED, (2, 2))))] * 5)
    many = client.post(PREDICT, content=five[1], headers={"content-type": five[0]})
    four = form(*[("a", picture(plain(RED, (2, 2))))] * 4)

    assert "at most 250,000 pixels" in problem(large, 413, "payload-too-large")
    assert problem(many, 413, "payload-too-large") == "Batch should be at most 4 images; got 5."
    assert len(labels(client.post(PREDICT, content=four[1], headers={"content-type": four[0]}).json())) == 4


@pytest.mark.parametrize("file", [b"", b"no picture", picture(plain(RED))[:60]])
def test_an_invalid_picture_is_refused(client: TestClient, file: bytes) -> None:
    response = client.post(PREDICT, content=file, headers={"content-type": "image/png"})

    assert "a PNG, JPEG or WebP picture" in problem(response, 400, "broken-picture")


def test_a_digit_model_preprocesses_a_coloured_picture_as_a_drawing(
    toy_root: Path, toy_settings: Settings
) -> None:
    with service(toy_settings, models=toy_root) as client:
        response = client.post(
            "/v1/models/quadrants/predict?include=seen",
            content=picture(digits.canvas(digits.DIGITS["7"][0]).convert("RGB")),
            headers={"content-type": "image/png"},
        )

    assert np.array(response.json()["predictions"][0]["seen"]).shape == (28, 28)
