"""`service/http/v1.py`: every endpoint of Inkling's own interface is a translation."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from starlette.testclient import TestClient

from service.core import ink
from service.core.engine import Engine
from service.core.errors import InferenceFailed
from service.http import schemas
from service.serving.workers import Workers
from service.settings import Settings
from tests import digits, precision, toys
from tests.service.http.bodies import PREDICT, QUADRANTS, form, images, npy, picture, problem
from tests.service.http.running import Background, Held, chunk, exchange, service

PROBABILITIES = f"{QUADRANTS}/probabilities"
WEIGHTS = f"{QUADRANTS}/weights"
OCTETS = {"content-type": "application/octet-stream"}


def versioned(path: str, version: str) -> str:
    return path.replace(QUADRANTS, f"{QUADRANTS}/versions/{version}")


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
def test_every_kind_of_body_gets_the_same_answer(
    client: TestClient, content_type: str, body: bytes, version: str | None, first: int
) -> None:
    """
    One entry an image, in order; compared with the toy network computed in the head. The newest version
    answers when none is named: it sees every quarter's opposite.
    """
    weights = toys.quadrant_weights()[:: -1 if version != "1" else 1]
    logits = toys.expected_logits(DOTS, weights)  # exact in float32: 0 and 1
    path = versioned(PROBABILITIES, version) if version else PROBABILITIES

    answer = client.post(f"{path}?prepare=none", content=body, headers={"content-type": content_type})

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    schemas.Probabilities.model_validate(document)
    assert document["model"] == "quadrants"
    assert document["version"] == (version or "2")
    assert document["predictions"][0]["label"] == toys.QUARTERS[first]
    found = [entry["probabilities"] for entry in document["predictions"]]
    assert np.all(np.abs(found - toys.softmax(logits)) <= precision.softmax_error(logits))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_picture_of_any_size_is_prepared(client: TestClient, form: str) -> None:
    """
    `include=seen` shows the 28 x 28 that the network saw: what `ink` makes of the picture.
    """
    canvas = digits.canvas(digits.DIGITS["3"][0], 200)
    wanted = ink.from_picture(np.asarray(canvas)).astype(int)
    body = picture(canvas.convert("RGB"), form, quality=95)

    answer = client.post(
        f"{PREDICT}?include=seen", content=body, headers={"content-type": f"image/{form.lower()}"}
    )

    seen = np.array(answer.json()["predictions"][0]["seen"])
    assert seen.shape == (28, 28)
    assert np.abs(seen - wanted).mean() < 1


def test_strokes_are_drawn(client: TestClient) -> None:
    """
    As `ink` draws them.
    """
    strokes = digits.DIGITS["5"][0]

    answer = client.post(PREDICT, json={"strokes": strokes}, params={"include": "seen"})

    np.testing.assert_array_equal(
        answer.json()["predictions"][0]["seen"], ink.from_strokes(digits.arrays(strokes))
    )


@pytest.mark.parametrize("count", [1, 64])
def test_a_batch_gets_the_answers_its_images_get_alone(client: TestClient, count: int) -> None:
    """
    Also where the batch is large enough to leave the event loop.
    """
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
def test_top_says_how_many_classes_are_named(client: TestClient, query: str, named: int) -> None:
    """
    The likeliest first, three unless asked otherwise, never more than there are.
    """
    answer = client.post(PREDICT + query, content=toys.dot(1).tobytes(), headers=OCTETS)

    document = answer.json()
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
def test_a_wrong_option_is_named(client: TestClient, query: str, said: str) -> None:
    """
    Unknown options are refused like bad values; long ones come back cut.
    """
    answer = client.post(f"{PREDICT}?{query}", content=toys.dot(1).tobytes(), headers=OCTETS)

    assert problem(answer, 400, "malformed-request").startswith(said)


def test_prepare_overrides_what_is_done_with_a_size(client: TestClient) -> None:
    """
    `mnist` prepares 28 x 28 too, `none` refuses everything else.
    """
    dot = toys.dot(0)
    small = {"content-type": "image/png"}

    prepared = client.post(f"{PREDICT}?prepare=mnist&include=seen", content=dot.tobytes(), headers=OCTETS)
    plain = client.post(f"{PREDICT}?prepare=none&include=seen", content=dot.tobytes(), headers=OCTETS)
    refused = client.post(f"{PREDICT}?prepare=none", content=picture(Image.new("L", (9, 9))), headers=small)

    np.testing.assert_array_equal(prepared.json()["predictions"][0]["seen"], ink.from_picture(dot))
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
        ("application/x-npy", npy(np.zeros(784, np.int64)), 400, "malformed-request"),
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
def test_a_body_that_cannot_be_answered_gets_its_status(
    client: TestClient, path: str, content_type: str, body: bytes, status: int, kind: str
) -> None:
    """
    The design's table, on every route that takes a body.
    """
    answer = client.post(path, content=body, headers={"content-type": content_type})

    problem(answer, status, kind)


def test_a_body_without_a_content_type_is_of_an_unknown_kind(client: TestClient) -> None:
    """
    The message lists what is taken.
    """
    answer = client.post(PREDICT, content=bytes(784))

    assert "application/octet-stream" in problem(answer, 415, "unsupported-media-type")
    assert "content-type" not in answer.request.headers


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("/v1/models/nobody", "unknown-model", "Model should be one of quadrants; got 'nobody'."),
        ("/v1/models/nobody/versions/1", "unknown-model", "Model should be one of quadrants; got 'nobody'."),
        ("/v1/models/Quadrants", "unknown-model", "Model should be one of quadrants; got 'Quadrants'."),
        (
            "/v1/models/quadrants/versions/3",
            "unknown-version",
            "Version of 'quadrants' should be one of 1, 2; got '3'.",
        ),
        ("/v1/models/quadrants/versions/01", "unknown-version", "Version of 'quadrants'"),
        ("/v1/models/quadrants/versions/latest", "unknown-version", "Version of 'quadrants'"),
        (f"{WEIGHTS}/hidden", "unknown-layer", "Layer of 'quadrants' should be one of output; got 'hidden'."),
        (f"{WEIGHTS}/hidden.png", "unknown-layer", "Layer of 'quadrants' should be one of output"),
        (f"{WEIGHTS}/hidden/0.png", "unknown-layer", "Layer of 'quadrants' should be one of output"),
        (
            f"{WEIGHTS}/output/4.png",
            "unknown-unit",
            "Unit of layer 'output' should be a whole number 0..3; got '4'.",
        ),
        (f"{WEIGHTS}/output/-1.png", "unknown-unit", "Unit of layer 'output'"),
        (f"{WEIGHTS}/output/1.5.png", "unknown-unit", "Unit of layer 'output'"),
        (f"{WEIGHTS}/output/one.png", "unknown-unit", "Unit of layer 'output'"),
        (f"{WEIGHTS}/output/%C2%B2.png", "unknown-unit", "Unit of layer 'output'"),
        (f"{WEIGHTS}/output/%D9%A1.png", "unknown-unit", "Unit of layer 'output'"),
        (f"{WEIGHTS}/output/{'1' * 5000}.png", "unknown-unit", "Unit of layer 'output'"),
        (f"/v1/models/{'m' * 5000}", "unknown-model", "Model should be one of quadrants; got 'mmm"),
        (f"/v1/models/quadrants/versions/{'9' * 5000}", "unknown-version", "Version of 'quadrants'"),
        (f"{WEIGHTS}/{'x' * 5000}", "unknown-layer", "Layer of 'quadrants'"),
        ("/v1/models/%00%0a", "unknown-model", "Model should be one of quadrants"),
    ],
)
def test_what_is_not_published_is_not_found(client: TestClient, path: str, kind: str, said: str) -> None:
    """
    The message says what there is; long names come back cut.
    """
    assert problem(client.get(path), 404, kind).startswith(said)


@pytest.mark.parametrize(
    "path", ["/v1/models/nobody/predict", "/v1/models/quadrants/versions/9/probabilities"]
)
def test_an_unknown_model_is_told_before_the_body_is_looked_at(client: TestClient, path: str) -> None:
    """
    A broken body does not hide the better message.
    """
    answer = client.post(path, content=b"{", headers={"content-type": "application/json"})

    assert answer.status_code == 404


def test_the_list_of_models_describes_each_by_its_newest_version(client: TestClient, toy_root: Path) -> None:
    """
    Compared with the manifest's file.
    """
    manifest = json.loads((toy_root / "quadrants" / "2" / "manifest.json").read_bytes())

    document = client.get("/v1/models").json()

    schemas.Models.model_validate(document)
    (model,) = document["models"]
    assert (model["name"], model["version"], model["versions"]) == ("quadrants", "2", ["1", "2"])
    assert model["labels"] == list(toys.QUARTERS) == manifest["labels"]
    assert model["input"] == [28, 28]
    assert model["parameters"] == 4 * 784 + 4
    layer = {"name": "output", "inputs": 784, "units": 4, "activation": "none", "parameters": 4 * 784 + 4}
    assert model["layers"] == [layer]
    assert model["metrics"] == [{"calibration_error": None} | metric for metric in manifest["metrics"]]
    assert model["finished"] == manifest["making"]["finished"]
    assert model["description"] == manifest["description"]


def test_the_default_model_is_named_if_it_is_served(toy_settings: Settings) -> None:
    """
    `ink` unless the settings say otherwise; where nobody serves it there is no default, and no failure.
    """
    with service(toy_settings) as client:
        without = client.get("/v1/models").json()
    with service(toy_settings, default_model="quadrants") as client:
        named = client.get("/v1/models").json()

    assert (toy_settings.default_model, without["default"]) == ("ink", None)
    assert named == {**without, "default": "quadrants"}


@pytest.fixture(scope="module")
def knowing_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with `knowing`: quadrants that know what they do not know."""
    root = tmp_path_factory.mktemp("knowing")
    toys.publish(root, "knowing", temperature=0.5, certainty=toys.CERTAINTY)
    return root


