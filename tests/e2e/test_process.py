"""The service as a process: start, requests, log, signals, exit status."""

import io
import json
import shutil
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.core.drawing import mnist
from tests import digits, toys
from tests.processes import PATIENCE_S, Process, ended, running

Record = Callable[[str, object], None]

MAX_RESIDENT_MB = 220


@pytest.fixture(scope="module")
def real_models(published: Path) -> Path:
    """The repository's models folder."""
    return published


@pytest.fixture(scope="module")
def real(real_models: Path) -> Iterator[Process]:
    """A process with the repository's models."""
    with running(real_models) as process:
        yield process


def test_process_is_ready_with_the_published_models(real: Process, record_property: Record) -> None:
    """
    As soon as it listens; the start time is recorded, not checked.
    """
    ready = real.get("/readyz")

    record_property("ready_s", round(real.ready_s, 3))
    assert {"mlp-128", "softmax"} <= set(ready["models"])
    assert ready["status"] == "ready"


def test_strokes_and_their_pixels_get_the_same_prediction(real: Process) -> None:
    """
    And it is the right one.
    """
    strokes = digits.DIGITS["7"][0]
    pixels = mnist.from_strokes(digits.arrays(strokes))

    drawn = real.get("/v1/models/mlp-128/predict", {"strokes": strokes})
    seen = real.get("/v1/models/mlp-128/predict", {"image": pixels.tolist()})

    assert drawn == seen
    assert drawn["predictions"][0]["label"] == "7"


def test_unseen_digits_are_recognised(real: Process) -> None:
    """
    A network trained on MNIST alone may miss one or two digits of other writers.
    """
    ways = [(label, strokes) for label, ways in digits.DIGITS.items() for strokes in ways]

    answers = [real.get("/v1/models/mlp-128/predict", {"strokes": strokes}) for _, strokes in ways]

    right = [
        answer["predictions"][0]["label"] == label for answer, (label, _) in zip(answers, ways, strict=True)
    ]
    assert np.mean(right) >= 0.75, right


def test_process_needs_little_memory(real: Process, record_property: Record) -> None:
    """
    With both models loaded, after some requests.
    """
    for name in ("mlp-128", "softmax"):
        real.get(f"/v1/models/{name}/probabilities?prepare=none", {"images": [[128] * 784] * 20})

    resident = real.resident_mb()

    record_property("resident_mb", resident)
    assert resident < MAX_RESIDENT_MB


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_process_with_status_0(toy_root: Path, number: signal.Signals) -> None:
    """
    Without a traceback; the last log line reports it.
    """
    with running(toy_root) as process:
        process.get("/livez")

        status, rest = process.stop(number)

    assert status == 0
    assert "Traceback" not in rest
    assert all(json.loads(line)["level"] in ("info", "warning") for line in rest.splitlines())


def test_log_lines_are_json(toy_root: Path) -> None:
    """
    All lines on standard error; the request is one of them.
    """
    with running(toy_root) as process:
        process.get("/v1/models/quadrants/predict", {"image": toys.dot(1).tolist()})
        _, rest = process.stop(signal.SIGTERM)

    lines = [json.loads(line) for line in [*process.lines, *rest.splitlines()]]
    (request,) = [line for line in lines if line["event"] == "request"]
    assert all({"time", "level", "event"} <= set(line) for line in lines)
    assert (request["route"], request["status"], request["images"]) == ("/v1/models/{model}/predict", 200, 1)
    (ready,) = {line["threads"] for line in lines if line["event"] == "model ready"}
    assert ready == 1


@pytest.mark.parametrize(
    ("arguments", "environment", "named"),
    [
        (["--max-images", "none"], {}, "INKLING_MAX_IMAGES"),
        ([], {"INKLING_BODY_TIMEOUT_S": "-1"}, "INKLING_BODY_TIMEOUT_S"),
        (["--models", "/does/not/exist"], {}, "INKLING_MODELS"),
        (["--models", __file__], {}, "INKLING_MODELS"),
    ],
)
def test_invalid_setting_ends_the_process_with_status_2(
    arguments: list[str], environment: dict[str, str], named: str
) -> None:
    """
    The only line names the setting.
    """
    done = ended(*arguments, **environment)

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(named)


