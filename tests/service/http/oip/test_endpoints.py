"""`service/http/oip/endpoints.py`: every endpoint of the protocol, with and without version and slash."""

import json
from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from service.app import create_app
from service.core.drawing import mnist
from service.oip import tensor_contents
from service.oip.json_codec.body import HEADER
from service.settings import Settings
from tests import digits, toys
from tests.service.http.bodies import compressed, picture, problem
from tests.service.oip.messages import DOT, INFER, LOGITS, document, post, read, tensor

MODEL = "/v2/models/quadrants"
TENSORS = {
    "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}],
    "outputs": [
        {"name": "logits", "datatype": "FP32", "shape": [-1, 4]},
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 4]},
    ],
}


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("version", ["", "/versions/1"])
@pytest.mark.parametrize("rest", ["", "/ready", "/config", "/stats"])
def test_every_question_about_a_model_has_four_paths(
    client: TestClient, rest: str, version: str, slash: str
) -> None:
    """
    With and without the version, with and without a slash at the end; none leads elsewhere.
    """
    answer = client.get(f"{MODEL}{version}{rest}{slash}", follow_redirects=False)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(("version", "logits"), [("", [0, 0, 0, 1]), ("/versions/1", [1, 0, 0, 0])])
def test_inference_has_four_paths(client: TestClient, version: str, logits: list[float], slash: str) -> None:
    """
    The version that is named answers, the newest where none is.
    """
    answer = post(client, document(), path=f"{MODEL}{version}/infer{slash}")

    found = read(answer)
    np.testing.assert_array_equal(found.arrays["logits"], [logits])
    assert found.document["model_version"] == (version[-1] if version else "2")


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_server_says_what_it_can_do(client: TestClient, slash: str) -> None:
    """
    Name, version, extensions; without management no model repository.
    """
    found = client.get(f"/v2{slash}").json()

    assert found["name"] == "inkling"
    assert found["version"] == client.get("/openapi.json").json()["info"]["version"]
    assert found["extensions"] == [
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "parameters",
        "schedule_policy",
        "statistics",
    ]


@pytest.mark.parametrize("slash", ["", "/"])
def test_live_and_ready(client: TestClient, slash: str) -> None:
    """
    In the words of the protocol.
    """
    assert client.get(f"/v2/health/live{slash}").json() == {"live": True}
    assert client.get(f"/v2/health/ready{slash}").json() == {"ready": True}
    assert client.get(f"{MODEL}/ready{slash}").json() == {"name": "quadrants", "ready": True}


def test_metadata(client: TestClient) -> None:
    """
    Tensors with -1 for the batch, every version that is served.
    """
    assert client.get(MODEL).json() == {
        "name": "quadrants",
        "versions": ["1", "2"],
        "platform": "onnx_onnxv1",
        **TENSORS,
    }


def test_configuration(client: TestClient) -> None:
    """
    In Triton's words, the batch left out of the dimensions.
    """
    found = client.get(f"{MODEL}/config").json()

    assert (found["name"], found["backend"], found["max_batch_size"]) == ("quadrants", "onnxruntime", 64)
    assert found["input"] == [{"name": "image", "data_type": "TYPE_UINT8", "dims": [28, 28]}]
    assert [output["dims"] for output in found["output"]] == [[4], [4]]
    assert found["version_policy"] == {"specific": {"versions": [1, 2]}}


@pytest.mark.parametrize("rest", ["", "/ready", "/config", "/stats"])
@pytest.mark.parametrize(
    ("name", "kind"), [("nobody", "unknown-model"), ("quadrants/versions/9", "unknown-version")]
)
def test_unknown_models_and_versions(client: TestClient, name: str, kind: str, rest: str) -> None:
    """
    404 with the one body that every error has.
    """
    problem(client.get(f"/v2/models/{name}{rest}"), 404, kind)


@pytest.mark.parametrize("path", ["/v2/nothing", "/v2/models", "/v2/models/", f"{MODEL}/versions", "/v2//"])
def test_unknown_paths(client: TestClient, path: str) -> None:
    """
    The router's 404 has the one body too.
    """
    problem(client.get(path), 404, "not-found")


@pytest.mark.parametrize("path", ["/v2", "/v2/", "/v2/health/live", INFER, f"{INFER}/"])
def test_wrong_methods(client: TestClient, path: str) -> None:
    """
    The router's 405 too, and it says which methods there are.
    """
    answer = client.delete(path)

    problem(answer, 405, "wrong-method")
    assert answer.headers["allow"] == ("POST" if "infer" in path else "GET, HEAD")