@pytest.mark.parametrize("route", ["predict", "probabilities"])
def test_a_model_with_a_threshold_says_for_every_image_whether_it_is_sure(
    toy_settings: Settings, knowing_root: Path, route: str
) -> None:
    """
    One dot has an energy of 1.17, above the threshold of 1, none has 0.69; whatever else is asked for.
    """
    batch = np.stack([toys.dot(), toys.dot(2), toys.dot()])
    schema = schemas.Predictions if route == "predict" else schemas.Probabilities
    with service(toy_settings, models=knowing_root) as client:
        for query in ("?prepare=none", "?prepare=none&include=seen&top=1"):
            answer = client.post(
                f"/v1/models/knowing/{route}{query}", content=batch.tobytes(), headers=OCTETS
            ).json()

            schema.model_validate(answer)
            assert [entry["sure"] for entry in answer["predictions"]] == [False, True, False]


@pytest.mark.parametrize("path", [PREDICT, PROBABILITIES])
def test_a_model_without_a_threshold_does_not_speak_of_being_sure(client: TestClient, path: str) -> None:
    """
    The member is not there, rather than null.
    """
    answer = client.post(path, content=toys.dot(1).tobytes(), headers=OCTETS)

    assert "sure" not in answer.json()["predictions"][0]


def test_a_summary_shows_temperature_and_what_the_threshold_was_measured_to_do(
    toy_settings: Settings, knowing_root: Path, client: TestClient
) -> None:
    """
    As the manifest says it; 1 and null where it says nothing.
    """
    with service(toy_settings, models=knowing_root) as knowing:
        told = knowing.get("/v1/models/knowing").json()
    silent = client.get(QUADRANTS).json()

    schemas.ModelSummary.model_validate(told)
    assert (told["temperature"], told["certainty"]) == (0.5, toys.CERTAINTY)
    assert (silent["temperature"], silent["certainty"]) == (1.0, None)


