"""Sends costly requests to a service process and measures the process's memory."""

import http.client
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

from tests.conftest import REPOSITORY
from tests.processes import PATIENCE_S, Process, running
from tests.security.bodies import INK, Costly

CONTAINER_BYTES = 512 * 2**20
"""The memory limit of `docker-compose.yml`."""

MODELS = REPOSITORY / "models"

REFUSED_WHILE_SENDING = 0
"""Stands for the status of a request whose connection was closed before its body was sent."""


def image(path: str) -> Costly:
    """Return a predict request with one 28 x 28 image."""
    return Costly("one image", f"{path}?prepare=none", "application/octet-stream", lambda: b"\7" * 784)


@contextmanager
def serving(*arguments: str) -> Iterator[Process]:
    """Run a service with all published models, warmed up; its log is discarded."""
    with running(MODELS, "--no-access-log", *arguments) as service:
        assert service.handle.stderr
        Thread(target=service.handle.stderr.read, daemon=True).start()
        for name in ("ink", "flowers17", "mlp-128", "mlp-512x4", "softmax"):
            size = 12288 if name == "flowers17" else 784
            assert post(service, image(f"/v1/models/{name}/predict"), b"\7" * size) == 200
        yield service


def post(service: Process, costly: Costly, body: bytes) -> int:
    """Send a request; return the status."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=2 * PATIENCE_S)
    headers = {"Content-Type": costly.content_type, **costly.headers}
    try:
        with suppress(ConnectionError):  # it answered before it had the whole body
            connection.request("POST", costly.path, body, headers)
        try:
            answer = connection.getresponse()
            answer.read()
        except (ConnectionError, http.client.BadStatusLine, http.client.ResponseNotReady):
            return REFUSED_WHILE_SENDING
        return answer.status
    finally:
        connection.close()


def post_together(service: Process, costly: Costly, count: int = 4) -> list[int]:
    """Send the same request several times concurrently; return the statuses."""
    body = costly.make()
    with ThreadPoolExecutor(count) as pool:
        return [*pool.map(lambda _: post(service, costly, body), range(count))]


def is_alive(service: Process) -> bool:
    """Return whether the process is running and responds."""
    return service.handle.poll() is None and post(service, image(f"{INK}/predict"), b"\7" * 784) == 200


def forget_peak(service: Process) -> None:
    """Reset the peak of a process's memory."""
    Path(f"/proc/{service.handle.pid}/clear_refs").write_text("5")


def memory(service: Process) -> tuple[int, int]:
    """Return a process's resident memory and its peak, in bytes."""
    status = Path(f"/proc/{service.handle.pid}/status").read_text()
    found = re.findall(r"^Vm(?:HWM|RSS):\s+(\d+) kB", status, re.MULTILINE)
    peak, now = (int(kilobytes) * 1024 for kilobytes in found)
    return now, peak


def check(statuses: Sequence[int], costly: Costly) -> None:
    """Check that requests succeeded or were refused with a 4xx, 503 or 504."""
    for status in statuses:
        assert status == 200 or 400 <= status < 500 or status in (503, 504, REFUSED_WHILE_SENDING), (
            costly.name,
            statuses,
        )
