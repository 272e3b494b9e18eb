"""Preprocessing that the manifest names, in place of the default for the input's shape."""

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from service.settings import Settings
from tests import digits, toys
from tests.service.http.bodies import picture, problem
from tests.service.http.running import service

KINDS = ("mnist", "letters", "resize", "none")

CORNER = toys.dot(0)
"""A dot in the upper left quarter, which preprocessing as MNIST moves to the centre and enlarges."""


@pytest.fixture(scope="module")
def client(toy_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a service with one network of 28 x 28 per preprocessing, named after it."""
    root = tmp_path_factory.mktemp("named")
    for kind in KINDS:
        toys.publish(root, kind, preprocessing=kind)
    with service(toy_settings, models=root) as client:
        yield client


def seen(client: TestClient, kind: str, body: bytes, content_type: str, prepare: str = "") -> np.ndarray:
    """Return the input of the network."""
    query = f"?include=seen{prepare and f'&prepare={prepare}'}"
    response = client.post(
        f"/v1/models/{kind}/predict{query}", content=body, headers={"content-type": content_type}
    )
    assert response.status_code == 200, response.text
    return np.array(response.json()["predictions"][0]["seen"], np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_summary_names_it(client: TestClient, kind: str) -> None:
    assert client.get(f"/v1/models/{kind}").json()["preprocessing"] == kind


@pytest.mark.parametrize(("kind", "unchanged"), [("mnist", False), ("letters", True), ("resize", True)])
def test_only_digits_are_checked_for_their_place(client: TestClient, kind: str, unchanged: bool) -> None:
    """
    28 x 28 pixels that are not like MNIST's are preprocessed for a network of digits only.
    """
    for body, content_type in (
        (CORNER.tobytes(), "application/octet-stream"),
        (picture(Image.fromarray(CORNER), "PNG"), "image/png"),
    ):
        assert np.array_equal(seen(client, kind, body, content_type), CORNER) == unchanged


def test_letters_are_preprocessed_where_that_is_requested(client: TestClient) -> None:
    body = CORNER.tobytes()

    found = seen(client, "letters", body, "application/octet-stream", "mnist")

    np.testing.assert_array_equal(found, seen(client, "mnist", body, "application/octet-stream", "mnist"))
    assert not np.array_equal(found, CORNER)


@pytest.mark.parametrize("kind", ["mnist", "letters"])
def test_large_pictures_and_strokes_are_preprocessed_as_mnist(client: TestClient, kind: str) -> None:
    page = np.full((90, 60), 255, np.uint8)
    page[20:70, 25:35] = 0
    strokes = {"strokes": digits.DIGITS["1"][0]}

    image = seen(client, kind, picture(Image.fromarray(page), "PNG"), "image/png")
    drawn = client.post(f"/v1/models/{kind}/predict", json=strokes)

    rows = np.flatnonzero(image.max(axis=1) > 40)
    assert rows[-1] - rows[0] + 1 in (20, 21)
    assert image[0].max() == 0  # light paper became background
    assert drawn.status_code == 200


def test_resize_keeps_the_brightness_of_the_paper(client: TestClient) -> None:
    """
    The central part is resized, and nothing is inverted.
    """
    page = np.full((56, 80), 200, np.uint8)

    image = seen(client, "resize", picture(Image.fromarray(page), "PNG"), "image/png")

    assert (image == 200).all()


@pytest.mark.parametrize("kind", ["resize", "none"])
def test_strokes_are_refused_without_drawings(client: TestClient, kind: str) -> None:
    response = client.post(f"/v1/models/{kind}/predict", json={"strokes": digits.DIGITS["1"][0]})

    assert "for this model; got strokes" in problem(response, 400, "tensor-mismatch")


def test_picture_files_are_refused_without_preprocessing(client: TestClient) -> None:
    response = client.post(
        "/v1/models/none/predict",
        content=picture(Image.fromarray(CORNER), "PNG"),
        headers={"content-type": "image/png"},
    )

    assert "should be 28 x 28 numbers for this model" in problem(response, 400, "tensor-mismatch")


@pytest.mark.parametrize("kind", ["resize", "none"])
def test_preprocessing_as_mnist_is_refused(client: TestClient, kind: str) -> None:
    """
    The message names the preprocessing, since the shape is that of digits.
    """
    response = client.post(
        f"/v1/models/{kind}/predict?prepare=mnist",
        content=CORNER.tobytes(),
        headers={"content-type": "application/octet-stream"},
    )
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28], "data": CORNER.ravel().tolist()}
    infer = client.post(
        f"/v2/models/{kind}/infer", json={"inputs": [tensor], "parameters": {"prepare": "auto"}}
    )

    assert f"whose preprocessing is '{kind}'" in problem(response, 400, "malformed-request")
    assert infer.status_code == 400


@pytest.mark.parametrize("kind", ["letters", "resize", "none"])
def test_numbers_are_read_by_networks_of_digits_only(client: TestClient, kind: str) -> None:
    response = client.post(f"/v1/models/{kind}/read", json={"strokes": digits.DIGITS["1"][0]})

    expected = f"to read numbers; got one of 28 x 28 with preprocessing '{kind}'"
    assert expected in problem(response, 400, "tensor-mismatch")