def test_one_model_is_described_as_in_the_list(client: TestClient) -> None:
    """
    By its newest version, or by the one named.
    """
    listed = client.get("/v1/models").json()["models"][0]

    newest = client.get(QUADRANTS)
    first = client.get(versioned(QUADRANTS, "1"))

    schemas.ModelSummary.model_validate(newest.json())
    assert newest.headers["content-type"] == "application/json"
    assert newest.json() == listed
    assert first.json() == {**listed, "version": "1"}


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_layers_with_weights_are_listed(client: TestClient, version: str) -> None:
    """
    Shape, range, and whether they can be shown.
    """
    document = client.get(versioned(WEIGHTS, version)).json()

    schemas.WeightLayers.model_validate(document)
    layer = {"name": "output", "shape": [784, 4], "minimum": 0.0, "maximum": 1.0, "images": True}
    assert document == {"model": "quadrants", "version": version, "layers": [layer]}


@pytest.mark.parametrize("version", ["1", "2"])
def test_weights_are_the_networks_own_as_json_and_as_an_array(client: TestClient, version: str) -> None:
    """
    [inputs, units], float32, row by row in memory.
    """
    wanted = toys.quadrant_weights()[:: 1 if version == "1" else -1].T
    path = f"{versioned(WEIGHTS, version)}/output"

    as_json = client.get(path)
    as_array = client.get(path, headers={"accept": "application/x-npy"})

    schemas.Weights.model_validate(as_json.json())
    assert as_json.json()["shape"] == [784, 4]
    assert as_json.json()["layer"] == "output"
    np.testing.assert_array_equal(as_json.json()["weights"], wanted)
    assert as_array.headers["content-type"] == "application/x-npy"
    array = np.load(io.BytesIO(as_array.content), allow_pickle=False)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, wanted)


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html", ""])
def test_weights_are_json_unless_an_array_is_asked_for(client: TestClient, accept: str) -> None:
    """
    Browsers and plain clients get what they can read.
    """
    answer = client.get(f"{WEIGHTS}/output", headers={"accept": accept})

    assert answer.headers["content-type"] == "application/json"


