"""Path traversal: no path and no model or picture name leads out of the served folders."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import toys
from tests.processes import Process, running
from tests.security.asking import ask

SECRET = b"the secret beside the models"
PICTURE_OF_SECRET = b"\x89PNG\r\n\x1a\n" + SECRET

UP = (
    b"..",
    b"%2e%2e",
    b".%2e",
    b"%252e%252e",
    b"..%2f..",
    b"..%5c..",
    b"..\\..",
    b"%c0%ae%c0%ae",
    b"..;",
    b"..%00",
    b"....//..",
    b"./..",
)
"""Ways to write a step up, as they were found to work in other servers."""


@dataclass(frozen=True)
class Served:
    """A running service, and the files around its models folder."""

    process: Process
    folder: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with management; beside its models folder are a model, a picture and a text file."""
    folder: Path = tmp_path_factory.mktemp("around")
    toys.write_report(folder / "models", toys.publish(folder / "models"))
    toys.write_report(folder / "outside", toys.publish(folder / "outside"))
    (folder / "secret.txt").write_bytes(SECRET)
    (folder / "secret.png").write_bytes(PICTURE_OF_SECRET)
    (folder / "models" / "quadrants" / "1" / "secret.png").write_bytes(PICTURE_OF_SECRET)
    with running(folder / "models", "--management", "--no-access-log") as process:
        yield Served(process, folder)


def raw(port: int, target: bytes, method: bytes = b"GET") -> tuple[int, bytes]:
    """Send a request target unmodified; return the status and the rest of the response."""
    request = b"%b %b HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(request % (method, target))
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    return int(answer[9:12]), answer


def targets(secret: bytes) -> list[bytes]:
    """Return paths to a file outside the models folder."""
    found = []
    for up in UP:
        for base in (b"/static", b"/docs/static", b"/static/panels"):
            found += [b"%b/%b/%b" % (base, b"/".join([up] * depth), secret) for depth in (1, 3, 9)]
        for name in (b"quadrants", b"quadrants/versions/1"):
            found.append(b"/v1/models/%b/report/%b/%b" % (name, b"/".join([up] * 4), secret))
            found.append(b"/v1/models/%b/report/%b%%2f%b" % (name, b"%2f".join([up] * 4), secret))
            found.append(b"/v1/models/%b/weights/%b/%b" % (name, b"/".join([up] * 4), secret))
    return found


@pytest.mark.parametrize("name", [b"secret.txt", b"secret.png", b"etc/passwd", b"app.py"])
def test_no_path_leads_outside_the_models_folder(served: Served, name: bytes) -> None:
    """
    However the parent folder is written: 404 or 400, with neither a file's content nor its path.
    """
    for target in targets(name):
        status, answer = raw(served.process.port, target)

        assert status in (400, 404), target
        assert SECRET not in answer, target
        assert b"root:" not in answer, target
        assert os.fsencode(served.folder) not in answer, target


@pytest.mark.parametrize(
    "target",
    [
        b"/static//etc/passwd",
        b"//etc/passwd",
        b"/static/%2fetc%2fpasswd",
        b"/docs/static//etc/passwd",
        b"/docs/static/%2fetc%2fpasswd",
        b"/docs/static/C:%5cwindows",
        b"file:///etc/passwd",
        b"http://127.0.0.1/../../etc/passwd",
        b"/v1/models/%2fetc/report/passwd.png",
        b"/v1/models/quadrants/report/%2fetc%2fpasswd.png",
        b"/v1/models/quadrants/report/secret.png",
        b"/v1/models/quadrants/report/..%2fsecret.png",
        b"/v1/models/quadrants/report/accuracy%00.png",
        b"/v1/models/quadrants/report/accuracy.png%00.png",
        b"/v1/models/quadrants/report/.png",
        b"/v1/models/quadrants/report/report.json",
        b"/v1/models/quadrants/versions/..%2f..%2f..%2foutside%2fquadrants%2f1/report",
        b"/v1/models/quadrants/versions/01",
        b"/v1/models/quadrants/versions/%EF%BC%91",
    ],
)
def test_only_listed_report_pictures_are_served(served: Served, target: bytes) -> None:
    """
    A picture is served only if the report lists it.
    """
    status, answer = raw(served.process.port, target)

    assert status in (400, 404)
    assert SECRET not in answer
    assert b"root:" not in answer


@pytest.mark.parametrize("verb", [b"load", b"unload"])
@pytest.mark.parametrize(
    "name",
    [
        b"..",
        b".",
        b"%2e%2e",
        b"..%2foutside%2fquadrants",
        b"..%2f..%2f..",
        b"quadrants%2f..%2f..%2foutside%2fquadrants",
        b"%2fetc",
        b"quadrants%2f1",
        b"quadrants%00",
        b"quadrants%0a",
        b"quadrants%20",
        b"quadrants.",
        b"Quadrants",
        b"..%5coutside%5cquadrants",
        b"%ef%bc%8e%ef%bc%8e",
        b".staging-1",
        b"%ff",
        b"a" * 10_000,
    ],
)
def test_management_loads_only_from_the_models_folder(served: Served, name: bytes, verb: bytes) -> None:
    """
    No name loads the model outside of it, and the served model stays.
    """
    target = b"/v2/repository/models/%b/%b" % (name, verb)

    status, answer = raw(served.process.port, target, b"POST")

    assert status in (400, 404), answer
    assert os.fsencode(served.folder) not in answer
    assert ask(served.process.port, "GET", "/v1/models").content.count(b'"name":"quadrants"') == 1


def test_listed_report_picture_is_served(served: Served) -> None:
    """
    Without this the other tests would prove nothing.
    """
    status, answer = raw(served.process.port, b"/v1/models/quadrants/report/confusion-test.png")
    listed = ask(served.process.port, "GET", "/v1/models/quadrants/report").content

    assert b"/report/" in listed
    assert (status, b"image/png" in answer) == (200, True)
