"""Runs real proxies in front of the service: nginx and HAProxy, configured as in `deploy/`.

They run without privileges on ports of 127.0.0.1, and read and write nothing outside of a temporary folder.
"""

import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from email.message import Message
from json import loads
from pathlib import Path
from typing import Any

import pytest

from tests import certificates
from tests.conftest import REPOSITORY
from tests.processes import PATIENCE_S, Process, free_port, is_listening, wait_until

NAMES = ("nginx", "haproxy")
HOST = "inkling.example"

UNBUFFERED = {
    "nginx": {
        "proxy_request_buffering on;": "proxy_request_buffering off;",
        "proxy_buffering on;": "proxy_buffering off;",
    },
    "haproxy": {"    option http-buffer-request ": "    # "},
}
"""Changes that turn buffering off; HAProxy then buffers no more than one piece."""

UPGRADING: dict[str, dict[str, str]] = {
    "nginx": {'Connection "";': "Connection upgrade;\n    proxy_set_header Upgrade $http_upgrade;"},
    "haproxy": {},
}
"""Changes that make a proxy hand on offers of other protocols; HAProxy does."""

_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
_CONFIGURATIONS = {"nginx": "deploy/nginx/inkling.conf", "haproxy": "deploy/haproxy/haproxy.cfg"}
_GUIDE = REPOSITORY / "docs" / "how-to" / "proxies.md"


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for `HOST` and 127.0.0.1.

    Attributes:
        certificate, key: Files in PEM.
        both: File that holds both, as HAProxy wants it.
    """

    certificate: Path
    key: Path
    both: Path


def make_certificate(folder: Path) -> Certificate:
    """Make a certificate; skip where there is no `openssl`."""
    pair = certificates.make(folder, "inkling", host=HOST)
    found = Certificate(*pair, folder / "both.pem")
    found.both.write_bytes(b"".join(file.read_bytes() for file in pair))
    return found


@dataclass(frozen=True)
class Setup:
    """Changes of a proxy's configuration.

    Attributes:
        name: `nginx` or `haproxy`.
        services: Ports of the services.
        certificate: For TLS at the proxy; None makes it plain HTTP.
        service_certificate: Of services that have TLS.
        changes: Texts of the file and what takes their place; each must occur.
    """

    name: str
    services: Sequence[int]
    certificate: Certificate | None = None
    service_certificate: Certificate | None = None
    changes: Mapping[str, str] = field(default_factory=dict)

    def changed(self, changes: Mapping[str, str]) -> "Setup":
        """Return a setup with further changes."""
        return replace(self, changes={**self.changes, **changes})


@dataclass(frozen=True)
class Answered:
    """A response: status, headers (looked up without regard to case) and body."""

    status: int
    headers: Message
    content: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON can be anything
        return loads(self.content)


@dataclass
class Proxy:
    """A running proxy.

    Attributes:
        name: `nginx` or `haproxy`.
        port: Where it listens.
        tls: For clients, where it has TLS.
        log: File with a line for every request.
    """

    name: str
    port: int
    tls: ssl.SSLContext | None
    log: Path

    def connect(self, client: str = "127.0.0.1") -> http.client.HTTPConnection:
        """Return a connection, from an address of the loopback network."""
        if self.tls is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, PATIENCE_S, (client, 0))
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=PATIENCE_S, source_address=(client, 0), context=self.tls
        )

    def socket(self, client: str = "127.0.0.1") -> socket.socket:
        """Return a connected socket, with TLS where the proxy has it."""
        connected = socket.create_connection(("127.0.0.1", self.port), PATIENCE_S, (client, 0))
        return self.tls.wrap_socket(connected, server_hostname=HOST) if self.tls else connected

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        client: str = "127.0.0.1",
    ) -> Answered:
        """Send one request on a connection of its own; an iterator is sent in chunks."""
        with closing(self.connect(client)) as connection:
            return ask(connection, method, path, body, headers)

    def forwarded(self) -> list[tuple[str, str]]:
        """Return method and path of every request that was handed to a service, once for each attempt."""
        return [
            (method, target.partition("?")[0])
            for _, method, target, attempts in self._requests()
            for _ in range(_attempts(attempts))
        ]

    def attempts(self, target: str) -> list[int]:
        """Wait for a request with a target; return how often each of them was handed to a service."""

        def found() -> list[int]:
            return [_attempts(attempts) for _, _, own, attempts in self._requests() if own == target]

        wait_until(found)
        return found()

    def statuses(self) -> Counter[str]:
        """Return how often each status was sent."""
        return Counter(status for status, *_ in self._requests())

    def _requests(self) -> list[list[str]]:
        lines = [line.split(" ", 4) for line in self.log.read_text(errors="replace").splitlines()]
        return [line[1:] for line in lines if line[0] == "request"]


def _attempts(text: str) -> int:
    """Return how often a request was forwarded: nginx logs each server's address, HAProxy the retries."""
    if text.startswith(("-", "<NOSRV>")):
        return 0
    _, blank, retries = text.partition(" ")
    return 1 + int(retries) if blank and retries.strip("+").isdigit() else text.count(",") + 1


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | Iterator[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answered:
    """Send one request on a connection."""
    given = {"Content-Type": "application/octet-stream"} if body is not None else {}
    with suppress(BrokenPipeError, ConnectionResetError):  # the response may come before the body is sent
        connection.request(method, path, body, {**given, **(headers or {})})
    answer = connection.getresponse()
    return Answered(answer.status, answer.headers, answer.read())


class ServiceLog:
    """Reads the log of a service in a thread."""

    def __init__(self, process: Process) -> None:
        self.lines: list[dict[str, Any]] = []
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.handle.stderr
        with suppress(ValueError):  # closed, as the service has ended
            for line in self._process.handle.stderr:
                self.lines.append(loads(line))

    def requests(self) -> list[dict[str, Any]]:
        """Return the lines of requests, without those of health checks."""
        lines = self.lines.copy()
        return [line for line in lines if line["event"] == "request" and line["path"] != "/readyz"]

    def wait_for_requests(self, count: int) -> None:
        """Wait until so many requests are logged."""
        wait_until(lambda: len(self.requests()) >= count)

    def request(self, request_id: str) -> dict[str, Any]:
        """Wait for the line of a request and return it."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.requests() if line["request_id"] == request_id]

        wait_until(found)
        (line,) = found()
        return line


def snippet(language: str, title: str) -> str:
    """Return a code block of docs/how-to/proxies.md by the beginning of its first comment."""
    blocks = re.findall(rf"```{language}\n(.*?)```", _GUIDE.read_text(), re.DOTALL)
    (found,) = [str(block) for block in blocks if block.startswith(f"# {title}:")]
    return found


def program(name: str) -> str:
    """Return the path of a proxy's program; skip if it is not installed."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@contextmanager
def proxied(setup: Setup, folder: Path) -> Iterator[Proxy]:
    """Run a proxy while entered; skip if it is not installed.

    Args:
        setup: How it differs from the file in `deploy/`.
        folder: Where it has its files.
    """
    port, log = free_port(), folder / "requests.log"
    write = _nginx if setup.name == "nginx" else _haproxy
    command = [program(setup.name), *write(setup, folder, port)]
    with (
        log.open("a") as requests,
        (folder / "errors.log").open("w") as errors,
        subprocess.Popen(command, cwd=folder, stdout=requests, stderr=errors) as handle,
    ):
        try:
            wait_until(lambda: handle.poll() is not None or is_listening(port))
            if handle.poll() is not None:
                pytest.fail(f"{setup.name} did not start:\n{(folder / 'errors.log').read_text()}")
            tls = None
            if setup.certificate is not None:
                tls = ssl.create_default_context(cafile=str(setup.certificate.certificate))
            yield Proxy(setup.name, port, tls, log)
        finally:
            handle.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                handle.wait(10)
            handle.kill()


def _rendered(setup: Setup, changes: Mapping[str, str]) -> str:
    text = (REPOSITORY / _CONFIGURATIONS[setup.name]).read_text()
    for old, new in {**changes, **setup.changes}.items():
        assert old in text, f"{_CONFIGURATIONS[setup.name]} should contain {old!r}"
        text = text.replace(old, new)
    return text


def _without(text: str, *words: str) -> dict[str, str]:
    """Return changes that remove the lines with a given beginning from a text."""
    return {line: "" for line in text.splitlines() if line.strip().startswith(words)}


def _nginx(setup: Setup, folder: Path, port: int) -> list[str]:
    """Write nginx's configuration; return its arguments."""
    text = (REPOSITORY / _CONFIGURATIONS["nginx"]).read_text()
    (server,) = re.findall(r"^    server 127\.0\.0\.1:8000.*$", text, re.MULTILINE)
    changes = {
        server: "\n".join(server.replace(":8000", f":{service}") for service in setup.services),
        "listen 443 ssl http2;": f"listen 127.0.0.1:{port};",
    }
    if setup.certificate is None:
        changes |= _without(text, "ssl_", "add_header Strict")
    else:
        changes["listen 443 ssl http2;"] = f"listen 127.0.0.1:{port} ssl http2;"
        changes["/etc/nginx/tls/inkling.pem"] = str(setup.certificate.certificate)
        changes["/etc/nginx/tls/inkling.key"] = str(setup.certificate.key)
    if setup.service_certificate is not None:
        trusted = str(setup.service_certificate.certificate)
        tls = snippet("nginx", "TLS to the service").replace("/etc/nginx/tls/service.pem", trusted)
        changes["        proxy_pass http://inkling;\n"] = tls
    (folder / "inkling.conf").write_text(_rendered(setup, changes))
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"""
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    log_format plain 'request $status $request_method $request_uri $upstream_addr';
    access_log {folder}/requests.log plain;
    {places}
    include {folder}/inkling.conf;
}}
"""
    )
    return ["-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def _haproxy(setup: Setup, folder: Path, port: int) -> list[str]:
    """Write HAProxy's configuration; return its arguments."""
    text = (REPOSITORY / _CONFIGURATIONS["haproxy"]).read_text()
    (bind,) = re.findall(r"^    bind .*$", text, re.MULTILINE)
    (server,) = re.findall(r"^    server .*$", text, re.MULTILINE)
    tls = ""
    if setup.service_certificate is not None:
        trusted = str(setup.service_certificate.certificate)
        tls = snippet("haproxy", "TLS to the service").replace("/etc/haproxy/tls/service.pem", trusted)
        tls = " " + tls.splitlines()[1].partition("127.0.0.1:8000")[2].strip()
    servers = [f"    server inkling{service} 127.0.0.1:{service}{tls}" for service in setup.services]
    changes = {
        server: "\n".join(servers),
        "log /dev/log local0": "log stdout format raw local0 info\n    nbthread 1",
        "option httplog": "log-format 'request %ST %HM %HU %s %rc'",
    }
    if setup.certificate is None:
        changes |= {bind: f"    bind 127.0.0.1:{port}"} | _without(text, "http-response set-header Strict")
    else:
        changes |= {
            "bind :443": f"bind 127.0.0.1:{port}",
            "/etc/haproxy/tls/inkling.pem": str(setup.certificate.both),
        }
    (folder / "haproxy.cfg").write_text(_rendered(setup, changes))
    return ["-db", "-f", str(folder / "haproxy.cfg")]
