"""Admission of gRPC calls: rights of methods, API keys, rates."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from service.core.errors import Forbidden, RateExceeded, ServiceError, Unauthenticated
from service.grpc import access as grpc_access
from service.grpc.access import Metadata
from service.grpc.messages import inference_pb2 as pb
from service.inference.admission.access import Access
from service.inference.admission.keys import Right
from service.settings import Settings
from tests.service.grpc.calls import DOT, Client, raw, refused, serving, typed
from tests.service.http.running import PATIENCE_S

KEY = [("authorization", "Bearer a-key")]

RIGHTS: dict[str, tuple[Any, Right | None]] = {
    "ServerLive": (pb.ServerLiveRequest(), None),
    "ServerReady": (pb.ServerReadyRequest(), None),
    "ServerMetadata": (pb.ServerMetadataRequest(), Right.READ),
    "ModelReady": (pb.ModelReadyRequest(name="quadrants"), Right.READ),
    "ModelMetadata": (pb.ModelMetadataRequest(name="quadrants"), Right.READ),
    "ModelConfig": (pb.ModelConfigRequest(name="quadrants"), Right.READ),
    "ModelStatistics": (pb.ModelStatisticsRequest(name="quadrants"), Right.READ),
    "ModelInfer": (raw(), Right.PREDICT),
    "RepositoryIndex": (pb.RepositoryIndexRequest(), Right.MANAGE),
    "RepositoryModelLoad": (pb.RepositoryModelLoadRequest(model_name="quadrants"), Right.MANAGE),
    "RepositoryModelUnload": (pb.RepositoryModelUnloadRequest(model_name="quadrants"), Right.MANAGE),
}


@dataclass
class FakeAccess:
    """Fake admission control, and the grant of every call; records its calls.

    Attributes:
        error: Raised for every call; None admits it.
        model: The only model that clients may use; None for all.
        images: Maximum number of images to charge.
        calls: Key metadata, address and right of each call.
        charged: Number of images of each call.
        client: Name of the client.
    """

    error: ServiceError | None = None
    model: str | None = None
    images: int = 1000
    calls: list[tuple[dict[str, str | bytes], str, Right]] = field(default_factory=list)
    charged: list[int] = field(default_factory=list)
    client: str = "a-client"

    async def authorize(self, access: Access, metadata: Metadata, address: str, right: Right) -> "FakeAccess":
        del access
        keys = {key: value for key, value in metadata if key in ("authorization", "x-api-key")}
        self.calls.append((keys, address, right))
        if self.error is not None:
            raise self.error
        return self

    def check_model(self, model: str) -> None:
        if self.model is not None and model != self.model:
            raise Forbidden(f"Model should be {self.model}", model)

    def charge(self, images: int) -> None:
        if sum(self.charged) + images > self.images:
            raise RateExceeded(self.images, "images", 60, 0.5)
        self.charged.append(images)

    def fields(self) -> list[tuple[str, str]]:
        return [("ratelimit", '"requests";r=1;t=2')]


@pytest.fixture
def access(monkeypatch: pytest.MonkeyPatch) -> FakeAccess:
    """Replace admission control by a fake."""
    fake = FakeAccess()
    monkeypatch.setattr(grpc_access, "authorize", fake.authorize)
    return fake


@pytest.fixture
def guarded(toy_settings: Settings, access: FakeAccess) -> Iterator[Client]:
    """A client of a service with the fake admission control."""
    del access
    with serving(toy_settings) as client:
        yield client


@pytest.mark.parametrize("method", RIGHTS)
def test_each_method_needs_its_right(guarded: Client, access: FakeAccess, method: str) -> None:
    message, right = RIGHTS[method]

    guarded.call(method, message, metadata=KEY)

    assert access.calls == ([] if right is None else [(dict(KEY), "127.0.0.1", right)])


def test_x_api_key_is_passed_to_admission(guarded: Client, access: FakeAccess) -> None:
    guarded.infer(raw(), metadata=[("x-api-key", "a-key")])

    assert access.calls == [({"x-api-key": "a-key"}, "127.0.0.1", Right.PREDICT)]


@pytest.mark.parametrize(
    ("error", "code", "key", "value"),
    [
        (Unauthenticated("none"), "UNAUTHENTICATED", "www-authenticate", 'Bearer realm="inkling"'),
        (Forbidden("A right", "none"), "PERMISSION_DENIED", "", ""),
        (RateExceeded(3, "requests", 60, 0.5), "RESOURCE_EXHAUSTED", "retry-after", "1"),
    ],
)
def test_an_admission_error_has_its_code_and_metadata(
    guarded: Client, access: FakeAccess, error: ServiceError, code: str, key: str, value: str
) -> None:
    access.error = error

    answer = guarded.infer(raw(), metadata=KEY)

    refused(answer, code, str(error))
    if key:
        assert answer.trailing[key] == value
    assert "a-key" not in answer.details


def test_unauthenticated_calls_fail_before_the_message_is_read(guarded: Client, access: FakeAccess) -> None:
    access.error = Unauthenticated("none")

    refused(guarded.infer(b"\xff\xff\xff"), "UNAUTHENTICATED")


@pytest.mark.parametrize("method", ["ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"])
def test_a_key_for_one_model_cannot_read_others(guarded: Client, access: FakeAccess, method: str) -> None:
    """
    The error does not show whether they exist.
    """
    access.model = "another"
    kind = type(RIGHTS[method][0])

    refused(guarded.call(method, kind(name="quadrants")), "PERMISSION_DENIED", "another")
    refused(guarded.call(method, kind(name="nobody")), "PERMISSION_DENIED", "another")


def test_a_key_for_one_model_cannot_predict_with_others(guarded: Client, access: FakeAccess) -> None:
    access.model = "another"
    refused(guarded.infer(raw()), "PERMISSION_DENIED", "another")

    access.model = "quadrants"
    assert guarded.infer(raw()).code == "OK"


def test_images_are_charged_before_they_are_predicted(guarded: Client, access: FakeAccess) -> None:
    """
    Whatever the contents' encoding; invalid requests are not charged.
    """
    guarded.infer(raw())
    guarded.infer(raw(DOT.tobytes() * 3, shape=[3, 28, 28]))
    guarded.infer(typed("uint_contents", [0] * 783 + [9], "UINT8"))
    guarded.infer(raw(b""))
    assert access.charged == [1, 3, 1]

    access.images = 5
    answer = guarded.infer(raw())

    refused(answer, "RESOURCE_EXHAUSTED", "images")
    assert answer.trailing["retry-after"] == "1"


def test_a_response_has_the_rate_limit_fields(guarded: Client) -> None:
    answer = guarded.infer(raw(), metadata=[("x-request-id", "mine")])

    assert answer.trailing == {"x-request-id": "mine", "ratelimit": '"requests";r=1;t=2'}


def test_health_is_open_and_reflection_needs_the_right_to_read(guarded: Client, access: FakeAccess) -> None:
    access.error = Unauthenticated("none")
    health = health_pb2_grpc.HealthStub(guarded.channel)
    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert access.calls == []

    reflection = reflection_pb2_grpc.ServerReflectionStub(guarded.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    with pytest.raises(grpc.RpcError) as caught:
        list(reflection.ServerReflectionInfo(iter([request]), timeout=PATIENCE_S))

    assert caught.value.code().name == "UNAUTHENTICATED"
    assert [right for _, _, right in access.calls] == [Right.READ]