def test_help_lists_every_setting() -> None:
    """
    With its default; the service is not started.
    """
    done = ended("--help")

    assert done.returncode == 0
    for flag in ("--host", "--port", "--models", "--strict", "--max-body-bytes", "--request-timeout-s"):
        assert flag in done.stdout
    assert "8000" in done.stdout


@pytest.fixture
def corrupt_root(toy_root: Path, tmp_path: Path) -> Path:
    """A copy of the toy models whose second version was changed after publishing."""
    root = tmp_path / "models"
    shutil.copytree(toy_root, root)
    model = root / "quadrants" / "2" / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    return root


def test_strict_start_fails_with_a_corrupt_model(corrupt_root: Path) -> None:
    """
    The process ends with an error that names the model.
    """
    done = ended("--models", str(corrupt_root), "--strict")

    assert done.returncode not in (0, None)
    assert "quadrants/2" in done.stderr
    assert "http://127.0.0.1" not in done.stderr


def test_failed_strict_start_logs_no_traceback(corrupt_root: Path) -> None:
    """
    Only log lines.
    """
    done = ended("--models", str(corrupt_root), "--strict")

    assert "Traceback" not in done.stderr


def test_valid_version_is_served_beside_a_corrupt_one(corrupt_root: Path) -> None:
    """
    The corrupt version gets 503, not 404.
    """
    with running(corrupt_root) as process:
        newest = process.get("/v1/models/quadrants")
        with pytest.raises(urllib.error.HTTPError) as caught:
            process.get("/v1/models/quadrants/versions/2")
        caught.value.close()

    assert newest["version"] == "1"
    assert caught.value.code == 503


def test_running_request_is_finished_after_the_signal(toy_root: Path) -> None:
    """
    The process drains before it ends.
    """
    with running(toy_root) as process:
        body = toys.dot(2).tobytes()
        head = (
            "POST /v1/models/quadrants/predict HTTP/1.1\r\nHost: test\r\nContent-Length: 784\r\n"
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", process.port), PATIENCE_S) as connection:
            connection.sendall(head.encode() + body[:400])
            process.wait_for_request()
            process.handle.send_signal(signal.SIGTERM)
            wait_for_line(process, "Shutting down")
            connection.sendall(body[400:])
            answer = connection.makefile("rb").read()
        status, _ = (
            process.stop(signal.SIGTERM) if process.handle.poll() is None else (process.handle.wait(), "")
        )

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert status == 0


def test_decoding_does_not_delay_the_stop_beyond_the_drain_timeout(toy_root: Path) -> None:
    """
    A thread that decodes an image when the signal arrives is not awaited longer.
    """
    with running(toy_root, "--drain-timeout-s", "0.1") as process:
        slow = slow_jpeg()
        head = (
            f"POST /v1/models/quadrants/predict HTTP/1.1\r\nHost: test\r\nContent-Type: image/jpeg\r\n"
            f"Content-Length: {len(slow)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", process.port), PATIENCE_S) as connection:
            connection.sendall(head.encode() + slow)
            time.sleep(0.2)

            status, _ = process.stop(signal.SIGTERM)

    assert status == 0


def slow_jpeg() -> bytes:
    """A progressive JPEG with the maximum number of scans and pixels."""
    stream = io.BytesIO()
    Image.effect_noise((3900, 3900), 100).save(stream, "JPEG", progressive=True)
    return stream.getvalue()


def wait_for_line(process: Process, event: str) -> None:
    """Read log lines until one has an event."""
    assert process.handle.stderr
    for line in process.handle.stderr:
        if event in line:
            return
    pytest.fail(f"the process never wrote {event!r}")