def formula(weights: NDArray[np.float32]) -> NDArray[np.int64]:
    """The design's formula, written down again: (H, W) weights to (H, W, 4), 0..255."""
    v = weights.astype(np.float64) / np.abs(weights).max()
    red = blue = 1 - np.maximum(v, 0)
    green = 1 - np.maximum(-v, 0)
    alpha = np.where(v == 0, 0.0, 1.0)
    rgba: NDArray[np.int64] = np.floor(np.stack([red, green, blue, alpha], axis=-1) * 255 + 0.5).astype(
        np.int64
    )
    return rgba


def opened(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        assert image.mode == "RGBA"
        return np.asarray(image)


def enlarged(image: NDArray[Any], scale: int) -> NDArray[Any]:
    return np.kron(image, np.ones((scale, scale, 1), image.dtype))


@pytest.fixture(scope="module")
def coloured_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with `coloured`: ten units whose weights are positive, negative and exactly nought."""
    weights = np.random.default_rng(7).normal(size=(10, 784)).astype(np.float32)
    weights[:, ::5] = 0
    weights[3] *= 1e-6
    weights[4] = 0
    root = tmp_path_factory.mktemp("coloured")
    toys.publish(root, "coloured", weights, tuple("0123456789"))
    return root


@pytest.mark.parametrize(
    ("query", "scale"), [("?scale=1", 1), ("", 8), ("?scale=8&palette=lesson", 8), ("?scale=3", 3)]
)
def test_a_units_weight_image_follows_the_fixed_formula_pixel_for_pixel(
    toy_settings: Settings, coloured_root: Path, query: str, scale: int
) -> None:
    """
    Computed independently from the matrix that the service gives as npy; a unit of noughts is transparent.
    """
    with service(toy_settings, models=coloured_root) as client:
        path = "/v1/models/coloured/weights/output"
        content = client.get(path, headers={"accept": "application/x-npy"}).content
        matrix = np.load(io.BytesIO(content), allow_pickle=False)

        found = [opened(client.get(f"{path}/{unit}.png{query}").content) for unit in (0, 3, 9)]
        blank = opened(client.get(f"{path}/4.png{query}").content)

    for unit, image in zip((0, 3, 9), found, strict=True):
        wanted = enlarged(formula(matrix[:, unit].reshape(28, 28)), scale)
        np.testing.assert_array_equal(image, wanted)
    assert blank.shape == (28 * scale, 28 * scale, 4)
    assert not blank[..., 3].any()


@pytest.mark.parametrize("scale", [1, 8])
def test_a_layers_grid_holds_every_units_image(
    toy_settings: Settings, coloured_root: Path, scale: int
) -> None:
    """
    Two rows of five, one transparent pixel between neighbours before it is enlarged.
    """
    with service(toy_settings, models=coloured_root) as client:
        path = "/v1/models/coloured/weights/output"
        grid = opened(client.get(f"{path}.png?scale={scale}").content)
        found = [opened(client.get(f"{path}/{unit}.png?scale={scale}").content) for unit in range(10)]

    assert grid.shape == (57 * scale, 144 * scale, 4)
    for unit, image in enumerate(found):
        top, left = unit // 5 * 29 * scale, unit % 5 * 29 * scale
        np.testing.assert_array_equal(grid[top : top + 28 * scale, left : left + 28 * scale], image)
    assert not grid[28 * scale : 29 * scale, :, 3].any()
    assert not grid[:, 28 * scale : 29 * scale, 3].any()


def test_the_palette_for_everyones_eyes_has_other_colours(
    toy_settings: Settings, coloured_root: Path
) -> None:
    """
    Blue where the lesson has green, orange where it has purple; the same pixels are transparent.
    """
    path = "/v1/models/coloured/weights/output/0.png?scale=1"
    with service(toy_settings, models=coloured_root) as client:
        lesson = opened(client.get(path).content)
        safe = opened(client.get(f"{path}&palette=safe").content)

    strongest = lesson[..., :3].min(axis=-1).argmin()
    np.testing.assert_array_equal(lesson[..., 3], safe[..., 3])
    assert safe.reshape(-1, 4)[strongest].tolist() in ([0, 114, 178, 255], [213, 94, 0, 255])
    assert not np.array_equal(lesson, safe)


@pytest.mark.parametrize("path", ["output.png", "output/0.png"])
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("scale=0", "Query 'scale' should be greater than or equal to 1; got '0'."),
        ("scale=33", "Query 'scale' should be less than or equal to 32; got '33'."),
        ("scale=big", "Query 'scale' should be"),
        ("palette=red", "Query 'palette' should be 'lesson', 'safe' or 'colour'; got 'red'."),
        ("colour=red", "Query should be among scale, palette; got 'colour'."),
    ],
)
def test_a_wrong_option_of_a_picture_is_named(client: TestClient, path: str, query: str, said: str) -> None:
    """
    The same care as for predictions.
    """
    answer = client.get(f"{WEIGHTS}/{path}?{query}")

    assert problem(answer, 400, "malformed-request").startswith(said)


@pytest.mark.parametrize("path", ["", "/weights", "/weights/output"])
def test_where_there_are_no_options_none_is_taken(client: TestClient, path: str) -> None:
    """
    A misplaced option is refused instead of passed over.
    """
    answer = client.get(f"{QUADRANTS}{path}?scale=3")

    assert problem(answer, 400, "malformed-request") == "Query should be among nothing; got 'scale'."


@pytest.mark.parametrize("path", ["output.png", "output/1.png"])
def test_pictures_of_a_named_version_may_be_kept_for_ever(client: TestClient, path: str) -> None:
    """
    A published version never changes; the newest may be another one tomorrow.
    """
    named = client.get(f"{versioned(WEIGHTS, '1')}/{path}")
    newest = client.get(f"{WEIGHTS}/{path}")

    assert named.headers["content-type"] == newest.headers["content-type"] == "image/png"
    assert "immutable" in named.headers["cache-control"]
    assert newest.headers["cache-control"] == "no-cache"
    assert named.content != newest.content or path == "output.png"


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
def test_head_gives_the_headers_of_get_without_the_body(
    client: TestClient, path: str, version: str | None
) -> None:
    """
    On every route that answers GET.
    """
    path = versioned(path, version) if version else path

    get = client.get(path)
    head = client.head(path)

    assert head.status_code == get.status_code == 200
    assert head.content == b""
    varying = {"x-request-id", "server-timing"}
    headers = [{k: v for k, v in a.headers.items() if k not in varying} for a in (head, get)]
    assert headers[0] == headers[1]


def test_a_prediction_that_fails_is_our_fault_and_says_no_more(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A 500 of one fixed sentence; the next request is answered.
    """

    def fail(engine: Engine, batch: NDArray[np.uint8]) -> None:
        del engine, batch
        raise InferenceFailed("quadrants", "2") from RuntimeError("/secret/path")

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "run", fail)
        failed = client.post(PREDICT, content=toys.dot(1).tobytes(), headers=OCTETS)
    answered = client.post(PREDICT, content=toys.dot(1).tobytes(), headers=OCTETS)

    detail = problem(failed, 500, "inference-failed")
    assert "secret" not in failed.text
    assert "quadrants" not in detail
    assert answered.status_code == 200