def test_readiness_fails_where_a_model_cannot_answer(tmp_path: Any) -> None:  # noqa: ANN401 - pytest's
    """
    503 for the server and for the model, not 400; and it is live all the same.
    """
    published = toys.publish(tmp_path)
    (tmp_path / published.manifest.name / published.manifest.version / "model.onnx").write_bytes(b"broken")

    with TestClient(create_app(Settings(models=tmp_path, _env_file=None))) as client:
        for path in ("/v2/health/ready", f"{MODEL}/ready", f"{MODEL}/versions/1/ready", MODEL):
            answer = client.get(path)
            problem(answer, 503, "model-not-ready")
            assert int(answer.headers["retry-after"]) > 0
        assert client.get("/v2/health/live").status_code == 200


def counted(client: TestClient) -> dict[str, Any]:
    (found,) = client.get(f"{MODEL}/versions/1/stats").json()["model_stats"]
    assert (found["name"], found["version"]) == ("quadrants", "1")
    return {key: value for key, value in found.items() if key not in ("name", "version")}


def test_statistics_grow_by_what_was_asked(toy_settings: Settings) -> None:
    """
    Images, batches, nanoseconds of every part; failures apart; whichever interface was asked.
    """
    path = f"{MODEL}/versions/1/infer"
    with TestClient(create_app(toy_settings)) as client:
        before = counted(client)
        post(client, document(tensor(DOT.repeat(3, axis=0))), path=path)
        post(client, document(tensor(DOT.repeat(3, axis=0))), path=path)
        post(client, document(tensor(name="x")), path=path)
        client.post("/v1/models/quadrants/versions/1/predict", json={"image": DOT[0].tolist()})
        client.get("/v1/models/quadrants/versions/1/weights")
        after = counted(client)
        everything = client.get("/v2/models/stats").json()["model_stats"]

    assert before["execution_count"] == before["inference_count"] == before["last_inference"] == 0
    assert (after["execution_count"], after["inference_count"]) == (3, 7)
    assert after["last_inference"] > 1_700_000_000_000
    stats = after["inference_stats"]
    assert stats["fail"]["count"] == 1
    for part in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        assert stats[part]["count"] == 3
        assert stats[part]["ns"] > 0
    parts = sum(stats[part]["ns"] for part in ("queue", "compute_input", "compute_infer", "compute_output"))
    assert parts < stats["success"]["ns"]
    assert [batch["batch_size"] for batch in after["batch_stats"]] == [1, 3]
    assert [batch["compute_infer"]["count"] for batch in after["batch_stats"]] == [1, 2]
    assert [entry["version"] for entry in everything] == ["1", "2"]


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [
        ("INT64", np.int64),
        ("INT32", np.int32),
        ("UINT16", np.uint16),
        ("FP32", np.float32),
        ("FP64", np.float64),
    ],
)
def test_any_datatype_that_converts_exactly_gives_the_same(
    client: TestClient, datatype: str, dtype: type[np.generic]
) -> None:
    """
    To the last bit.
    """
    found = read(post(client, document(tensor(DOT.astype(dtype), datatype))))

    np.testing.assert_array_equal(found.arrays["logits"], LOGITS)


@pytest.mark.parametrize("where", ["input", "request"])
def test_floats_on_the_unit_scale(client: TestClient, where: str) -> None:
    """
    The parameter stands with the input or with the request: some clients can send only one of them.
    """
    unit = {"parameters": {"scale": "unit"}}
    whole = tensor((DOT / 255).astype(np.float32), "FP32", **(unit if where == "input" else {}))

    found = read(post(client, document(whole, **(unit if where == "request" else {}))))

    np.testing.assert_array_equal(found.arrays["logits"], LOGITS)


