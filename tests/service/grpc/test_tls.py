"""gRPC over TLS; a changed certificate is loaded without a restart."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from service.grpc import tls
from service.grpc.messages import inference_pb2 as pb
from service.grpc.servicer import SERVICE
from service.settings import Settings, load
from tests import certificates
from tests.certificates import Pair
from tests.processes import free_port
from tests.service.grpc.calls import raw
from tests.service.http.running import PATIENCE_S, service


@contextmanager
def secure(settings: Settings, pair: Pair) -> Iterator[int]:
    """Run a service whose gRPC has a certificate; yield its port."""
    port = free_port()
    with service(settings, grpc_port=port, tls_cert=pair.certificate, tls_key=pair.key):
        yield port


@contextmanager
def trusting(port: int, pair: Pair) -> Iterator[grpc.Channel]:
    """Yield a channel that trusts one certificate."""
    credentials = grpc.ssl_channel_credentials(pair.certificate.read_bytes())
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options=options) as channel:
        yield channel


def live(channel: grpc.Channel, timeout_s: float = PATIENCE_S) -> bool:
    """Call ServerLive."""
    method = channel.unary_unary(
        f"/{SERVICE}/ServerLive", pb.ServerLiveRequest.SerializeToString, pb.ServerLiveResponse.FromString
    )
    return bool(method(pb.ServerLiveRequest(), timeout=timeout_s).live)


def test_all_services_work_over_tls(toy_settings: Settings, tmp_path: Path) -> None:
    """
    The service, health and reflection.
    """
    pair = certificates.make(tmp_path, "one")
    with secure(toy_settings, pair) as port, trusting(port, pair) as channel:
        infer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer", pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString
        )
        assert infer(raw(), timeout=PATIENCE_S).model_name == "quadrants"
        health = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=PATIENCE_S)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        (listed,) = reflection.ServerReflectionInfo(iter([asked]), timeout=PATIENCE_S)
        assert SERVICE in {found.name for found in listed.list_services_response.service}


def test_plaintext_client_fails(toy_settings: Settings, tmp_path: Path) -> None:
    with (
        secure(toy_settings, certificates.make(tmp_path, "one")) as port,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        live(channel)

    assert caught.value.code().name == "UNAVAILABLE"


def test_new_connections_get_a_changed_certificate(
    toy_settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Open connections are kept.
    """
    logging.getLogger("service").setLevel(logging.INFO)
    used = certificates.make(tmp_path / "used", "one")
    new = certificates.make(tmp_path / "new", "two")
    with (
        caplog.at_level(logging.INFO, tls.__name__),
        secure(toy_settings, used) as port,
        trusting(port, used) as before,
    ):
        assert live(before)
        first = certificates.shown(port, ["h2"])

        used.replace(new)

        assert certificates.shown(port, ["h2"]) == new.fingerprint() != first
        assert live(before)
        with trusting(port, new) as after:
            assert live(after)

    assert [record.message for record in caplog.records].count("TLS certificate reloaded") == 1


@pytest.mark.parametrize("broken", ["no certificate", "another's key", "gone"])
def test_invalid_certificate_is_not_loaded(
    toy_settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    """
    The previous one stays in use, and one log line reports it; a valid pair after it is loaded.
    """
    logging.getLogger("service").setLevel(logging.INFO)
    used = certificates.make(tmp_path / "used", "one")
    new = certificates.make(tmp_path / "new", "two")
    with caplog.at_level(logging.INFO, tls.__name__), secure(toy_settings, used) as port:
        first = certificates.shown(port, ["h2"])
        if broken == "no certificate":
            used.certificate.write_text("nonsense")
        elif broken == "another's key":
            used.key.write_bytes(new.key.read_bytes())
        else:
            used.key.unlink()
        assert [certificates.shown(port, ["h2"]) for _ in range(3)] == [first] * 3
        logged = [record.message for record in caplog.records if record.name == tls.__name__]

        used.replace(new)

        assert certificates.shown(port, ["h2"]) == new.fingerprint()

    assert logged == ["TLS certificate not reloaded"]
    assert str(tmp_path) not in str([vars(record) for record in caplog.records])


def test_server_does_not_start_with_an_invalid_certificate(toy_settings: Settings, tmp_path: Path) -> None:
    pair = certificates.make(tmp_path, "one")
    pair.key.write_text("nonsense")

    with pytest.raises(RuntimeError, match="TLS certificate"), secure(toy_settings, pair):
        pass


def test_tls_and_grpc_can_be_configured_together(tmp_path: Path) -> None:
    settings: Any = load(["--tls-cert", str(tmp_path / "a"), "--tls-key", str(tmp_path / "b")])

    assert (settings.tls_cert, settings.tls_key) == (tmp_path / "a", tmp_path / "b")
