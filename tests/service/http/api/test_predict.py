"""`service/http/api/predict.py`: predictions and probabilities."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from service.core.drawing import mnist
from service.http.api import schemas
from service.http.routing import predict_endpoint
from service.http.routing.predict_endpoint import RawRequest
from service.inference.pipeline import INLINE_BYTES
from service.inference.request_context import RequestContext
from tests import digits, precision, toys
from tests.service.http.bodies import (
    OCTETS,
    PREDICT,
    PROBABILITIES,
    QUADRANTS,
    WEIGHTS,
    form,
    images,
    npy,
    picture,
    problem,
    versioned,
)


def body_of(document: object) -> bytes:
    return json.dumps(document).encode()


DOTS = np.stack([toys.dot(2), toys.dot(0), toys.dot(1, 3)])

DOTS_FORM = form(*[("a", picture(Image.fromarray(dot))) for dot in DOTS])

DOTS_BASE64 = [base64.b64encode(picture(Image.fromarray(dot))).decode() for dot in DOTS]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", body_of({"images": DOTS.tolist()})),
        ("application/json; charset=utf-8", body_of({"images": DOTS.reshape(3, 784).tolist()})),
        ("Application/JSON", body_of({"images": (DOTS / 255).tolist(), "scale": "unit"})),
        ("application/json", body_of({"images": DOTS_BASE64})),
        ("application/octet-stream", DOTS.tobytes()),
        ("application/x-npy", npy(DOTS)),
        ("application/x-npy", npy(np.asfortranarray(DOTS.reshape(3, 784) / 255).astype(">f4"))),
        DOTS_FORM,
    ],
)
@pytest.mark.parametrize(("version", "first"), [(None, 1), ("1", 2), ("2", 1)])
def test_every_content_type_gives_the_same_predictions(
    client: TestClient, content_type: str, body: bytes, version: str | None, first: int
) -> None:
    """One per image, in order, by the newest version."""
    weights = toys.quadrant_weights()[:: -1 if version != "1" else 1]
    logits = toys.expected_logits(DOTS, weights)  # exact in float32: 0 and 1
    path = versioned(PROBABILITIES, version) if version else PROBABILITIES

    response = client.post(f"{path}?prepare=none", content=body, headers={"content-type": content_type})

    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    schemas.Probabilities.model_validate(document)
    assert document["model"] == "quadrants"
    assert document["version"] == (version or "2")
    assert document["predictions"][0]["label"] == toys.QUARTERS[first]
    found = [entry["probabilities"] for entry in document["predictions"]]
    assert np.all(np.abs(found - toys.softmax(logits)) <= precision.softmax_error(logits))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_image_files_of_any_size_are_preprocessed(client: TestClient, form: str) -> None:
    canvas = digits.canvas(digits.DIGITS["3"][0], 200)
    requested_output = mnist.from_picture(np.asarray(canvas)).astype(int)
    body = picture(canvas.convert("RGB"), form, quality=95)

    response = client.post(
        f"{PREDICT}?include=seen", content=body, headers={"content-type": f"image/{form.lower()}"}
    )

    seen = np.array(response.json()["predictions"][0]["seen"])
    assert seen.shape == (28, 28)
    assert np.abs(seen - requested_output).mean() < 1


def test_strokes_are_preprocessed(client: TestClient) -> None:
    strokes = digits.DIGITS["5"][0]

    response = client.post(PREDICT, json={"strokes": strokes}, params={"include": "seen"})

    np.testing.assert_array_equal(
        response.json()["predictions"][0]["seen"], mnist.from_strokes(digits.arrays(strokes))
    )


@pytest.mark.parametrize("count", [1, 64])
def test_a_batch_gets_the_predictions_of_its_images_alone(client: TestClient, count: int) -> None:
    """Also if it is large enough for the thread pool."""
    batch = images(*range(count))

    together = client.post(PROBABILITIES, content=batch.tobytes(), headers=OCTETS).json()["predictions"]
    alone = [
        client.post(PROBABILITIES, json={"image": image.tolist()}).json()["predictions"][0]
        for image in batch[:: max(1, count // 4)]
    ]

    assert len(together) == count
    errors = precision.probability_error(precision.logit_error(toys.layers(toys.quadrant_weights()), batch))
    picked = slice(None, None, max(1, count // 4))
    for one, other, (error,) in zip(together[picked], alone, errors[picked], strict=True):
        assert one["label"] == other["label"]
        np.testing.assert_allclose(one["probabilities"], other["probabilities"], rtol=0, atol=2 * error)


@pytest.mark.parametrize(("query", "named"), [("", 3), ("?top=1", 1), ("?top=4", 4), ("?top=1000", 4)])
def test_top_is_the_number_of_classes_returned(client: TestClient, query: str, named: int) -> None:
    """By descending probability, 3 by default."""
    response = client.post(PREDICT + query, content=toys.dot(1).tobytes(), headers=OCTETS)

    document = response.json()
    schemas.Predictions.model_validate(document)
    (entry,) = document["predictions"]
    likely = [other["probability"] for other in entry["top"]]
    assert len(likely) == named
    assert likely == sorted(likely, reverse=True)
    assert (entry["label"], entry["confidence"]) == (entry["top"][0]["label"], likely[0])
    assert entry["index"] == toys.QUARTERS.index(entry["label"])
    assert "seen" not in entry
    assert "probabilities" not in entry


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("top=0", "Query 'top' should be greater than or equal to 1; got '0'."),
        ("top=1001", "Query 'top' should be less than or equal to 1000; got '1001'."),
        ("top=-1", "Query 'top' should be"),
        ("top=x", "Query 'top' should be"),
        ("top=1.5", "Query 'top' should be"),
        ("top=", "Query 'top' should be"),
        ("top=1&top=2", "Query 'top' should be given once; got more."),
        ("prepare=some", "Query 'prepare' should be 'auto', 'mnist' or 'none'; got 'some'."),
        (
            "include=everything",
            "Query 'include' should be among seen, steps, each at most once, "
            "joined by commas; got 'everything'.",
        ),
        ("tops=3", "Query should be among top, prepare, include; got 'tops'."),
        ("=", "Query should be among top, prepare, include; got ''."),
        ("top=" + "9" * 5000, "Query 'top' should be"),
        ("a" * 5000 + "=1", "Query should be among top, prepare, include; got 'aaaa"),
        ("top=%ff%00", "Query 'top' should be"),
    ],
)
def test_an_invalid_option_is_refused_with_the_reason(client: TestClient, query: str, said: str) -> None:
    response = client.post(f"{PREDICT}?{query}", content=toys.dot(1).tobytes(), headers=OCTETS)

    assert problem(response, 400, "malformed-request").startswith(said)


def test_prepare_overrides_the_choice_by_size(client: TestClient) -> None:
    """mnist preprocesses 28 x 28 too; none refuses other sizes."""
    dot = toys.dot(0)
    small = {"content-type": "image/png"}

    prepared = client.post(f"{PREDICT}?prepare=mnist&include=seen", content=dot.tobytes(), headers=OCTETS)
    plain = client.post(f"{PREDICT}?prepare=none&include=seen", content=dot.tobytes(), headers=OCTETS)
    refused = client.post(f"{PREDICT}?prepare=none", content=picture(Image.new("L", (9, 9))), headers=small)

    np.testing.assert_array_equal(prepared.json()["predictions"][0]["seen"], mnist.from_picture(dot))
    np.testing.assert_array_equal(plain.json()["predictions"][0]["seen"], dot)
    assert problem(refused, 400, "tensor-mismatch") == "Body should be 28 x 28 pixels; got 9 x 9."


@pytest.mark.parametrize(
    ("content_type", "body", "status", "kind"),
    [
        ("application/json", b"{", 400, "malformed-request"),
        ("application/json", b"", 400, "malformed-request"),
        ("application/json", body_of({"image": [0] * 783}), 400, "malformed-request"),
        ("application/json", b"[" * 10_000, 400, "malformed-request"),
        ("application/json", body_of({"image": "AAAA"}), 400, "broken-picture"),
        ("application/octet-stream", bytes(783), 400, "malformed-request"),
        ("application/x-npy", npy(np.full(784, 256)), 400, "malformed-request"),
        ("application/x-npy", bytes(100), 400, "malformed-request"),
        ("image/png", b"GIF89a", 400, "broken-picture"),
        ("multipart/form-data", b"", 400, "malformed-request"),
        ("multipart/form-data; boundary=b", b"--b--", 400, "malformed-request"),
        ("application/octet-stream", bytes(784 * 65), 413, "payload-too-large"),
        ("application/json", body_of({"images": [0] * 65}), 413, "payload-too-large"),
        ("application/json", body_of({"strokes": [[[0, 0]] * 501]}), 413, "payload-too-large"),
        ("image/png", picture(Image.new("1", (501, 500))), 413, "payload-too-large"),
        ("application/x-www-form-urlencoded", b"image=7", 415, "unsupported-media-type"),
        ("text/plain", b"7", 415, "unsupported-media-type"),
        ("", b"7", 415, "unsupported-media-type"),
        ("image/png", picture(Image.new("L", (50, 50), 77)), 422, "blank-image"),
        ("application/json", body_of({"strokes": [[]]}), 422, "blank-image"),
        (*form(("a", picture(Image.new("L", (50, 50))))), 422, "blank-image"),
    ],
)
@pytest.mark.parametrize(
    "path", [PREDICT, PROBABILITIES, versioned(PREDICT, "1"), versioned(PROBABILITIES, "1")]
)
def test_an_invalid_body_gets_its_status(
    client: TestClient, path: str, content_type: str, body: bytes, status: int, kind: str
) -> None:
    """On every operation with images."""
    response = client.post(path, content=body, headers={"content-type": content_type})

    problem(response, status, kind)


def test_a_body_without_a_content_type_is_refused(client: TestClient) -> None:
    response = client.post(PREDICT, content=bytes(784))

    assert "application/octet-stream" in problem(response, 415, "unsupported-media-type")
    assert "content-type" not in response.request.headers


@pytest.mark.parametrize("path", ["", "/weights", "/weights/output"])
def test_unknown_options_are_refused_everywhere(client: TestClient, path: str) -> None:
    response = client.get(f"{QUADRANTS}{path}?scale=3")

    assert problem(response, 400, "malformed-request") == "Query should be among nothing; got 'scale'."


@pytest.mark.parametrize("version", [None, "1", "2"])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        QUADRANTS,
        WEIGHTS,
        f"{WEIGHTS}/output",
        f"{WEIGHTS}/output.png",
        f"{WEIGHTS}/output/0.png",
    ],
)
def test_head_returns_the_headers_of_get(client: TestClient, path: str, version: str | None) -> None:
    path = versioned(path, version) if version else path

    get = client.get(path)
    head = client.head(path)

    assert head.status_code == get.status_code == 200
    assert head.content == b""
    varying = {"x-request-id", "server-timing"}
    headers = [{k: v for k, v in a.headers.items() if k not in varying} for a in (head, get)]
    assert headers[0] == headers[1]


def test_probabilities_as_npy(client: TestClient) -> None:
    """Equal to the JSON response; headers name the model."""
    path, body = f"{QUADRANTS}/probabilities", images(1, 2, 3).tobytes()
    octets = {"content-type": "application/octet-stream"}

    as_json = client.post(path, content=body, headers=octets)
    as_array = client.post(path, content=body, headers={**octets, "accept": "application/x-npy"})

    found = np.load(io.BytesIO(as_array.content))
    expected = [one["probabilities"] for one in as_json.json()["predictions"]]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(expected, np.float32))
    assert as_array.headers["content-type"] == "application/x-npy"
    assert as_array.headers["vary"] == as_json.headers["vary"] == "Accept"
    answered = (as_array.headers["inkling-model"], as_array.headers["inkling-version"])
    assert answered == ("quadrants", as_json.json()["version"])


def test_include_is_refused_with_npy(client: TestClient) -> None:
    """Errors are problem documents."""
    headers = {"content-type": "application/octet-stream", "accept": "application/x-npy"}
    path = f"{QUADRANTS}/probabilities"

    more = client.post(f"{path}?include=seen", content=images(1).tobytes(), headers=headers)

    assert "include" in problem(more, 400, "malformed-request")
    problem(client.post(path, content=b"1", headers=headers), 400, "malformed-request")


def test_predictions_of_a_form_have_the_names_of_the_files(client: TestClient) -> None:
    """In the order of the files, on every operation; a part without a name has none."""
    file = picture(Image.fromarray(toys.dot(1)))
    named = [("images", (name, file, "image/png")) for name in ("one.png", 'zw"ei \u20ac.png')]
    files = [*named, ("images", (None, file, "image/png"))]

    for path in (PREDICT, PROBABILITIES, f"{QUADRANTS}/explain", f"{PREDICT}?include=seen"):
        predictions = client.post(path, files=files).json()["predictions"]
        assert [one.get("file") for one in predictions] == ["one.png", "zw%22ei \u20ac.png", None]
    body = client.post(PREDICT, content=file, headers={"content-type": "image/png"}).json()
    assert "file" not in body["predictions"][0]


def test_a_compressed_array_is_decoded_in_the_thread_pool() -> None:
    """A short one can hold a thousand times its size."""
    stream = io.BytesIO()
    np.savez_compressed(stream, images(1))

    for body, is_long in ((stream.getvalue(), True), (npy(images(1)), False)):
        raw = RawRequest(body, {}, RequestContext("id"))
        assert (predict_endpoint.body_bytes(raw) > INLINE_BYTES) == is_long
