"""`service/http/oip/endpoints.py`: every operation of the protocol over HTTP."""

import json
from base64 import b64encode, encodebytes, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from service.app import create_app
from service.core.drawing import mnist
from service.oip import tensor_contents, tensors
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
def test_model_operations_have_four_paths(client: TestClient, rest: str, version: str, slash: str) -> None:
    """With and without version, with and without trailing slash."""
    response = client.get(f"{MODEL}{version}{rest}{slash}", follow_redirects=False)

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(("version", "logits"), [("", [0, 0, 0, 1]), ("/versions/1", [1, 0, 0, 0])])
def test_inference_has_four_paths(client: TestClient, version: str, logits: list[float], slash: str) -> None:
    response = post(client, document(), path=f"{MODEL}{version}/infer{slash}")

    found = read(response)
    np.testing.assert_array_equal(found.arrays["logits"], [logits])
    assert found.document["model_version"] == (version[-1] if version else "2")


@pytest.mark.parametrize("slash", ["", "/"])
def test_server_metadata(client: TestClient, slash: str) -> None:
    """Without management there is no model repository."""
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
    assert client.get(f"/v2/health/live{slash}").json() == {"live": True}
    assert client.get(f"/v2/health/ready{slash}").json() == {"ready": True}
    assert client.get(f"{MODEL}/ready{slash}").json() == {"name": "quadrants", "ready": True}


def test_model_metadata(client: TestClient) -> None:
    assert client.get(MODEL).json() == {
        "name": "quadrants",
        "versions": ["1", "2"],
        "platform": "onnx_onnxv1",
        **TENSORS,
    }


def test_model_configuration(client: TestClient) -> None:
    found = client.get(f"{MODEL}/config").json()

    assert (found["name"], found["backend"], found["max_batch_size"]) == ("quadrants", "onnxruntime", 64)
    assert found["input"] == [{"name": "image", "data_type": "TYPE_UINT8", "dims": [28, 28]}]
    assert [output["dims"] for output in found["output"]] == [[4], [4]]
    assert found["version_policy"] == {"specific": {"versions": [1, 2]}}


@pytest.mark.parametrize("rest", ["", "/ready", "/config", "/stats"])
@pytest.mark.parametrize(
    ("name", "kind"), [("nobody", "unknown-model"), ("quadrants/versions/9", "unknown-version")]
)
def test_unknown_models_and_versions_get_404(client: TestClient, name: str, kind: str, rest: str) -> None:
    problem(client.get(f"/v2/models/{name}{rest}"), 404, kind)


@pytest.mark.parametrize("path", ["/v2/nothing", "/v2/models", "/v2/models/", f"{MODEL}/versions", "/v2//"])
def test_unknown_paths_get_404(client: TestClient, path: str) -> None:
    problem(client.get(path), 404, "not-found")


@pytest.mark.parametrize("path", ["/v2", "/v2/", "/v2/health/live", INFER, f"{INFER}/"])
def test_wrong_methods_get_405(client: TestClient, path: str) -> None:
    response = client.delete(path)

    problem(response, 405, "wrong-method")
    assert response.headers["allow"] == ("POST" if "infer" in path else "GET, HEAD")


def test_server_and_model_are_not_ready_without_a_valid_version(tmp_path: Any) -> None:  # noqa: ANN401 - pytest's
    """503 for both; the server is live."""
    published = toys.publish(tmp_path)
    (tmp_path / published.manifest.name / published.manifest.version / "model.onnx").write_bytes(b"broken")

    with TestClient(create_app(Settings(models=tmp_path, _env_file=None))) as client:
        for path in ("/v2/health/ready", f"{MODEL}/ready", f"{MODEL}/versions/1/ready", MODEL):
            response = client.get(path)
            problem(response, 503, "model-not-ready")
            assert int(response.headers["retry-after"]) > 0
        assert client.get("/v2/health/live").status_code == 200


def counted(client: TestClient) -> dict[str, Any]:
    (found,) = client.get(f"{MODEL}/versions/1/stats").json()["model_stats"]
    assert (found["name"], found["version"]) == ("quadrants", "1")
    return {key: value for key, value in found.items() if key not in ("name", "version")}


