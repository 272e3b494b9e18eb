"""The client and a real service: the same predictions as in process, for every kind of input."""

import asyncio
import hashlib
import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inkling import AsyncClient, Client, Model
from inkling.errors import ApiError, MalformedRequest, NoResponse
from tests import digits, toys
from tests.inkling.test_model import kinds
from tests.processes import Process, running

SEVEN = digits.DIGITS["7"][0]


@pytest.fixture(scope="module")
def process(published: Path) -> Iterator[Process]:
    with running(published, "--no-access-log", "--max-images", "40", "--max-body-bytes", "40000") as process:
        yield process


@pytest.fixture(scope="module")
def url(process: Process) -> str:
    return f"http://127.0.0.1:{process.port}"


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


def test_models_are_described_with_their_limits(client: Client) -> None:
    """
    As the service's settings have them; for larger images fewer.
    """
    models = {model.name: model for model in client.models()}

    assert models["ink"].shape == (28, 28)
    assert models["ink"].labels == tuple("0123456789")
    assert (models["ink"].limits.images, models["ink"].limits.body_bytes) == (40, 40_000)
    assert models["flowers17"].limits.images == 2


def test_every_kind_of_input_is_predicted_as_in_process(
    client: Client, published: Path, tmp_path: Path
) -> None:
    """
    Each alone, and all in one call: the same labels, probabilities and `sure`.
    """
    model = Model.load(published / "ink")
    accepted = list(kinds(tmp_path).values())

    for image in accepted:
        assert client.predict(image).labels == ["7"]
    found, expected = client.predict(accepted), model.predict(accepted)

    assert (found.model, found.version) == ("ink", model.version)
    assert found.labels == expected.labels
    np.testing.assert_array_equal(found.confidences, expected.confidences)
    np.testing.assert_array_equal(found.sure, expected.sure)
    np.testing.assert_array_equal(client.probabilities(accepted), model.probabilities(accepted))


def test_many_images_are_divided_by_the_limits_of_the_service(client: Client, published: Path) -> None:
    """
    Arrays, at most 40 a request; pictures of at most 40,000 bytes a request; in their order.
    """
    pictures = [digits.canvas(digits.DIGITS[label][0], 140) for label in "0123456789"] * 7
    arrays = np.stack([np.asarray(picture.resize((28, 28))) for picture in pictures])
    model = Model.load(published / "ink")

    assert client.predict(arrays).labels == model.predict(arrays).labels
    assert client.predict(pictures).labels == model.predict(pictures).labels
    assert client.probabilities(arrays / 255).shape == (70, 10)


def test_an_empty_list_is_refused_before_anything_is_sent(client: Client) -> None:
    with pytest.raises(MalformedRequest, match="at least one"):
        client.predict([])


def test_errors_of_the_service_have_the_fields_of_the_problem(client: Client) -> None:
    """
    A blank image is found by the service, an unknown model as well.
    """
    with pytest.raises(ApiError, match="422 Nothing is drawn: ") as caught:
        client.predict(np.zeros((28, 28), np.uint8))

    error = caught.value
    assert (error.status, error.kind, error.title) == (422, "blank-image", "Nothing is drawn")
    assert "something drawn" in error.detail
    assert error.request_id
    with pytest.raises(ApiError) as unknown:
        client.predict(toys.dot(1), model="no-such-model")
    assert unknown.value.kind == "unknown-model"
    with pytest.raises(ApiError) as version:
        client.predict(toys.dot(1), version="99")
    assert version.value.kind == "unknown-version"


def test_threads_share_a_client(client: Client) -> None:
    """
    Sixteen calls of eight threads.
    """
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: client.predict(SEVEN).labels, range(16)))

    assert found == [["7"]] * 16


def test_a_forked_process_uses_connections_of_its_own(client: Client) -> None:
    """
    After the parent has used its own.
    """
    assert client.predict(SEVEN).labels == ["7"]
    context = multiprocessing.get_context("fork")
    results: Any = context.Queue()

    child = context.Process(target=lambda: results.put(client.predict(SEVEN).labels))
    child.start()

    assert results.get(timeout=60) == ["7"]
    child.join(60)
    assert child.exitcode == 0
    assert client.predict(SEVEN).labels == ["7"]


def test_a_client_ends_its_thread(url: str) -> None:
    """
    When it is closed, and when it is dropped; a closed one can be used again.
    """
    before = client_threads()
    client = Client(url)
    client.predict(SEVEN)
    assert client_threads() == before + 1
    client.close()
    assert client_threads() == before

    client.predict(SEVEN)
    del client
    assert client_threads() == before


def client_threads() -> int:
    """Return the number of clients' threads; the service in this process starts and ends others."""
    return sum(thread.name == "inkling-client" for thread in threading.enumerate())


def test_tasks_share_an_async_client(url: str) -> None:
    """
    With several requests at the same time for one call.
    """
    images = np.stack([np.asarray(digits.canvas(SEVEN).resize((28, 28)))] * 90)

    async def run() -> list[list[str]]:
        async with AsyncClient(url, model="ink", concurrency=3) as client:
            found = await asyncio.gather(*(client.predict(images) for _ in range(3)))
            assert (await client.models())[0].name == "flowers17"
        return [predictions.labels for predictions in found]

    assert asyncio.run(run()) == [["7"] * 90] * 3


def test_the_key_is_sent_and_may_lack_the_right_to_read(published: Path, tmp_path: Path) -> None:
    """
    Without a key a 401; with one for predictions only, images of 28 x 28 are predicted.
    """
    secret = "ink_test"
    keys = tmp_path / "keys.txt"
    keys.write_text(f"me  sha256:{hashlib.sha256(secret.encode()).hexdigest()}  rights=predict\n")
    with running(published, "--no-access-log", "--keys", str(keys)) as process:
        url = f"http://127.0.0.1:{process.port}"
        with Client(url) as client, pytest.raises(ApiError) as caught:
            client.predict(SEVEN)
        assert caught.value.kind == "unauthenticated"
        with Client(url, key=secret) as client:
            assert client.predict(SEVEN).labels == ["7"]
            assert client.predict(np.stack([toys.dot(1)] * 300)).model == "ink"


def test_a_port_without_a_service_is_no_response() -> None:
    with (
        Client("http://127.0.0.1:9", retries=0) as client,
        pytest.raises(NoResponse, match=r"127\.0\.0\.1:9 "),
    ):
        client.predict(SEVEN)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "ftp://a",
        "http://",
        "http://user:pass@a",
        "http://a/?b",
        "http://a/#c",
        "file:///etc",
    ],
)
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    """
    And a password in it is not shown.
    """
    with pytest.raises(MalformedRequest, match=r"URL should be http\(s\)://host") as caught:
        Client(url)
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "a\r\nHost: b", "ü"])
def test_a_key_that_would_break_the_header_is_refused(key: str) -> None:
    with pytest.raises(MalformedRequest, match="printable ASCII"):
        Client(key=key)
