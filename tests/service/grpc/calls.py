"""Services that speak gRPC in this process, and calls of them as any client makes them."""

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
class Answer:
    """What came back.

    Attributes:
        code: `OK`, or another code's name.
        message: The answer; None if there was none.
        details: What is said of an error.
        trailing: Metadata after it.
    """

    code: str
    message: Any
    details: str
    trailing: dict[str, str]


@dataclass(frozen=True)
class Client:
    """A service over both wires.

    Attributes:
        http: Its HTTP, in this process.
        channel: Its gRPC.
        port: Of gRPC, on 127.0.0.1.
    """

    http: TestClient
    channel: grpc.Channel
    port: int

    def call(
        self,
        name: str,
        asked: Message | bytes,
        metadata: Metadata = (),
        timeout_s: float = PATIENCE_S,
        compression: grpc.Compression | None = None,
    ) -> Answer:
        """Call a method of the service."""
        kind = getattr(pb, f"{name}Response")
        method = self.channel.unary_unary(f"/{SERVICE}/{name}", None, kind.FromString)
        content = asked if isinstance(asked, bytes) else asked.SerializeToString()
        try:
            message, call = method.with_call(
                content, metadata=metadata, timeout=timeout_s, compression=compression
            )
        except grpc.RpcError as error:
            return Answer(error.code().name, None, error.details(), _read(error.trailing_metadata()))
        return Answer("OK", message, "", _read(call.trailing_metadata()))

    def infer(self, asked: Message | bytes, **how: Any) -> Answer:  # noqa: ANN401 - as `call`
        """Ask for an inference."""
        return self.call("ModelInfer", asked, **how)


def _read(metadata: Any) -> dict[str, str]:  # noqa: ANN401 - gRPC says no type
    return {key: value for key, value in metadata or () if isinstance(value, str)}


@contextmanager
def serving(settings: Settings, **changed: Any) -> Iterator[Client]:  # noqa: ANN401 - as settings are
    """Run a service with gRPC in this process, with some settings changed."""
    port = free_port()
    with (
        service(settings, grpc_port=port, **changed) as http,
        grpc.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel,
    ):
        yield Client(http, channel, port)


def raw(content: bytes = DOT.tobytes(), **members: Any) -> pb.ModelInferRequest:  # noqa: ANN401 - messages'
    """Return an inference with raw contents; members are those of its input."""
    asked = pb.ModelInferRequest(model_name="quadrants", raw_input_contents=[content])
    asked.inputs.add(**{"name": "image", "datatype": "UINT8", "shape": [1, 28, 28], **members})
    return asked


def typed(field: str, elements: Sequence[Any], datatype: str, **members: Any) -> pb.ModelInferRequest:  # noqa: ANN401 - messages'
    """Return an inference with typed contents; members are those of its input."""
    asked = raw(datatype=datatype, **members)
    del asked.raw_input_contents[:]
    getattr(asked.inputs[0].contents, field).extend(elements)
    return asked


def refused(answer: Answer, code: str, *parts: str) -> None:
    """Check that a call was refused with a code and a sentence that has these parts."""
    assert answer.code == code, answer
    for part in parts:
        assert part in answer.details, answer.details