def test_statistics_count_images_batches_failures_and_time(toy_settings: Settings) -> None:
    """Over all interfaces."""
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
def test_every_datatype_gives_the_same_logits(
    client: TestClient, datatype: str, dtype: type[np.generic]
) -> None:
    found = read(post(client, document(tensor(DOT.astype(dtype), datatype))))

    np.testing.assert_array_equal(found.arrays["logits"], LOGITS)


@pytest.mark.parametrize("where", ["input", "request"])
def test_floats_on_the_unit_scale(client: TestClient, where: str) -> None:
    """`scale` can be a parameter of the input or of the request."""
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


def test_prepare_preprocesses_images_of_any_size(client: TestClient, drawing: Any) -> None:  # noqa: ANN401
    """As in `/v1`."""
    prepared = mnist.from_picture(drawing, "it")[None]

    found = read(post(client, document(tensor(drawing[None]), parameters={"prepare": "mnist"})))

    expected = read(post(client, document(tensor(prepared))))
    np.testing.assert_array_equal(found.arrays["logits"], expected.arrays["logits"])
    problem(post(client, document(tensor(drawing[None]))), 400, "tensor-mismatch")


def test_image_files_are_elements_of_bytes(client: TestClient, drawing: Any) -> None:  # noqa: ANN401
    """In base64 in JSON, after their length in binary."""
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


@pytest.mark.parametrize("shape", [[2, 1], [2, 1, 1], [2]])
@pytest.mark.parametrize("encode", [b64encode, encodebytes, urlsafe_b64encode])
def test_image_files_may_have_further_sides_of_one(
    client: TestClient,
    drawing: Any,  # noqa: ANN401
    shape: list[int],
    encode: Callable[[bytes], bytes],
) -> None:
    """As the codecs of MLServer write them: (n, 1), in base64, in JSON and in binary; nested or not."""
    file = picture(Image.fromarray(drawing))
    expected = read(post(client, document(tensor(mnist.from_picture(drawing, "it")[None]))))
    text = encode(file)
    packed = [tensor_contents.encode([text, file]), tensor_contents.encode([file, text])]
    described = {"name": "image", "shape": shape, "datatype": "BYTES"}
    data = np.array([text.decode()] * 2)

    found = [
        read(post(client, document(described | {"data": data.tolist()}))),
        read(post(client, document(described | {"data": data.reshape(shape).tolist()}))),
        *(
            read(post(client, document(described | {"parameters": {"binary_data_size": len(one)}}), one))
            for one in packed
        ),
    ]

    for answer in found:
        np.testing.assert_array_equal(answer.arrays["logits"], expected.arrays["logits"].repeat(2, axis=0))


@pytest.mark.parametrize("shape", [(2, 1, 28, 28), (2, 28, 28, 1), (2, 28, 1, 28)])
@pytest.mark.parametrize("datatype", ["UINT8", "FP32", "INT64"])
@pytest.mark.parametrize("form", ["nested", "flat", "binary"])
def test_sides_of_one_do_not_matter(
    client: TestClient, shape: tuple[int, ...], datatype: str, form: str
) -> None:
    """As PyTorch and Keras shape images of one channel."""
    batch = np.stack([toys.dot(1), toys.dot(2)])
    expected = read(post(client, document(tensor(batch))))
    array = batch.astype(tensors.DTYPES[datatype]).reshape(shape)
    described: dict[str, Any] = {"name": "image", "shape": list(shape), "datatype": datatype}
    packed = b""
    if form == "binary":
        packed = array.tobytes()
        described["parameters"] = {"binary_data_size": len(packed)}
    else:
        described["data"] = array.tolist() if form == "nested" else array.ravel().tolist()

    found = read(post(client, document(described), packed))

    np.testing.assert_array_equal(found.arrays["logits"], expected.arrays["logits"])


