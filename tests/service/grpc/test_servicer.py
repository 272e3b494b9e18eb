"""The methods over gRPC: responses, errors, log and metrics."""

import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from service.core.errors import InferenceFailed
from service.grpc.messages import inference_pb2 as pb
from service.grpc.servicer import SERVICE
from service.inference.predictor import Predictor
from service.settings import Settings
from tests import toys
from tests.service.grpc.calls import DOT, Client, raw, refused, serving, typed
from tests.service.http.running import PATIENCE_S, Background, HeldPredictions

NAMED = {
    "ModelReady": pb.ModelReadyRequest,
    "ModelMetadata": pb.ModelMetadataRequest,
    "ModelConfig": pb.ModelConfigRequest,
    "ModelStatistics": pb.ModelStatisticsRequest,
}
"""Methods that ask about a model."""


def test_server_is_live_and_ready(grpc_client: Client) -> None:
    assert grpc_client.call("ServerLive", pb.ServerLiveRequest()).message.live
    assert grpc_client.call("ServerReady", pb.ServerReadyRequest()).message.ready


def test_metadata_equals_http(grpc_client: Client) -> None:
    def rest(path: str) -> Any:  # noqa: ANN401 - JSON can be anything
        return grpc_client.http.get(f"/v2{path}").json()

    server = grpc_client.call("ServerMetadata", pb.ServerMetadataRequest()).message
    model = grpc_client.call("ModelMetadata", pb.ModelMetadataRequest(name="quadrants")).message
    config = grpc_client.call("ModelConfig", pb.ModelConfigRequest(name="quadrants")).message.config

    assert [server.name, server.version, list(server.extensions)] == list(rest("").values())
    said = rest("/models/quadrants")
    assert [model.name, list(model.versions), model.platform] == [
        said[member] for member in ("name", "versions", "platform")
    ]
    for member in ("inputs", "outputs"):
        tensors = [
            {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
            for tensor in getattr(model, member)
        ]
        assert tensors == said[member]
    said = rest("/models/quadrants/config")
    assert (config.name, config.backend, config.max_batch_size) == (
        said["name"],
        said["backend"],
        said["max_batch_size"],
    )
    assert [list(tensor.dims) for tensor in config.input] == [tensor["dims"] for tensor in said["input"]]
    assert config.input[0].data_type == pb.TYPE_UINT8
    assert list(config.version_policy.specific.versions) == [1, 2]
    assert config.dynamic_batching.priority_levels == 10
    assert config.instance_group[0].kind == pb.ModelInstanceGroup.KIND_CPU
    assert config.parameters["engine_threads"].string_value == "1"


def test_named_version_or_the_newest_responds(grpc_client: Client) -> None:
    for version, answered, lit in (("", "2", 3), ("1", "1", 0), ("2", "2", 3)):
        asked = raw()
        asked.model_version = version

        message = grpc_client.infer(asked).message

        assert message.model_version == answered
        assert np.frombuffer(message.raw_output_contents[0], "<f4").argmax() == lit


@pytest.mark.parametrize("method", NAMED)
def test_unknown_models_and_versions_are_not_found(grpc_client: Client, method: str) -> None:
    refused(grpc_client.call(method, NAMED[method](name="nobody")), "NOT_FOUND", "quadrants", "nobody")
    refused(
        grpc_client.call(method, NAMED[method](name="quadrants", version="9")), "NOT_FOUND", "1, 2", "'9'"
    )


def test_call_counts_in_statistics_and_metrics(toy_settings: Settings) -> None:
    """
    As over HTTP; failed calls too.
    """
    with serving(toy_settings) as client:
        client.infer(raw())
        client.infer(raw(b""))

        asked = pb.ModelStatisticsRequest(name="quadrants", version="2")
        (record,) = client.call("ModelStatistics", asked).message.model_stats
        every = client.call("ModelStatistics", pb.ModelStatisticsRequest()).message.model_stats
        metrics = client.http.get("/metrics").text

    assert (record.inference_count, record.execution_count) == (1, 1)
    assert (record.inference_stats.success.count, record.inference_stats.fail.count) == (1, 1)
    assert record.inference_stats.compute_infer.ns > 0
    assert abs(record.last_inference / 1000 - time.time()) < PATIENCE_S
    assert [(batch.batch_size, batch.compute_infer.count) for batch in record.batch_stats] == [(1, 1)]
    assert [(model.name, model.version) for model in every] == [("quadrants", "1"), ("quadrants", "2")]
    for status in (200, 400):
        labels = f'code="{status}",model="quadrants",route="/{SERVICE}/ModelInfer"'
        assert f"inkling_requests_total{{{labels}}} 1.0" in metrics
    assert "inkling_requests_in_flight 1.0" in metrics  # the one that asks


def test_call_is_logged(grpc_client: Client, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("service").setLevel(logging.INFO)
    with caplog.at_level(logging.INFO, "service.observability.request_log"):
        answer = grpc_client.infer(raw(), metadata=[("x-request-id", "mine")])

        assert answer.trailing["x-request-id"] == "mine"
        deadline = time.monotonic() + PATIENCE_S
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.01)  # it is written after the answer

    (line,) = [line for record in caplog.records for line in vars(record).get("lines", ())]
    assert (line["request_id"], line["status"], line["images"]) == ("mine", 200, 1)
    assert (line["client"], line["route"]) == ("127.0.0.1", f"/{SERVICE}/ModelInfer")
    assert line["received_bytes"] == raw().ByteSize()


def test_call_gets_a_request_id(grpc_client: Client) -> None:
    """
    Errors too; an invalid one is replaced.
    """
    ids = {
        grpc_client.infer(raw()).trailing["x-request-id"],
        grpc_client.infer(raw(b"")).trailing["x-request-id"],
        grpc_client.infer(raw(), metadata=[("x-request-id", "no spaces")]).trailing["x-request-id"],
    }

    assert len(ids) == 3
    assert all(len(given) == 16 for given in ids)


def test_error_message_equals_http(grpc_client: Client) -> None:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28], "data": [0] * 783}
    said = grpc_client.http.post("/v2/models/quadrants/infer", json={"inputs": [tensor]}).json()["error"]

    answer = grpc_client.infer(typed("uint_contents", [0] * 783, "UINT8"))

    assert answer.details == said


