"""gRPC of the service as a process: requests, health, workers, stop."""

import contextlib
import io
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from PIL import Image

from service.grpc.messages import inference_pb2 as pb
from service.grpc.servicer import SERVICE
from tests import toys
from tests.processes import (
    PATIENCE_S,
    Process,
    children,
    connections,
    free_port,
    listening_ports,
    running,
    wait_until,
)


def test_grpc_is_served_and_drained(toy_root: Path) -> None:
    """
    Inference, health and reflection work; after SIGTERM health watchers get NOT_SERVING, and a running call
    is finished.
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
        process.wait_for_request()

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


@pytest.mark.skipif(sys.platform != "linux", reason="the test looks into /proc")
def test_workers_share_the_grpc_port(toy_root: Path) -> None:
    """
    Both workers serve, and metrics include both; while a killed worker is replaced, the other serves.
    """
    port = free_port()
    two = ("--workers", "2", "--no-access-log", "--grpc-port", str(port))
    with running(toy_root, *two) as process:
        victim, other = children(process.handle.pid)
        asked = _ask_until_both_answer(port, [victim, other])
        wait_until(lambda: _inferred(process) == asked)
        with _connected_to(port, other) as channel:
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: not Path(f"/proc/{victim}").exists())
            _infer(channel)
        wait_until(lambda: len(children(process.handle.pid)) == 2)
        (new,) = set(children(process.handle.pid)) - {other}
        wait_until(lambda: port in listening_ports(new))
        later = _ask_until_both_answer(port, [new, other])
        wait_until(lambda: _inferred(process) == asked + 1 + later)
        status, rest = process.stop(signal.SIGTERM)

    assert status == 0
    assert all(line.startswith("{") for line in rest.splitlines()), rest


def test_workers_share_a_free_grpc_port(toy_root: Path) -> None:
    """
    Port 0 is the same port for both workers, is logged, and cannot be bound by others.
    """
    with running(toy_root, "--workers", "2", "--grpc-port", "0") as process:
        ports = {found[1] for line in process.lines if (found := re.search(r"grpc://[^:]+:(\d+)", line))}
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", int(next(iter(ports)))))

    assert len(ports) == 1


def _channel(port: int) -> grpc.Channel:
    return grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])


def _infer(channel: grpc.Channel) -> None:
    asked = pb.ModelInferRequest(model_name="quadrants", raw_input_contents=[toys.dot(0).tobytes()])
    asked.inputs.add(name="image", datatype="UINT8", shape=[1, 28, 28])
    infer = channel.unary_unary(
        f"/{SERVICE}/ModelInfer", pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString
    )
    infer(asked, timeout=PATIENCE_S)


def _ask_until_both_answer(port: int, pids: list[int]) -> int:
    """Call over new connections, all kept open, until each worker has one; return the number of calls."""
    with contextlib.ExitStack() as stack:
        for asked in range(1, 100):
            _infer(stack.enter_context(_channel(port)))
            if all(connections(port, pid) for pid in pids):
                return asked
    pytest.fail("one process had no share")


@contextlib.contextmanager
def _connected_to(port: int, pid: int) -> Iterator[grpc.Channel]:
    """Yield a channel to one of the workers."""
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            before = connections(port, pid)
            channel = stack.enter_context(_channel(port))
            grpc.channel_ready_future(channel).result(timeout=PATIENCE_S)
            if connections(port, pid) > before:
                yield channel
                return
    pytest.fail("it took no connection")


def _inferred(process: Process) -> int:
    stats = process.get("/v2/models/quadrants/stats")
    return sum(model["inference_count"] for model in stats["model_stats"])


def _slow_picture() -> bytes:
    """Return an image that takes long to decode."""
    stream = io.BytesIO()
    canvas = np.full((3900, 3900), 255, np.uint8)
    canvas[500:3400, 1800:2100] = 0
    Image.fromarray(canvas).save(stream, "PNG")
    return stream.getvalue()


def _packed(element: bytes) -> bytes:
    return len(element).to_bytes(4, "little") + element