def test_a_rounding_error_is_no_fraction(client: TestClient) -> None:
    """Of 0..1 and of 0..255; a message about a real one has all digits."""
    dot = toys.dot(1)[None]
    expected = read(post(client, document(tensor(dot))))
    unit = {"scale": "unit"}
    ones = (dot / np.float32(255) * np.float32(1.0000001)).astype(np.float32)

    found = read(post(client, document(tensor(ones, datatype="FP32"), parameters=unit)))
    whole = read(post(client, document(tensor(dot * np.float32(0.9999999), datatype="FP32"))))
    refused = post(client, document(tensor(ones + np.float32(0.00002), datatype="FP32"), parameters=unit))

    np.testing.assert_array_equal(found.arrays["logits"], expected.arrays["logits"])
    np.testing.assert_array_equal(whole.arrays["logits"], expected.arrays["logits"])
    assert "should be a number 0..1; got 1.0000" in problem(refused, 400, "malformed-request")


def test_a_blank_image_is_refused_only_if_it_is_prepared(client: TestClient) -> None:
    blank = tensor(np.zeros((1, 28, 28), np.uint8))

    assert post(client, document(blank)).status_code == 200
    problem(post(client, document(blank, parameters={"prepare": "mnist"})), 422, "blank-image")


@pytest.mark.parametrize("label", [True, "upper left"])
def test_shares_and_bias_add_up_to_the_logit(client: TestClient, label: bool | str) -> None:
    """For the given label, or the top class."""
    found = read(post(client, document(parameters={"explain": label})))

    assert list(found.arrays) == ["logits", "probabilities", "shares", "bias", "explained"]
    (index,) = found.arrays["explained"]
    assert index == (3 if label is True else 0)
    assert found.arrays["shares"].shape == (1, 28, 28)
    logit = found.arrays["shares"].sum() + found.arrays["bias"][0]
    assert logit == pytest.approx(found.arrays["logits"][0, index], abs=1e-3)


def test_the_timeout_is_in_microseconds(client: TestClient) -> None:
    """0 means none."""
    response = post(client, document(parameters={"timeout": 1}))

    assert "1e-06 seconds" in problem(response, 504, "deadline-exceeded")
    for parameters in ({"timeout": 0}, {"timeout": 60_000_000}, {"timeout": "60000000"}, {"priority": 1}):
        assert post(client, document(parameters=parameters)).status_code == 200


def test_the_content_type_is_ignored(client: TestClient) -> None:
    for kind in ("application/octet-stream", "text/plain", "application/json"):
        response = client.post(INFER, content=b'{"inputs":[]}', headers={"Content-Type": kind})

        assert "Inputs should be one named" in problem(response, 400, "tensor-mismatch")


def test_a_batch_equals_its_rows(client: TestClient) -> None:
    """Also if it is large enough for the thread pool."""
    images = np.stack([toys.dot(row % 4) for row in range(64)])

    together = read(post(client, document(tensor(images)))).arrays["logits"]

    alone = [read(post(client, document(tensor(image[None])))).arrays["logits"] for image in images[:4]]
    np.testing.assert_array_equal(together[:4], np.concatenate(alone))
    assert len(together) == 64


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_requests_and_responses_can_be_compressed(client: TestClient, coding: str) -> None:
    """The header with the length of the JSON applies to the decompressed body."""
    request = document(parameters={"explain": True, "binary_data_output": True})
    request["inputs"] = [tensor(data=None, parameters={"binary_data_size": 784})]
    text = json.dumps(request).encode()
    packed = compressed(text + DOT.tobytes(), coding)
    headers = {HEADER: str(len(text)), "Content-Encoding": coding, "Accept-Encoding": coding}

    response = client.post(INFER, content=packed, headers=headers)

    assert response.headers["content-encoding"] == coding
    assert response.headers["vary"] == "Accept-Encoding"
    np.testing.assert_array_equal(read(response).arrays["logits"], LOGITS)
    small = client.post(INFER, content=packed, headers=headers | {"Accept-Encoding": "identity"})
    assert "content-encoding" not in small.headers
    assert read(small).document == read(response).document