@pytest.mark.parametrize("error", [InferenceFailed("quadrants", "2"), ValueError("a secret")])
def test_internal_error_message_equals_http(
    grpc_client: Client, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Predictor, "predict", fail)
    headers = {"Content-Type": "application/octet-stream"}
    said = grpc_client.http.post("/v1/models/quadrants/predict", content=DOT.tobytes(), headers=headers)

    answer = grpc_client.infer(raw())

    assert said.status_code == 500
    assert (answer.code, answer.details) == ("INTERNAL", said.json()["error"])
    assert "x-request-id" in answer.trailing


def test_large_batch_is_predicted(toy_settings: Settings) -> None:
    """
    In the thread pool, as over HTTP.
    """
    images = np.repeat(DOT, 64, axis=0)
    with serving(toy_settings) as client:
        answer = client.infer(raw(images.tobytes(), shape=list(images.shape)))

    assert (
        np.frombuffer(answer.message.raw_output_contents[0], "<f4").reshape(64, 4)[:, 3].tolist() == [1] * 64
    )


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_message_size_limit_is_that_of_bodies(
    grpc_client: Client, compression: grpc.Compression, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Also for a compressed message. The log has it.
    """
    logging.getLogger("service").setLevel(logging.INFO)
    with caplog.at_level(logging.INFO, "service.observability.request_log"):
        answer = grpc_client.infer(raw(bytes(200_001)), compression=compression)
        deadline = time.monotonic() + PATIENCE_S
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.01)  # the caller may be told first

    refused(answer, "RESOURCE_EXHAUSTED", "larger than max")
    assert [line["status"] for record in caplog.records for line in vars(record).get("lines", ())] == [413]


def test_compressed_message_is_accepted(grpc_client: Client) -> None:
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        assert grpc_client.infer(raw(), compression=compression).code == "OK"


def test_other_messages_are_limited_to_64_kb(grpc_client: Client) -> None:
    refused(
        grpc_client.call("ModelReady", pb.ModelReadyRequest(name="a" * 70_000)),
        "RESOURCE_EXHAUSTED",
        "65,536 bytes",
    )


def test_too_many_images_are_refused(grpc_client: Client) -> None:
    answer = grpc_client.infer(raw(bytes(65 * 784), shape=[65, 28, 28]))

    refused(answer, "RESOURCE_EXHAUSTED", "64 images", "65")


def test_expired_timeout_is_deadline_exceeded(grpc_client: Client) -> None:
    asked = raw()
    asked.parameters["timeout"].int64_param = 1

    answer = grpc_client.infer(asked)

    refused(answer, "DEADLINE_EXCEEDED", "1e-06 seconds")
    assert 1 <= int(answer.trailing["retry-after"]) <= 3


def test_client_deadline_ends_only_its_call(
    toy_settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The next call in the queue succeeds; the log has status 504.
    """
    logging.getLogger("service").setLevel(logging.INFO)
    held = HeldPredictions(monkeypatch)
    images = np.repeat(DOT, 64, axis=0)
    large = raw(images.tobytes(), shape=list(images.shape))
    with caplog.at_level(logging.INFO, "service.observability.request_log"), serving(toy_settings) as client:
        late = Background(lambda: client.infer(large, timeout_s=0.3))
        held.wait_for_prediction()
        code = late.result().code
        held.release_all()
        after = client.infer(large).code

    assert (code, after) == ("DEADLINE_EXCEEDED", "OK")
    *given_up, answered = [
        line["status"] for record in caplog.records for line in vars(record).get("lines", ())
    ]
    assert set(given_up) == {504}  # gRPC's client may send a call a second time before its deadline
    assert answered == 200


def test_full_queue_is_unavailable(toy_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    held = HeldPredictions(monkeypatch)
    images = np.repeat(DOT, 64, axis=0)
    large = raw(images.tobytes(), shape=list(images.shape))
    with serving(toy_settings, worker_threads=1, max_waiting=0) as client:
        first = Background(lambda: client.infer(large))
        held.wait_for_prediction()

        answer = client.infer(large)
        held.release_all()
        begun = first.result()

    refused(answer, "UNAVAILABLE", "queue")
    assert 1 <= int(answer.trailing["retry-after"]) <= 3
    assert begun.code == "OK"


def test_memory_of_all_messages_is_limited(toy_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    held = HeldPredictions(monkeypatch)
    images = np.repeat(DOT, 64, axis=0)
    large = raw(images.tobytes(), shape=list(images.shape))
    with serving(toy_settings, max_pending_bytes=300_000) as client:
        first = Background(lambda: client.infer(large))
        held.wait_for_prediction()

        answer = client.infer(large)
        held.release_all()
        first.result()
        after = client.infer(large)

    refused(answer, "UNAVAILABLE", "300,000 bytes")
    assert after.code == "OK"


def test_streaming_inference_is_unimplemented(grpc_client: Client) -> None:
    method = grpc_client.channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", None, None)

    with pytest.raises(grpc.RpcError) as caught:
        list(method(iter([raw().SerializeToString()]), timeout=PATIENCE_S))

    assert caught.value.code().name == "UNIMPLEMENTED"


REPOSITORY: dict[str, Any] = {
    "RepositoryIndex": pb.RepositoryIndexRequest(),
    "RepositoryModelLoad": pb.RepositoryModelLoadRequest(model_name="quadrants"),
    "RepositoryModelUnload": pb.RepositoryModelUnloadRequest(model_name="quadrants"),
}


@pytest.mark.parametrize("method", REPOSITORY)
def test_repository_methods_need_management(grpc_client: Client, method: str) -> None:
    refused(grpc_client.call(method, REPOSITORY[method]), "PERMISSION_DENIED", "INKLING_MANAGEMENT")


def test_models_are_unloaded_and_loaded_over_grpc(
    toy_settings: Settings, toy_root: Path, tmp_path: Path
) -> None:
    """
    With the name in either field of the two protocol editions.
    """
    root = tmp_path / "models"
    shutil.copytree(toy_root, root)

    def states(client: Client, ready: bool = False) -> list[tuple[str, str]]:
        index = client.call("RepositoryIndex", pb.RepositoryIndexRequest(ready=ready)).message.models
        return [(model.version, model.state) for model in index]

    with serving(toy_settings, models=root, management=True) as client:
        before = states(client)
        unloaded = client.call("RepositoryModelUnload", REPOSITORY["RepositoryModelUnload"])
        during, ready = states(client), states(client, ready=True)
        is_ready = client.call("ModelReady", pb.ModelReadyRequest(name="quadrants")).message.ready
        answer = client.infer(raw())
        loaded = client.call(
            "RepositoryModelLoad", pb.RepositoryModelLoadRequest(repository_name="quadrants")
        )
        after = client.infer(raw())
        nobody = client.call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="nobody"))
        changed = pb.RepositoryModelLoadRequest(model_name="quadrants")
        changed.parameters["config"].string_param = json.dumps({})
        config = client.call("RepositoryModelLoad", changed)
        toys.publish(root, alter=lambda model: model.graph.initializer.pop())
        broken = client.call("RepositoryModelLoad", REPOSITORY["RepositoryModelLoad"])

    assert before == [("1", "READY"), ("2", "READY")]
    assert unloaded.message.isUnloaded
    assert during == [("1", "UNAVAILABLE"), ("2", "UNAVAILABLE")]
    assert ready == []
    assert is_ready is False
    refused(answer, "UNAVAILABLE", "quadrants", "unloaded")
    assert 5 <= int(answer.trailing["retry-after"]) <= 11
    assert (loaded.message.model_name, loaded.message.isLoaded) == ("quadrants", True)
    assert after.code == "OK"
    refused(nobody, "NOT_FOUND", "nobody")
    refused(config, "INVALID_ARGUMENT", "config")
    refused(broken, "FAILED_PRECONDITION", "quadrants/3")
