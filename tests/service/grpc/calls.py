"""gRPC services in this process, and a client of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message
from starlette.testclient import TestClient

from service.grpc.messages import inference_pb2 as pb
from service.grpc.servicer import SERVICE
from service.settings import Settings
from tests import toys
from tests.processes import free_port
from tests.service.http.running import PATIENCE_S, service

DOT = toys.dot(0)[None]
"""(1, 28, 28) uint8: one white pixel, upper left."""

Metadata = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Result:
    """The result of a call.

    Attributes:
        code: Name of the status code.
        message: The response; None after an error.
        details: Message of the error.
        trailing: Trailing metadata.
    """

    code: str
    message: Any
    details: str
    trailing: dict[str, str]


@dataclass(frozen=True)
class Client:
    """A client of one service over HTTP and gRPC.

    Attributes:
        http: HTTP client, in this process.
        channel: gRPC channel.
        port: gRPC port, on 127.0.0.1.
    """

    http: TestClient
    channel: grpc.Channel
    port: int

    def call(
        self,
        name: str,
        request: Message | bytes,
        metadata: Metadata = (),
        timeout_s: float = PATIENCE_S,
        compression: grpc.Compression | None = None,
    ) -> Result:
        """Call a method of the service."""
        kind = getattr(pb, f"{name}Response")
        method = self.channel.unary_unary(f"/{SERVICE}/{name}", None, kind.FromString)
        content = request if isinstance(request, bytes) else request.SerializeToString()
        try:
            message, call = method.with_call(
                content, metadata=metadata, timeout=timeout_s, compression=compression
            )
        except grpc.RpcError as error:
            return Result(error.code().name, None, error.details(), _texts(error.trailing_metadata()))
        return Result("OK", message, "", _texts(call.trailing_metadata()))

    def infer(self, request: Message | bytes, **options: Any) -> Result:  # noqa: ANN401 - as `call`
        """Call ModelInfer."""
        return self.call("ModelInfer", request, **options)


def _texts(metadata: Any) -> dict[str, str]:  # noqa: ANN401 - gRPC has no type for it
    return {key: value for key, value in metadata or () if isinstance(value, str)}


@contextmanager
def serving(settings: Settings, **changed: Any) -> Iterator[Client]:  # noqa: ANN401 - as settings are
    """Run a service with gRPC in this process; keyword arguments replace settings."""
    port = free_port()
    with (
        service(settings, grpc_port=port, **changed) as http,
        grpc.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel,
    ):
        yield Client(http, channel, port)


def raw(content: bytes = DOT.tobytes(), **members: Any) -> pb.ModelInferRequest:  # noqa: ANN401 - messages'
    """Return an inference request with raw contents; `members` are those of its input tensor."""
    request = pb.ModelInferRequest(model_name="quadrants", raw_input_contents=[content])
    request.inputs.add(**{"name": "image", "datatype": "UINT8", "shape": [1, 28, 28], **members})
    return request


def typed(field: str, elements: Sequence[Any], datatype: str, **members: Any) -> pb.ModelInferRequest:  # noqa: ANN401 - messages'
    """Return an inference request with typed contents; `members` are those of its input tensor."""
    request = raw(datatype=datatype, **members)
    del request.raw_input_contents[:]
    getattr(request.inputs[0].contents, field).extend(elements)
    return request


def refused(result: Result, code: str, *parts: str) -> None:
    """Check that a call failed with a code and a message that contains these parts."""
    assert result.code == code, result
    for part in parts:
        assert part in result.details, result.details
