"""Predictions under overload: full queues, time-outs, disconnects, failures; event loop and thread pool."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from starlette.testclient import TestClient

from service.core.errors import InferenceFailed
from service.core.network.engine import Engine
from service.inference.thread_pool import ThreadPool
from service.settings import Settings
from tests import digits, toys
from tests.service.http.bodies import (
    OCTETS,
    PREDICT,
    WEIGHTS,
    picture,
    problem,
)
from tests.service.http.running import Background, HeldPredictions, chunk, send_request, service


def test_a_failed_prediction_gets_500_without_details(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next request is answered."""

    def fail(engine: Engine, batch: NDArray[np.uint8]) -> None:
        del engine, batch
        raise InferenceFailed("quadrants", "2") from RuntimeError("/secret/path")

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "run", fail)
        failed = client.post(PREDICT, content=toys.dot(1).tobytes(), headers=OCTETS)
    answered = client.post(PREDICT, content=toys.dot(1).tobytes(), headers=OCTETS)

    detail = problem(failed, 500, "inference-failed")
    assert "secret" not in failed.text
    assert "quadrants" not in detail
    assert answered.status_code == 200


def test_an_unexpected_exception_gets_500_without_details(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the event loop and in the thread pool."""

    def fail(engine: Engine, batch: NDArray[np.uint8]) -> None:
        del engine, batch
        raise ZeroDivisionError("/secret/path")

    monkeypatch.setattr(Engine, "run", fail)

    inline = client.post(PREDICT, content=toys.dot(1).tobytes(), headers=OCTETS)
    in_worker = client.post(f"{PREDICT}?prepare=mnist", content=toys.dot(1).tobytes(), headers=OCTETS)

    for response in (inline, in_worker):
        problem(response, 500, "internal")
        assert "secret" not in response.text
        assert "Zero" not in response.text


def test_a_small_picture_gets_the_same_response_on_event_loop_and_thread(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    run = ThreadPool.run

    def counted(thread_pool: ThreadPool, work: Callable[[], object], **options: Any) -> object:  # noqa: ANN401 - any
        asked.append(work)
        return run(thread_pool, work, **options)

    monkeypatch.setattr(ThreadPool, "run", counted)
    canvas = digits.canvas(digits.DIGITS["4"][0])
    remark = PngInfo()
    remark.add_text("Comment", "a" * 100, zip=True)
    files = [
        picture(image, pnginfo=info) for image in (canvas, canvas.convert("RGBA")) for info in (None, remark)
    ]
    png = {"content-type": "image/png"}

    responses = [client.post(f"{PREDICT}?include=seen", content=file, headers=png) for file in files]

    assert len(asked) == 2
    assert [response.status_code for response in responses] == [200] * 4
    assert all(response.json() == responses[0].json() for response in responses)


def test_a_broken_small_picture_is_refused_on_event_loop_and_thread(client: TestClient) -> None:
    whole = picture(digits.canvas(digits.DIGITS["4"][0]))
    at = whole.index(b"IDAT") + 40
    bodies = [whole[:at] + bytes(20) + whole[at + 20 :], whole[:at], picture(Image.new("L", (280, 280)))]

    responses = [
        client.post(f"{PREDICT}{query}", content=body, headers={"content-type": "image/png"})
        for body in bodies
        for query in ("", "?include=steps")  # steps are shown by a worker
    ]

    assert [response.status_code for response in responses] == [400, 400, 400, 400, 422, 422]
    details = [response.json()["detail"] for response in responses]
    assert details[::2] == details[1::2]


def ask_worker(client: TestClient) -> Callable[[], Any]:
    """Post something that needs a worker thread."""
    return lambda: client.post(f"{PREDICT}?prepare=mnist", content=toys.dot(1).tobytes(), headers=OCTETS)


def test_a_request_is_refused_while_the_queue_is_full(
    toy_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Retry-After; pictures of weights have a queue of their own."""
    held = HeldPredictions(monkeypatch)
    with service(toy_settings, worker_threads=1, max_waiting=0) as client:
        first = Background(ask_worker(client))
        held.wait_for_prediction()

        second = ask_worker(client)()
        pictures = client.get(f"{WEIGHTS}/output.png")
        alive = client.get("/livez")
        held.release_all()
        answered = first.result()
        third = ask_worker(client)()

    detail = problem(second, 503, "overloaded")
    assert detail == "The queue should have a free place; 1 requests are in it or being worked on."
    assert 1 <= int(second.headers["retry-after"]) <= 3
    assert pictures.status_code == 200
    assert alive.status_code == 200
    assert answered.status_code == 200
    assert third.status_code == 200


def test_a_queued_request_is_answered(toy_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    held = HeldPredictions(monkeypatch)
    with service(toy_settings, worker_threads=1, max_waiting=1) as client:
        first = Background(ask_worker(client))
        held.wait_for_prediction()
        second = Background(ask_worker(client))
        held.release_all()

        statuses = [first.result().status_code, second.result().status_code]

    assert statuses == [200, 200]


def test_a_queued_request_is_dropped_when_its_client_disconnects(
    toy_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place in the queue is free at once."""
    held = HeldPredictions(monkeypatch)
    slow = picture(Image.fromarray(toys.dot(1)), "JPEG", progressive=True)
    body = [chunk(slow, more=False), {"type": "http.disconnect"}]
    with service(toy_settings, worker_threads=1, max_waiting=1) as client:
        first = Background(ask_worker(client))
        held.wait_for_prediction()
        left = send_request(client.app, PREDICT, body, [("content-type", "image/jpeg")])
        second = Background(ask_worker(client))
        held.release_all()

        statuses = [first.result().status_code, left.status_code, second.result().status_code]

    assert statuses == [200, 499, 200]
    held.wait_for_prediction()
    assert not held.begun.acquire(blocking=False)


def test_a_request_times_out(toy_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 504; its thread finishes and is free again."""
    held = HeldPredictions(monkeypatch)
    with service(toy_settings, worker_threads=1, max_waiting=0, request_timeout_s=0.05) as client:
        late = ask_worker(client)()
        held.release_all()

    detail = problem(late, 504, "deadline-exceeded")
    assert detail == "An answer should take at most 0.05 seconds; it was not ready."
    assert int(late.headers["retry-after"]) >= 1


def test_a_slow_body_times_out(toy_settings: Settings) -> None:
    """With 408 and the number of bytes received; the connection is closed."""
    with service(toy_settings, body_timeout_s=0.2) as client:
        response = send_request(
            client.app, PREDICT, [chunk(bytes(700))], [("content-type", "application/json")]
        )

    detail = problem(response, 408, "body-timeout")
    assert detail == "Body should arrive within 0.2 seconds; got 700 bytes of it."
    assert response.headers["connection"] == "close"