def test_an_error_that_nobody_foresaw_is_answered_without_its_words(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    On the event loop and in a worker.
    """

    def fail(engine: Engine, batch: NDArray[np.uint8]) -> None:
        del engine, batch
        raise ZeroDivisionError("/secret/path")

    monkeypatch.setattr(Engine, "run", fail)

    inline = client.post(PREDICT, content=toys.dot(1).tobytes(), headers=OCTETS)
    in_worker = client.post(f"{PREDICT}?prepare=mnist", content=toys.dot(1).tobytes(), headers=OCTETS)

    for answer in (inline, in_worker):
        problem(answer, 500, "internal")
        assert "secret" not in answer.text
        assert "Zero" not in answer.text


def test_a_small_picture_gets_the_same_answer_with_and_without_a_worker(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A canvas is prepared on the event loop; with a remark that must be unpacked it might take longer.
    """
    asked: list[object] = []
    run = Workers.run

    def counted(workers: Workers, work: Callable[[], object], **options: Any) -> object:  # noqa: ANN401 - any
        asked.append(work)
        return run(workers, work, **options)

    monkeypatch.setattr(Workers, "run", counted)
    canvas = digits.canvas(digits.DIGITS["4"][0])
    remark = PngInfo()
    remark.add_text("Comment", "a" * 100, zip=True)
    files = [
        picture(image, pnginfo=info) for image in (canvas, canvas.convert("RGBA")) for info in (None, remark)
    ]
    png = {"content-type": "image/png"}

    answers = [client.post(f"{PREDICT}?include=seen", content=file, headers=png) for file in files]

    assert len(asked) == 2
    assert [answer.status_code for answer in answers] == [200] * 4
    assert all(answer.json() == answers[0].json() for answer in answers)


def test_a_broken_small_picture_is_refused_alike_with_and_without_a_worker(client: TestClient) -> None:
    """
    What is wrong is only found while decoding.
    """
    whole = picture(digits.canvas(digits.DIGITS["4"][0]))
    at = whole.index(b"IDAT") + 40
    bodies = [whole[:at] + bytes(20) + whole[at + 20 :], whole[:at], picture(Image.new("L", (280, 280)))]

    answers = [
        client.post(f"{PREDICT}{query}", content=body, headers={"content-type": "image/png"})
        for body in bodies
        for query in ("", "?include=steps")  # steps are shown by a worker
    ]

    assert [answer.status_code for answer in answers] == [400, 400, 400, 400, 422, 422]
    details = [answer.json()["detail"] for answer in answers]
    assert details[::2] == details[1::2]


def ask_worker(client: TestClient) -> Callable[[], Any]:
    """Post something that needs a worker thread."""
    return lambda: client.post(f"{PREDICT}?prepare=mnist", content=toys.dot(1).tobytes(), headers=OCTETS)


def test_a_request_that_finds_no_place_is_turned_away_at_once(
    toy_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With one thread and no queue the second of two is told when to come back; the first is answered, and
    so are pictures of weights, which have a queue of their own.
    """
    held = Held(monkeypatch)
    with service(toy_settings, worker_threads=1, max_waiting=0) as client:
        first = Background(ask_worker(client))
        held.wait_for_one()

        second = ask_worker(client)()
        pictures = client.get(f"{WEIGHTS}/output.png")
        alive = client.get("/livez")
        held.let_go()
        answered = first.answer()
        third = ask_worker(client)()

    detail = problem(second, 503, "overloaded")
    assert detail == "The queue should have a free place; 1 requests are in it or being worked on."
    assert 1 <= int(second.headers["retry-after"]) <= 3
    assert pictures.status_code == 200
    assert alive.status_code == 200
    assert answered.status_code == 200
    assert third.status_code == 200


def test_a_request_that_waits_in_the_queue_is_answered(
    toy_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One thread and one place in the queue: both are answered.
    """
    held = Held(monkeypatch)
    with service(toy_settings, worker_threads=1, max_waiting=1) as client:
        first = Background(ask_worker(client))
        held.wait_for_one()
        second = Background(ask_worker(client))
        held.let_go()

        statuses = [first.answer().status_code, second.answer().status_code]

    assert statuses == [200, 200]


def test_the_work_of_a_caller_who_has_left_is_not_begun(
    toy_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    And its place in the queue is another's at once.
    """
    held = Held(monkeypatch)
    slow = picture(Image.fromarray(toys.dot(1)), "JPEG", progressive=True)
    body = [chunk(slow, more=False), {"type": "http.disconnect"}]
    with service(toy_settings, worker_threads=1, max_waiting=1) as client:
        first = Background(ask_worker(client))
        held.wait_for_one()
        left = exchange(client.app, PREDICT, body, [("content-type", "image/jpeg")])
        second = Background(ask_worker(client))
        held.let_go()

        statuses = [first.answer().status_code, left.status_code, second.answer().status_code]

    assert statuses == [200, 499, 200]
    held.wait_for_one()
    assert not held.begun.acquire(blocking=False)


def test_an_answer_that_takes_too_long_is_given_up(
    toy_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A 504 once the deadline has passed; its thread goes on and is free again afterwards.
    """
    held = Held(monkeypatch)
    with service(toy_settings, worker_threads=1, max_waiting=0, request_timeout_s=0.05) as client:
        late = ask_worker(client)()
        held.let_go()

    detail = problem(late, 504, "deadline-exceeded")
    assert detail == "An answer should take at most 0.05 seconds; it was not ready."
    assert int(late.headers["retry-after"]) >= 1


def test_a_body_that_stops_arriving_is_given_up(toy_settings: Settings) -> None:
    """
    A 408 that says how much came, and closes the connection.
    """
    with service(toy_settings, body_timeout_s=0.2) as client:
        answer = exchange(client.app, PREDICT, [chunk(bytes(700))], [("content-type", "application/json")])

    detail = problem(answer, 408, "body-timeout")
    assert detail == "Body should arrive within 0.2 seconds; got 700 bytes of it."
    assert answer.headers["connection"] == "close"


def test_a_model_whose_only_version_is_refused_is_not_ready(toy_settings: Settings, tmp_path: Path) -> None:
    """
    It is published, so it is not unknown; the answer says when to come back.
    """
    published = toys.publish(tmp_path, "broken")
    (tmp_path / "broken" / published.manifest.version / "model.onnx").write_bytes(b"no graph")
    with service(toy_settings, models=tmp_path) as client:
        newest = client.get("/v1/models/broken")
        named = client.post("/v1/models/broken/versions/1/predict", content=bytes(784), headers=OCTETS)

    for answer in (newest, named):
        problem(answer, 503, "model-not-ready")
        assert 5 <= int(answer.headers["retry-after"]) <= 11


def test_probabilities_come_as_an_array_to_those_who_accept_it(client: TestClient) -> None:
    """
    The same numbers as in JSON, and who answered in the headers.
    """
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


def test_an_array_has_no_room_for_more(client: TestClient) -> None:
    """
    Errors stay what they are everywhere.
    """
    headers = {"content-type": "application/octet-stream", "accept": "application/x-npy"}
    path = f"{QUADRANTS}/probabilities"

    more = client.post(f"{path}?include=seen", content=images(1).tobytes(), headers=headers)

    assert "include" in problem(more, 400, "malformed-request")
    problem(client.post(path, content=b"1", headers=headers), 400, "malformed-request")
