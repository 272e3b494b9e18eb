"""Messages are read within limits; clients that send nothing do not block others."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from service.grpc.messages import inference_pb2 as pb
from service.grpc.servicer import SERVICE
from service.settings import Settings
from tests.http2 import CANCEL, INITIAL_WINDOW_SIZE, RST_STREAM, begin, connect, frame, message, setting
from tests.service.grpc.calls import Client, raw, refused, serving
from tests.service.http.running import PATIENCE_S, Background

HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

EMPTY = {
    "ServerLive": pb.ServerLiveRequest(),
    "ServerReady": pb.ServerReadyRequest(),
    "ServerMetadata": pb.ServerMetadataRequest(),
}
"""Methods whose message has no fields."""


@contextmanager
def silent(client: Client, method: str, calls: int, connections: int = 1) -> Iterator[None]:
    """Start calls without a message, over some connections; at least two have started when the context is
    entered."""
    before = in_flight(client)
    is_counted = not method.startswith("/grpc.")
    with ExitStack() as stack:
        for _ in range(connections):
            connection = stack.enter_context(connect(client.port))
            connection.sendall(b"".join(begin(method, 1 + 2 * number) for number in range(calls)))
        deadline = time.monotonic() + PATIENCE_S
        while is_counted and in_flight(client) < before + min(2, calls * connections):
            assert time.monotonic() < deadline
        yield


def in_flight(client: Client) -> int:
    """Return the number of requests in flight."""
    for line in client.http.get("/metrics").text.splitlines():
        if line.startswith("inkling_requests_in_flight "):
            return int(float(line.split()[1]))
    pytest.fail("there is no such metric")


@pytest.mark.parametrize("connections", [1, 8])
def test_inference_calls_without_message_do_not_block_inference(
    toy_settings: Settings, connections: int
) -> None:
    """
    There are two permits, each held by a call without a message.
    """
    with (
        serving(
            toy_settings, max_pending_bytes=8_000_000, max_body_bytes=4_000_000, body_timeout_s=600
        ) as client,
        silent(client, "ModelInfer", calls=8 // connections, connections=connections),
    ):
        codes = [client.infer(raw()).code for _ in range(5)]

    assert codes == ["OK"] * 5


def test_small_calls_without_message_do_not_block_small_calls(toy_settings: Settings) -> None:
    with (
        serving(toy_settings, body_timeout_s=600) as client,
        silent(client, "ModelReady", calls=40),
        silent(client, HEALTH, calls=40),
    ):
        ready = client.call("ModelReady", pb.ModelReadyRequest(name="quadrants")).message.ready
        health = health_pb2_grpc.HealthStub(client.channel)
        serving_status = health.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S).status

    assert ready
    assert serving_status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("method", EMPTY)
def test_method_without_fields_responds_before_its_message(toy_settings: Settings, method: str) -> None:
    """
    Its message is not read.
    """
    with serving(toy_settings, body_timeout_s=600) as client:
        stub = client.channel.stream_unary(f"/{SERVICE}/{method}", None, None)

        def never() -> Iterator[bytes]:
            time.sleep(2)
            yield from ()

        answer = stub(never(), timeout=PATIENCE_S)

    assert answer


def test_calls_without_message_above_the_limit_do_not_block_others(toy_settings: Settings) -> None:
    """
    A new call replaces one of them.
    """
    with serving(toy_settings, max_connections=16, body_timeout_s=600) as client, ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(connect(client.port))
            connection.sendall(b"".join(begin("ModelInfer", 1 + 2 * number) for number in range(20)))

        codes = [client.infer(raw()).code for _ in range(5)]
        small = client.call("ModelReady", pb.ModelReadyRequest(name="quadrants"))

    assert codes == ["OK"] * 5
    assert small.message.ready


def test_missing_message_times_out(toy_settings: Settings) -> None:
    """
    After `body_timeout_s`, if no other call waits.
    """

    def never() -> Iterator[bytes]:
        time.sleep(2)
        yield from ()

    with serving(toy_settings, body_timeout_s=0.3) as client:
        for name in ("ModelInfer", "ModelReady"):
            idle = client.channel.stream_unary(f"/{SERVICE}/{name}", None, None).future(
                never(), timeout=PATIENCE_S
            )

            error = idle.exception()

            assert error.code().name == "DEADLINE_EXCEEDED"
            assert "0.3 seconds" in error.details()


def test_slow_message_is_read_if_no_call_waits(toy_settings: Settings) -> None:
    """
    Longer than a quick read may take.
    """
    with serving(toy_settings) as client:

        def late() -> Iterator[bytes]:
            time.sleep(0.7)
            yield raw().SerializeToString()

        stub = client.channel.stream_unary(f"/{SERVICE}/ModelInfer", None, pb.ModelInferResponse.FromString)
        answer = stub(late(), timeout=PATIENCE_S)

    assert answer.model_name == "quadrants"


def test_ended_calls_release_all_permits(toy_settings: Settings) -> None:
    """
    However they end; with two permits a leak would show.
    """
    with serving(
        toy_settings, max_pending_bytes=8_000_000, max_body_bytes=4_000_000, max_connections=8
    ) as client:
        for _ in range(12):
            client.infer(raw())
            client.infer(raw(b""))
            client.infer(b"no message")
            client.infer(raw(bytes(200_001)))
            client.infer(raw(), timeout_s=0.0001)
            client.call("ModelReady", pb.ModelReadyRequest(name="nobody"))
            client.call("ServerLive", pb.ServerLiveRequest())
            with silent(client, "ModelInfer", calls=1):
                pass

        assert client.infer(raw()).code == "OK"


def test_standard_services_limit_message_size(grpc_client: Client) -> None:
    health = health_pb2_grpc.HealthStub(grpc_client.channel)
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(health_pb2.HealthCheckRequest(service="a" * 70_000), timeout=PATIENCE_S)
    assert caught.value.code().name == "RESOURCE_EXHAUSTED"

    reflection = reflection_pb2_grpc.ServerReflectionStub(grpc_client.channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="a" * 70_000)
    with pytest.raises(grpc.RpcError) as caught:
        list(reflection.ServerReflectionInfo(iter([asked]), timeout=PATIENCE_S))
    assert caught.value.code().name == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("path", [HEALTH, REFLECTION])
def test_standard_services_refuse_invalid_messages(grpc_client: Client, path: str) -> None:
    method = grpc_client.channel.stream_stream(path, None, None)

    with pytest.raises(grpc.RpcError) as caught:
        list(method(iter([b"\xff\xff\xff"]), timeout=PATIENCE_S))

    assert caught.value.code().name == "INVALID_ARGUMENT"


def test_call_without_message_is_refused(grpc_client: Client) -> None:
    for name in ("ModelInfer", "ModelReady"):
        method = grpc_client.channel.stream_unary(f"/{SERVICE}/{name}", None, None)

        with pytest.raises(grpc.RpcError) as caught:
            method(iter(()), timeout=PATIENCE_S)

        assert caught.value.code().name == "RESOURCE_EXHAUSTED"


def test_responses_count_until_they_are_read(toy_settings: Settings) -> None:
    """
    A client that does not read fills the budget; when it disconnects, its responses are released.
    """
    explained = raw(raw().raw_input_contents[0] * 16, shape=[16, 28, 28])
    explained.parameters["explain"].bool_param = True
    with serving(toy_settings, max_pending_bytes=2_500_000, write_timeout_s=600) as client:
        size = client.infer(explained).message.ByteSize()
        assert size > 40_000
        unread = [
            connect(client.port, setting(INITIAL_WINDOW_SIZE, 0), is_read=False)
            for _ in range(2_500_000 // size + 1)
        ]
        for connection in unread:
            connection.sendall(begin("ModelInfer", 1) + message(explained.SerializeToString(), 1))

        wait_for(lambda: client.infer(explained).code == "UNAVAILABLE")
        for connection in unread:
            connection.close()
        wait_for(lambda: client.infer(explained).code == "OK")


def test_too_many_numbers_are_refused_before_they_are_parsed(grpc_client: Client) -> None:
    """
    One byte of a message may be eight when it is parsed.
    """
    asked = raw(datatype="UINT64")
    del asked.raw_input_contents[:]
    asked.inputs[0].contents.uint64_contents.extend([1] * (64 * 784 + 1))

    refused(grpc_client.infer(asked), "RESOURCE_EXHAUSTED", "50,176 numbers")


def wait_for(is_true: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline


@pytest.mark.parametrize("method", ["ModelInfer", HEALTH])
def test_client_that_cancels_too_many_calls_is_disconnected(toy_settings: Settings, method: str) -> None:
    """
    It may reconnect.
    """
    cancel = CANCEL.to_bytes(4, "big")
    with serving(toy_settings) as client, connect(client.port, is_read=False) as connection:
        connection.settimeout(PATIENCE_S)
        sender = Background(lambda: cancel_calls(connection, method, cancel))
        with suppress(ConnectionResetError):
            while connection.recv(65_536):
                pass
        sender.result()

        assert client.infer(raw()).code == "OK"


def cancel_calls(connection: socket.socket, method: str, cancel: bytes) -> None:
    """Start calls, and cancel each shortly after."""
    with suppress(OSError):
        for stream in range(1, 4_001, 2):
            connection.sendall(begin(method, stream))
            time.sleep(0.002)
            connection.sendall(frame(RST_STREAM, 0, stream, cancel))


def test_health_watchers_do_not_block_other_calls(toy_settings: Settings) -> None:
    """
    A watcher's permit is revoked when another client needs it.
    """
    with serving(toy_settings, max_connections=4) as client:
        stub = health_pb2_grpc.HealthStub(client.channel)
        watching = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S) for _ in range(4)]
        for watch in watching:
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING

        assert client.infer(raw()).code == "OK"

        ended = Background(lambda: [watch.code().name for watch in watching if watch.done()])
        for watch in watching:
            watch.cancel()
        assert set(ended.result()) <= {"UNAVAILABLE"}
