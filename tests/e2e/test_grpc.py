"""gRPC of the service as a process: started as anybody would, asked, stopped by a signal."""

import io
import signal
import time
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from PIL import Image

from service.grpc import inference_pb2 as pb
from service.grpc.servicer import SERVICE
from tests import toys
from tests.processes import PATIENCE_S, Process, free_port, running


def test_a_process_serves_grpc_and_drains(toy_root: Path) -> None:
    """
    It answers, tells that it is healthy and what it offers; after SIGTERM whoever watches hears that it
    serves no longer, the call under way is answered, and it ends with 0 and without noise.
    """
    port = free_port()
    with (
        running(toy_root, "--grpc-port", str(port), "--drain-timeout-s", "20") as process,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        infer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer", pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString
        )
        asked = pb.ModelInferRequest(model_name="quadrants", raw_input_contents=[toys.dot(0).tobytes()])
        asked.inputs.add(name="image", datatype="UINT8", shape=[1, 28, 28])
        answer = infer(asked, timeout=PATIENCE_S, wait_for_ready=True)
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        (listed,) = reflection.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=PATIENCE_S
        )
        watching = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service=SERVICE), timeout=PATIENCE_S
        )
        first = next(watching).status
        slow = pb.ModelInferRequest(model_name="quadrants", raw_input_contents=[_packed(_slow_picture())])
        slow.inputs.add(name="image", datatype="BYTES", shape=[1])
        under_way = infer.future(slow, timeout=PATIENCE_S)
        _wait_for_one_more(process)

        process.handle.send_signal(signal.SIGTERM)
        second = next(watching).status
        watching.cancel()
        late = under_way.result()
        _, rest = process.handle.communicate(timeout=PATIENCE_S)

    assert np.frombuffer(answer.raw_output_contents[0], "<f4").tolist() == [0, 0, 0, 1]
    assert SERVICE in {service.name for service in listed.list_services_response.service}
    assert first == health_pb2.HealthCheckResponse.SERVING
    assert second == health_pb2.HealthCheckResponse.NOT_SERVING
    assert late.model_name == "quadrants"
    assert process.handle.returncode == 0
    assert all(line.startswith("{") for line in rest.splitlines()), rest
    assert "Traceback" not in rest


def _wait_for_one_more(process: Process) -> None:
    """Wait until the service answers one more call than the one that asks."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://127.0.0.1:{process.port}/metrics", timeout=PATIENCE_S) as answer:
            if b"inkling_requests_in_flight 2.0" in answer.read():
                return
    pytest.fail("the call never began")


def _slow_picture() -> bytes:
    """A picture that takes a while to read, with something on it."""
    stream = io.BytesIO()
    canvas = np.full((3900, 3900), 255, np.uint8)
    canvas[500:3400, 1800:2100] = 0
    Image.fromarray(canvas).save(stream, "PNG")
    return stream.getvalue()


def _packed(element: bytes) -> bytes:
    return len(element).to_bytes(4, "little") + element
