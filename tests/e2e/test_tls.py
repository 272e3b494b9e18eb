"""Responses and errors over TLS, from a service process."""

import http.client
import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import toys
from tests.processes import PATIENCE_S, running
from tests.proxies import ask, make_certificate

PREDICT = "/v1/models/quadrants/predict"
MAX_BODY_BYTES = 1_000_000


@dataclass
class Secure:
    """A running service with TLS."""

    port: int
    context: ssl.SSLContext

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE_S, context=self.context)


@pytest.fixture(scope="module")
def secure(toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    files = make_certificate(tmp_path_factory.mktemp("tls"))
    arguments = ("--tls-cert", str(files.certificate), "--tls-key", str(files.key))
    limit = ("--max-body-bytes", str(MAX_BODY_BYTES))
    with running(toy_root, *arguments, *limit, "--no-access-log") as process:
        yield Secure(process.port, ssl.create_default_context(cafile=str(files.certificate)))


@pytest.mark.parametrize("path", ["/livez", "/openapi.json"])
def test_responses_of_any_size_are_complete(secure: Secure, path: str) -> None:
    """
    Also larger than one write; the connection serves the next request too.
    """
    with closing(secure.connect()) as connection:
        first, second = ask(connection, "GET", path), ask(connection, "GET", path)

    assert (first.status, second.status) == (200, 200)
    assert len(first.content) == int(first.headers["Content-Length"]) == len(second.content)


def test_a_thousand_images_are_predicted(secure: Secure) -> None:
    """
    In one request of 784 KB.
    """
    with closing(secure.connect()) as connection:
        answer = ask(connection, "POST", PREDICT, toys.dot(1).tobytes() * 1000)

    assert len(answer.json["predictions"]) == 1000


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 6 * MAX_BODY_BYTES])
def test_too_large_body_gets_413_over_tls(secure: Secure, size: int, chunked: bool) -> None:
    """
    Although it is sent while the body is still arriving.
    """
    body = bytes(size)
    pieces = iter([body[start : start + 65_536] for start in range(0, size, 65_536)])
    with closing(secure.connect()) as connection:
        answer = ask(connection, "POST", PREDICT, pieces if chunked else body)

    assert answer.status == 413
