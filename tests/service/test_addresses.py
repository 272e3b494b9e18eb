import logging
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from service import addresses
from service.addresses import CannotServe
from service.settings import Settings


def settings(**values: Any) -> Settings:  # noqa: ANN401 - any setting
    return Settings(**{"host": "127.0.0.1", "port": 0, "_env_file": None, **values})


def test_a_bound_address_does_not_accept_before_it_listens() -> None:
    with addresses.bind(settings()) as bound:
        address = bound.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, 10)

        addresses.listen(bound)

        socket.create_connection(address, 10).close()


@pytest.mark.parametrize("name", ["port", "grpc_port"])
def test_an_occupied_address_is_an_error_that_names_the_settings(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(CannotServe) as caught:
            addresses.bind(settings(**{name: port}))

    flag = name.replace("_", "-")
    expected = f"INKLING_HOST, INKLING_{name.upper()} (--host, --{flag}): should be a free address"
    assert str(caught.value).startswith(f"{expected}; got 127.0.0.1:{port}, ")


def test_an_unreadable_models_folder_is_named_with_its_absolute_path(tmp_path: Path) -> None:
    error = addresses.unreadable(tmp_path, PermissionError(13, "Permission denied"))

    assert str(error) == (
        f"INKLING_MODELS (--models): should be a readable folder; got '{tmp_path}', Permission denied."
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other systems share one socket")
def test_each_worker_has_its_own_socket_on_one_port() -> None:
    bound = addresses.bind_workers(settings(), 3)

    names = {sock.getsockname() for sock in bound}
    descriptors = {sock.fileno() for sock in bound}
    for sock in bound:
        sock.close()

    assert len(names) == 1
    assert len(descriptors) == 3


def test_a_reserved_port_is_known_before_workers_bind_it() -> None:
    reserved, held = addresses.reserve(settings(admin_port=0), "admin_port")
    assert held is not None

    with held, addresses.bind_operators(reserved, is_shared=True) or socket.socket() as bound:
        assert bound.getsockname()[1] == reserved.admin_port == held.getsockname()[1] != 0

    assert addresses.reserve(settings(), "admin_port") == (settings(), None)
    assert addresses.bind_operators(settings(), is_shared=False) is None


@pytest.mark.parametrize(
    ("host", "is_secure", "url"),
    [("127.0.0.1", False, "http://127.0.0.1:"), ("::1", True, "https://[::1]:")],
)
def test_the_address_is_logged_as_a_url(
    host: str, is_secure: bool, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("no IPv6")
    with addresses.bind(settings(host=host)) as bound, caplog.at_level(logging.INFO, "service.addresses"):
        port = bound.getsockname()[1]

        addresses.announce(bound, processes=2, is_secure=is_secure)

    fields = vars(caplog.records[0])["fields"]
    assert fields == {
        "address": f"{url}{port}",
        "documentation": f"{url}{port}/docs",
        "processes": 2,
    }