@pytest.fixture(scope="module")
def drawing() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A digit of 140 x 120 pixels, light on dark."""
    strokes = [np.array(stroke, np.float64) for stroke in digits.DIGITS["3"][0]]
    image = np.zeros((140, 120), np.uint8)
    image[56:84, 46:74] = mnist.from_strokes(strokes)
    return image


def test_images_of_any_size_are_prepared_on_request(client: TestClient, drawing: Any) -> None:  # noqa: ANN401
    """
    `prepare` makes of them what the service's own interface makes of the same picture.
    """
    prepared = mnist.from_picture(drawing, "it")[None]

    found = read(post(client, document(tensor(drawing[None]), parameters={"prepare": "mnist"})))

    expected = read(post(client, document(tensor(prepared))))
    np.testing.assert_array_equal(found.arrays["logits"], expected.arrays["logits"])
    problem(post(client, document(tensor(drawing[None]))), 400, "tensor-mismatch")


def test_picture_files_are_elements_of_bytes(client: TestClient, drawing: Any) -> None:  # noqa: ANN401
    """
    In base64 where JSON holds them, with their length before them where they are binary.
    """
    file = picture(Image.fromarray(drawing))
    expected = read(post(client, document(tensor(mnist.from_picture(drawing, "it")[None]))))
    packed = tensor_contents.encode([file, file])
    declared = {
        "name": "image",
        "shape": [2],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": len(packed)},
    }

    in_json = read(
        post(
            client,
            document(
                {"name": "image", "shape": [1], "datatype": "BYTES", "data": [b64encode(file).decode()]}
            ),
        )
    )
    in_binary = read(post(client, document(declared), packed))

    np.testing.assert_array_equal(in_json.arrays["logits"], expected.arrays["logits"])
    np.testing.assert_array_equal(in_binary.arrays["logits"], expected.arrays["logits"].repeat(2, axis=0))


def test_a_blank_image_is_refused_only_if_it_is_prepared(client: TestClient) -> None:
    """
    A tensor of zeros is a tensor; a drawing of nothing is none.
    """
    blank = tensor(np.zeros((1, 28, 28), np.uint8))

    assert post(client, document(blank)).status_code == 200
    problem(post(client, document(blank, parameters={"prepare": "mnist"})), 422, "blank-image")


@pytest.mark.parametrize("label", [True, "upper left"])
def test_explanations_add_up(client: TestClient, label: bool | str) -> None:
    """
    Shares and bias together are the logit of the class that is named, or of the likeliest.
    """
    found = read(post(client, document(parameters={"explain": label})))

    assert list(found.arrays) == ["logits", "probabilities", "shares", "bias", "explained"]
    (index,) = found.arrays["explained"]
    assert index == (3 if label is True else 0)
    assert found.arrays["shares"].shape == (1, 28, 28)
    logit = found.arrays["shares"].sum() + found.arrays["bias"][0]
    assert logit == pytest.approx(found.arrays["logits"][0, index], abs=1e-3)


def test_a_deadline_in_microseconds(client: TestClient) -> None:
    """
    One that no answer can meet is a 504; a long one, zero and none are none.
    """
    answer = post(client, document(parameters={"timeout": 1}))

    assert "1e-06 seconds" in problem(answer, 504, "deadline-exceeded")
    for parameters in ({"timeout": 0}, {"timeout": 60_000_000}, {"timeout": "60000000"}, {"priority": 1}):
        assert post(client, document(parameters=parameters)).status_code == 200


def test_a_body_needs_no_content_type(client: TestClient) -> None:
    """
    Unmodified clients send any or none.
    """
    for kind in ("application/octet-stream", "text/plain", "application/json"):
        answer = client.post(INFER, content=b'{"inputs":[]}', headers={"Content-Type": kind})

        assert "Inputs should be one named" in problem(answer, 400, "tensor-mismatch")


def test_a_batch_equals_its_rows(client: TestClient) -> None:
    """
    And large batches, which leave the event loop, equal small ones.
    """
    images = np.stack([toys.dot(row % 4) for row in range(64)])

    together = read(post(client, document(tensor(images)))).arrays["logits"]

    alone = [read(post(client, document(tensor(image[None])))).arrays["logits"] for image in images[:4]]
    np.testing.assert_array_equal(together[:4], np.concatenate(alone))
    assert len(together) == 64


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bodies_and_answers_may_be_compressed(client: TestClient, coding: str) -> None:
    """
    The header that says where the JSON ends speaks of what is compressed, not of its compressed form.
    """
    asked = document(parameters={"explain": True, "binary_data_output": True})
    asked["inputs"] = [tensor(data=None, parameters={"binary_data_size": 784})]
    text = json.dumps(asked).encode()
    packed = compressed(text + DOT.tobytes(), coding)
    headers = {HEADER: str(len(text)), "Content-Encoding": coding, "Accept-Encoding": coding}

    answer = client.post(INFER, content=packed, headers=headers)

    assert answer.headers["content-encoding"] == coding
    assert answer.headers["vary"] == "Accept-Encoding"
    np.testing.assert_array_equal(read(answer).arrays["logits"], LOGITS)
    small = client.post(INFER, content=packed, headers=headers | {"Accept-Encoding": "identity"})
    assert "content-encoding" not in small.headers
    assert read(small).document == read(answer).document
