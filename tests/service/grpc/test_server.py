"""Health and reflection services."""

import threading
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from service.grpc.messages import inference_pb2 as pb
from service.grpc.servicer import SERVICE
from service.settings import Settings
from tests import toys
from tests.processes import modules_after
from tests.service.grpc.calls import Client, serving
from tests.service.http.running import PATIENCE_S, Background

Status = health_pb2.HealthCheckResponse.ServingStatus


def health_of(client: Client, service: str) -> str:
    """Return the status from the health service."""
    stub = health_pb2_grpc.HealthStub(client.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE_S)
    return str(Status.Name(answer.status))


@pytest.mark.parametrize("service", ["", SERVICE])
def test_health_is_serving_when_models_are_ready(grpc_client: Client, service: str) -> None:
    assert health_of(grpc_client, service) == "SERVING"


def test_health_of_unknown_service_is_not_found(grpc_client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        health_of(grpc_client, "nobody")

    assert caught.value.code().name == "NOT_FOUND"


def test_health_follows_model_status(toy_settings: Settings, tmp_path: Path) -> None:
    """
    NOT_SERVING with a model that failed to load, until it is loaded.
    """
    published = toys.publish(tmp_path)
    file = tmp_path / published.manifest.name / published.manifest.version / "model.onnx"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with serving(toy_settings, models=tmp_path, management=True) as client:
        seen: list[str] = []
        mended = threading.Event()

        def watch() -> None:
            stub = health_pb2_grpc.HealthStub(client.channel)
            for answer in stub.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S):
                seen.append(Status.Name(answer.status))
                if len(seen) == 1:
                    mended.set()
                else:
                    return

        watching = Background(watch)
        assert mended.wait(PATIENCE_S)
        ready = client.call("ServerReady", pb.ServerReadyRequest()).message.ready
        file.write_bytes(content)
        loaded = client.call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="quadrants"))
        watching.result()

        assert ready is False
        assert loaded.code == "OK", loaded
        assert seen == ["NOT_SERVING", "SERVING"]
        assert health_of(client, SERVICE) == "SERVING"


def test_reflection_describes_the_service(grpc_client: Client) -> None:
    """
    Enough for a client that has no copy of inference.proto.
    """
    stub = reflection_pb2_grpc.ServerReflectionStub(grpc_client.channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
    ]

    services, file = stub.ServerReflectionInfo(iter(asked), timeout=PATIENCE_S)

    names = {service.name for service in services.list_services_response.service}
    described = FileDescriptorProto.FromString(file.file_descriptor_response.file_descriptor_proto[0])
    assert {SERVICE, "grpc.health.v1.Health"} <= names
    assert "ModelInfer" in {method.name for method in described.service[0].method}


def test_grpc_is_not_imported_without_grpc_port(toy_root: Path) -> None:
    program = (
        "import sys; from service import app; import service.server.process; "
        "from service.settings import Settings; from pathlib import Path; "
        "app.create_app(Settings(models=Path(sys.argv[1]), _env_file=None))"
    )

    loaded = modules_after(program, str(toy_root))

    assert "service.app" in loaded
    assert loaded.isdisjoint({"grpc", "grpc_health", "grpc_reflection", "google.protobuf", "service.grpc"})
