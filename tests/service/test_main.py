"""Start of the service: from the command line to a server."""

import importlib.util
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service import __main__ as command
from service.observability import json_logging
from service.server.http_server import Server


@pytest.fixture
def addresses() -> list[tuple[str, int]]:
    """Addresses of the servers that would have run."""
    return []


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, addresses: list[tuple[str, int]]) -> list[Server]:
    """Collect servers instead of running them, and leave this process unchanged."""
    servers: list[Server] = []

    def collect(server: Server, sockets: list[socket.socket]) -> None:
        server.started = True
        servers.append(server)
        addresses.append(sockets[0].getsockname())
        sockets[0].close()

    monkeypatch.setattr(Server, "run", collect)
    monkeypatch.setattr(json_logging, "set_up", lambda _: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(os, "_exit", sys.exit)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    monkeypatch.delenv("INKLING_MODELS", raising=False)
    return servers


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """Run the command; return its exit status."""
    monkeypatch.setattr(sys, "argv", ["service", *arguments])
    with pytest.raises(SystemExit) as caught:
        command.main()
    return caught.value.code


def test_the_server_gets_every_limit_from_the_settings(
    started: list[Server], monkeypatch: pytest.MonkeyPatch, toy_root: Path
) -> None:
    """Limits of connections and of uvicorn."""
    changed: dict[str, Any] = {
        "port": 0,
        "max_connections": 7,
        "max_head_bytes": 2048,
        "header_timeout_s": 1.5,
        "keep_alive_s": 4,
        "drain_timeout_s": 2.5,
    }

    flags = [f"--{name.replace('_', '-')}={value}" for name, value in changed.items()]

    status = run(monkeypatch, f"--models={toy_root}", *flags)

    assert status == 0
    (server,) = started
    config, limits = server.config, server.server_context.limits
    assert server.connections.max_connections == 7
    assert (limits.max_head_bytes, limits.header_timeout_s) == (2048, 1.5)
    assert (limits.keep_alive_s, limits.drain_timeout_s) == (4, 2.5)
    assert (config.timeout_keep_alive, config.timeout_graceful_shutdown) == (4, 2.5)
    assert config.lifespan == "on"
    assert not config.access_log
    assert not config.server_header


def test_several_workers_need_fork(
    started: list[Server],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    toy_root: Path,
) -> None:
    monkeypatch.delattr(os, "fork")

    status = run(monkeypatch, "--workers", "2", "--models", str(toy_root))

    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2
    assert line == "INKLING_WORKERS (--workers): should be 1 on this system; got 2."
    assert not started


@pytest.mark.usefixtures("started")
def test_the_command_line_is_read(
    addresses: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch, toy_root: Path
) -> None:
    run(monkeypatch, "--port", "0", "--host", "127.0.0.2", "--models", str(toy_root))

    ((host, port),) = addresses
    assert host == "127.0.0.2"
    assert port > 0


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        (["--port", "many"], "INKLING_PORT"),
        (["--port", "65536"], "INKLING_PORT"),
        (["--max-images", "0"], "INKLING_MAX_IMAGES"),
        (["--log-level", "loud"], "INKLING_LOG_LEVEL"),
        (["--models", "/does/not/exist"], "INKLING_MODELS"),
        (["--rate", "0"], "INKLING_RATE"),
        (["--rate-images", "2000000"], "INKLING_RATE_IMAGES"),
    ],
)
def test_an_invalid_setting_is_reported_in_one_line(
    started: list[Server],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    variable: str,
) -> None:
    """Status 2, and a line with the variable, the flag and the value."""
    status = run(monkeypatch, *arguments)

    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2
    assert line.startswith(f"{variable} ({arguments[0]}): ")
    assert arguments[1] in line
    assert not started


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--keys", "KEYS"], "INKLING_KEYS (--keys): line 2: the first word should be a name"),
        (["--keys", "/does/not/exist"], "INKLING_KEYS (--keys): the key file should be readable"),
        (["--rate-burst", "5"], "INKLING_RATE, INKLING_RATE_BURST (--rate, --rate-burst): should be set"),
        (
            ["--rate-images", "0.001", "--rate-images-burst", "1000"],
            "INKLING_RATE_IMAGES, INKLING_RATE_IMAGES_BURST (--rate-images, --rate-images-burst): ",
        ),
    ],
)
def test_invalid_keys_and_rates_are_reported_in_one_line(
    started: list[Server],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    toy_root: Path,
    arguments: list[str],
    words: str,
) -> None:
    """Also if each value alone is valid."""
    path = tmp_path / "keys"
    path.write_text("\n!\n")

    found = [argument.replace("KEYS", str(path)) for argument in arguments]
    status = run(monkeypatch, f"--models={toy_root}", *found)

    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2
    assert line.startswith(words)
    assert not started


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "PORT"], "INKLING_HOST, INKLING_PORT (--host, --port): "),
        (["--port", "0", "--grpc-port", "PORT"], "INKLING_HOST, INKLING_GRPC_PORT (--host, --grpc-port): "),
    ],
)
def test_an_occupied_address_is_reported_in_one_line(
    started: list[Server],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    toy_root: Path,
    arguments: list[str],
    words: str,
) -> None:
    """With the settings of the address; for gRPC too before anything is served."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        given = [argument.replace("PORT", port) for argument in arguments]
        status = run(monkeypatch, *given, "--models", str(toy_root))

    (line,) = capsys.readouterr().err.splitlines()
    assert status == 3
    assert line.startswith(f"{words}should be a free address; got 127.0.0.1:{port}")
    assert not started


def test_missing_packages_of_grpc_are_reported_in_one_line(
    started: list[Server],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    toy_root: Path,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    status = run(monkeypatch, "--grpc-port", "0", "--models", str(toy_root))

    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2
    assert line.startswith("INKLING_GRPC_PORT (--grpc-port): ")
    assert "pip install -e '.[grpc]' -c constraints.txt" in line
    assert not started


def test_a_keyboard_interrupt_is_no_error(
    started: list[Server], monkeypatch: pytest.MonkeyPatch, toy_root: Path
) -> None:
    def interrupt(server: Server, sockets: list[socket.socket]) -> None:
        del server
        sockets[0].close()
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "run", interrupt)

    status = run(monkeypatch, "--port", "0", "--models", str(toy_root))

    assert status == 0
    assert not started


def test_sigterm_ends_with_status_0(
    started: list[Server], monkeypatch: pytest.MonkeyPatch, toy_root: Path
) -> None:
    """Calls the installed handler."""
    handlers: dict[int, Callable[[int, None], None]] = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)

    run(monkeypatch, "--port", "0", "--models", str(toy_root))
    with pytest.raises(SystemExit) as caught:
        handlers[signal.SIGTERM](signal.SIGTERM, None)

    assert len(started) == 1
    assert caught.value.code == 0
