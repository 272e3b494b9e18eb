"""Several workers on one port: start, requests, restart, model management, signals."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests import toys
from tests.processes import (
    PATIENCE_S,
    Process,
    children,
    ended,
    is_listening,
    is_running,
    pipeline,
    running,
    wait_until,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests look into /proc")

TWO = ("--workers", "2")
DOT = toys.dot(1).tobytes()
PREDICT = (
    b"POST /v1/models/quadrants/predict HTTP/1.1\r\nHost: test\r\nContent-Length: 784\r\n"
    b"Content-Type: application/octet-stream\r\n\r\n"
)


@pytest.fixture
def two(toy_root: Path) -> Iterator[Process]:
    with running(toy_root, *TWO, "--no-access-log") as process:  # nobody reads it
        yield process


@pytest.fixture(scope="module")
def standing(toy_root: Path) -> Iterator[Process]:
    """A service with two workers, for tests that do not stop it."""
    with running(toy_root, *TWO, "--no-access-log") as process:
        yield process


@contextmanager
def connected(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.connect()
        yield connection
    finally:
        connection.close()


def ask(connection: http.client.HTTPConnection, path: str) -> str:
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 200
    return answer.read().decode()


def predict(connection: http.client.HTTPConnection) -> int:
    connection.request(
        "POST", "/v1/models/quadrants/predict", DOT, {"Content-Type": "application/octet-stream"}
    )
    answer = connection.getresponse()
    answer.read()
    return answer.status


def count(process: Process, series: str) -> float:
    """Return a metric, from whichever worker responds."""
    with connected(process.port) as connection:
        text = ask(connection, "/metrics")
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


PREDICTED = 'inkling_requests_total{code="200",model="quadrants",route="/v1/models/{model}/predict"}'


def predict_with_both(process: Process) -> dict[int, int]:
    """Predict over new connections until both workers have responded; return the requests of each."""
    pids = children(process.handle.pid)
    answered = dict.fromkeys(pids, 0)
    for _ in range(200):
        with connected(process.port) as connection:
            assert predict(connection) == 200
            answered[pipeline(connection.sock, pids)] += 1
        if all(answered.values()):
            return answered
    pytest.fail(f"one process had no share: {answered}")


def test_workers_share_the_port_and_their_metrics(standing: Process) -> None:
    """
    Either worker returns the counts of both: Prometheus metrics and the protocol's statistics.
    """
    answered = predict_with_both(standing)
    asked = sum(answered.values())

    wait_until(lambda: count(standing, PREDICTED) == asked)
    seen = set()
    for _ in range(200):
        with connected(standing.port) as connection:
            text = ask(connection, "/metrics")
            stats = json.loads(ask(connection, "/v2/models/quadrants/stats"))
            seen.add(pipeline(connection.sock, [*answered]))
        assert f"{PREDICTED} {float(asked)}\n" in text
        assert "inkling_processes 2.0\n" in text
        assert sum(model["inference_count"] for model in stats["model_stats"]) == asked
        if len(seen) == 2:
            break

    assert len(answered) == 2
    assert seen == set(answered)
    assert 'inkling_model_ready{model="quadrants",version="2"} 1.0\n' in text


def test_memory_and_cpu_time_include_all_processes(standing: Process) -> None:
    """
    The supervisor and both workers.
    """
    resident = count(standing, "process_resident_memory_bytes")
    alone = [resident_bytes(pid) for pid in (standing.handle.pid, *children(standing.handle.pid))]

    assert resident == pytest.approx(sum(alone), rel=0.05)
    assert count(standing, "process_cpu_seconds_total") > 0


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_killed_worker_is_replaced_and_its_counts_stay(two: Process) -> None:
    """
    The other worker serves meanwhile; counts and CPU time are kept.
    """
    asked = sum(predict_with_both(two).values())
    wait_until(lambda: count(two, PREDICTED) == asked)
    spent_s = count(two, "process_cpu_seconds_total")
    victim, other = children(two.handle.pid)
    with staying(two, other) as connection, staying(two, victim) as lost:
        assert lost.sock
        lost.sock.sendall(PREDICT + DOT[:400])
        wait_until(lambda: "inkling_requests_in_flight 2.0\n" in ask(connection, "/metrics"))

        os.kill(victim, signal.SIGKILL)
        while Path(f"/proc/{victim}").exists() or "inkling_processes 2.0" not in ask(connection, "/metrics"):
            assert predict(connection) == 200
            asked += 1
            text = ask(connection, "/metrics")
            assert f"{PREDICTED} {float(asked)}\n" in text

        assert "inkling_requests_in_flight 1.0\n" in ask(connection, "/metrics")

    assert other in children(two.handle.pid)
    later = sum(predict_with_both(two).values())
    wait_until(lambda: count(two, PREDICTED) == asked + later)
    assert count(two, "process_cpu_seconds_total") > spent_s
    status, rest = two.stop(signal.SIGTERM)
    assert status == 0
    (line,) = [line for line in map(json.loads, rest.splitlines()) if line["event"] == "process ended"]
    assert (line["process"], line["reason"]) == (victim, "SIGKILL")


@contextmanager
def staying(process: Process, pid: int) -> Iterator[http.client.HTTPConnection]:
    """Yield a kept-alive connection to one worker."""
    for _ in range(200):
        with connected(process.port) as connection:
            ask(connection, "/livez")
            if pipeline(connection.sock, children(process.handle.pid)) == pid:
                yield connection
                return
    pytest.fail("it never answered")


def test_replacement_serves_the_same_versions(toy_root: Path, tmp_path: Path) -> None:
    """
    A version published meanwhile is not loaded, so that all workers serve the same.
    """
    root = tmp_path / "models"
    shutil.copytree(toy_root, root)
    with running(root, *TWO) as process:
        toys.publish(root)
        victim, other = children(process.handle.pid)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len({*children(process.handle.pid)} - {victim}) == 2)
        wait_until(lambda: count(process, "inkling_processes") == 2)
        (new,) = set(children(process.handle.pid)) - {other}
        with staying(process, new) as connection:
            model = json.loads(ask(connection, "/v1/models/quadrants"))

    assert (root / "quadrants" / "3").is_dir()
    assert model["version"] == "2"


@pytest.fixture
def root(toy_root: Path, tmp_path: Path) -> Path:
    """A copy of the toy models that a test may change."""
    root = tmp_path / "models"
    shutil.copytree(toy_root, root)
    return root


def manage(process: Process, path: str) -> tuple[int, str]:
    """Load or unload a model through whichever worker responds; return status and body."""
    with connected(process.port) as connection:
        connection.request("POST", f"/v2/repository/models/{path}")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def newest(process: Process) -> dict[int, str]:
    """Return the newest version of `quadrants` in every worker, or why there is none."""
    pids = children(process.handle.pid)
    found: dict[int, str] = {}
    for _ in range(200):
        with connected(process.port) as connection:
            connection.request("GET", "/v1/models/quadrants")
            answer = json.loads(connection.getresponse().read())
            found[pipeline(connection.sock, pids)] = answer.get("version") or answer["type"]
        if len(found) == len(pids):
            return found
    pytest.fail(f"one process had no share: {found}")


def test_load_and_unload_apply_to_all_workers(root: Path) -> None:
    """
    When the call returns, all workers have changed, and so does a worker's replacement.
    """
    with running(root, *TWO, "--management", "--no-access-log") as process:
        before = set(newest(process).values())
        toys.publish(root)
        loaded = manage(process, "quadrants/load")
        after_load = newest(process)
        unloaded = manage(process, "quadrants/unload")
        after_unload = newest(process)
        victim = next(iter(after_unload))
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len({*children(process.handle.pid)} - {victim}) == 2)
        wait_until(lambda: count(process, "inkling_processes") == 2)
        replaced = newest(process)
        again = manage(process, "quadrants/load")
        at_last = newest(process)

    assert before == {"2"}
    assert (loaded[0], unloaded[0], again[0]) == (200, 200, 200)
    assert [*after_load.values()] == ["3", "3"]
    assert [*after_unload.values()] == [*replaced.values()] == ["/problems/model-not-ready"] * 2
    assert replaced.keys() != after_unload.keys()
    assert [*at_last.values()] == ["3", "3"]


def test_invalid_model_is_refused_in_all_workers(root: Path) -> None:
    """
    With the reason; served models stay.
    """
    with running(root, *TWO, "--management", "--no-access-log") as process:
        toys.publish(root)
        model = root / "quadrants" / "3" / "model.onnx"
        model.write_bytes(model.read_bytes() + b"\0")
        status, body = manage(process, "quadrants/load")
        after = newest(process)
        unknown, _ = manage(process, "nobody/load")

    assert (status, unknown) == (409, 404)
    assert "quadrants/3: SHA-256 of model.onnx" in body
    assert [*after.values()] == ["2", "2"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sighup_loads_new_versions(root: Path, workers: str) -> None:
    """
    With one worker and with several, without losing a request; management may be off.
    """
    with running(root, "--workers", workers, "--no-access-log") as process:
        with connected(process.port) as connection:
            ask(connection, "/livez")
            toys.publish(root)
            process.handle.send_signal(signal.SIGHUP)
            wait_until(lambda: json.loads(ask(connection, "/v1/models/quadrants"))["version"] == "3")
        wait_until(lambda: process.get("/v1/models/quadrants")["version"] == "3")
        if workers == "2":
            assert [*newest(process).values()] == ["3", "3"]
        status, _ = process.stop(signal.SIGTERM)

    assert status == 0


def test_concurrent_loads_leave_all_workers_equal(root: Path) -> None:
    """
    Calls to both workers while one of them is killed; no call fails for another reason.
    """
    with running(root, *TWO, "--management", "--no-access-log") as process:
        statuses = []

        def call(action: str) -> None:
            for _ in range(10):
                with suppress(OSError, http.client.HTTPException):  # the process that it asked was killed
                    statuses.append(manage(process, f"quadrants/{action}")[0])

        threads = [threading.Thread(target=call, args=(action,)) for action in ("load", "unload", "load")]
        for thread in threads:
            thread.start()
        os.kill(children(process.handle.pid)[0], signal.SIGKILL)
        for thread in threads:
            thread.join(PATIENCE_S)
        wait_until(lambda: count(process, "inkling_processes") == 2)
        found = newest(process)

    assert set(statuses) <= {200, 409}
    assert statuses.count(200) >= 15
    assert len(set(found.values())) == 1


def test_running_requests_are_finished_after_the_signal(two: Process) -> None:
    """
    Then all processes end with status 0.
    """
    pids = children(two.handle.pid)
    connections = []
    served: set[int] = set()
    while len(served) < 2:
        connection = socket.create_connection(("127.0.0.1", two.port), PATIENCE_S)
        connection.sendall(PREDICT + DOT)
        connection.recv(4096)
        connection.sendall(PREDICT + DOT[:400])
        connections.append(connection)
        served.add(pipeline(connection, pids))
    wait_until(lambda: count(two, "inkling_requests_in_flight") == len(connections) + 1)

    two.handle.send_signal(signal.SIGTERM)
    wait_until(lambda: not is_listening(two.port))
    for connection in connections:
        connection.sendall(DOT[400:])
    answers = [connection.makefile("rb").read() for connection in connections]
    two.handle.communicate(timeout=PATIENCE_S)

    for connection in connections:
        connection.close()
    assert [answer.split(b"\r\n", 1)[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * len(connections)
    assert two.handle.returncode == 0
    assert not any(is_running(pid) for pid in pids)


def test_sigint_drains(toy_root: Path) -> None:
    """
    A terminal sends SIGINT to all processes; only a second one aborts requests.
    """
    with running(toy_root, *TWO, start_new_session=True) as process:
        pids = children(process.handle.pid)
        with socket.create_connection(("127.0.0.1", process.port), PATIENCE_S) as connection:
            connection.sendall(PREDICT + DOT[:400])
            wait_until(lambda: count(process, "inkling_requests_in_flight") == 2)
            os.killpg(process.handle.pid, signal.SIGINT)
            wait_until(lambda: not is_listening(process.port))
            connection.sendall(DOT[400:])
            answer = connection.makefile("rb").read()
        _, rest = process.handle.communicate(timeout=PATIENCE_S)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert process.handle.returncode == 0
    assert "Traceback" not in rest
    assert not any(is_running(pid) for pid in pids)


def test_workers_do_not_outlive_the_supervisor(two: Process) -> None:
    """
    Even if it is killed.
    """
    pids = children(two.handle.pid)

    two.handle.kill()

    wait_until(lambda: not any(is_running(pid) for pid in pids))


def test_one_worker_has_no_supervisor(toy_root: Path) -> None:
    """
    The started process serves itself; its metrics show no other process.
    """
    with running(toy_root, "--workers", "1") as process:
        with connected(process.port) as connection:
            text = ask(connection, "/metrics")
            pid = pipeline(connection.sock, [process.handle.pid])
        started = children(process.handle.pid)

    assert pid == process.handle.pid
    assert started == []
    assert "inkling_processes" not in text


@pytest.fixture
def corrupt_root(toy_root: Path, tmp_path: Path) -> Path:
    """A copy of the toy models whose second version was changed after publishing."""
    root = tmp_path / "models"
    shutil.copytree(toy_root, root)
    model = root / "quadrants" / "2" / "model.onnx"
    model.write_bytes(model.read_bytes() + b"\0")
    return root


def test_workers_that_cannot_start_end_the_service(corrupt_root: Path) -> None:
    """
    With a worker's status, and the reason once.
    """
    done = ended(*TWO, "--models", str(corrupt_root), "--strict")

    reasons = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert done.returncode == 3
    assert len(reasons) == 1
    assert reasons[0].startswith("INKLING_STRICT (--strict): every model should be valid; got quadrants/2: ")
    assert "http://127.0.0.1" not in done.stderr


def test_used_address_is_reported_in_one_line(standing: Process) -> None:
    """
    Workers share the port with each other, but not with other services.
    """
    done = ended(*TWO, "--port", str(standing.port))

    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "INKLING_HOST, INKLING_PORT (--host, --port): should be a free address; got 127.0.0.1:"
    )


def test_invalid_setting_ends_the_workers_with_status_2() -> None:
    """
    As with one process.
    """
    done = ended(*TWO, "--models", "/does/not/exist")

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("INKLING_MODELS (--models): ")
