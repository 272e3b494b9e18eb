"""`AsyncClient`: calls the service from asyncio or trio."""

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Literal, Self, TypeVar
from urllib.parse import quote

import anyio
import numpy as np
from numpy.typing import NDArray

from inkling.client.connection import Answer, Connection, raising_first
from inkling.client.requests import Body, bodies
from inkling.client.responses import (
    SMALLEST_LIMITS,
    ModelInfo,
    read_model,
    read_models,
    read_predictions,
    read_probabilities,
)
from inkling.errors import ApiError
from inkling.inputs import Images
from inkling.predictions import Prediction, Predictions
from service.codecs import content_types

if TYPE_CHECKING:
    import httpx2

Prepare = Literal["auto", "mnist", "none"]

Result = TypeVar("Result")

_FALLBACK = ModelInfo("ink", "", (), "", (28, 28), (), SMALLEST_LIMITS)
"""Assumed of a model that the key may not read, but use."""


class AsyncClient:
    """Client of the service for asyncio and trio.

    Use it as a context manager, or call `close`. Tasks may share it.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        model: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 4,
        concurrency: int = 4,
        transport: "httpx2.AsyncBaseTransport | None" = None,
    ) -> None:
        """Create a client; nothing is sent yet.

        Args:
            url: Address of the service, with its path prefix if it has one. Redirects are not followed.
            key: API key. It is sent with every request, so use https outside of your own network.
            model: Name of the model; None for the service's default.
            timeout_s: Maximum time of one request, from its start to the end of its response.
            retries: Retries after a 429, a 503 or a failed connection, with the delay that the service asks
                for (up to `timeout_s`), or with increasing random delays.
            concurrency: Requests that are sent at the same time for one call.
            transport: Transport of httpx2, for tests.

        Raises:
            PackageMissing: httpx2 is not installed: the extra `client`.
            MalformedRequest: The URL or the key is not valid.
        """
        self._connection = Connection(url, key, timeout_s, retries, transport)
        self._model = model
        self._concurrency = max(1, concurrency)
        self._infos: dict[tuple[str | None, str | None], ModelInfo] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    async def models(self) -> list[ModelInfo]:
        """Return the newest version of each model.

        Raises:
            ClientError: The call failed.
        """
        return read_models(await self._connection.request("GET", "/v1/models"))[1]

    async def predict(
        self,
        images: Images,
        *,
        model: str | None = None,
        version: str | None = None,
        top: int = 3,
        prepare: Prepare = "auto",
    ) -> Predictions:
        """Classify images.

        Args:
            images: One image or many: arrays, pictures, paths, strokes or a data frame (`inkling.Images`).
            model: Name of the model; None for the client's.
            version: Version; None for the newest one.
            top: Number of top classes of each image.
            prepare: Preprocessing, as `Model.predict` takes it.

        Returns:
            One prediction per image, in order.

        Raises:
            RequestError: An image is not valid; nothing was sent for it.
            ApiError: The service refused a request.
            ClientError: The call failed otherwise.
            OSError: A file cannot be read.
        """
        info = await self._info(model, version)
        query = {"top": str(top), "prepare": prepare}

        async def send(body: Body) -> Predictions:
            return read_predictions(await self._post(info, version, "predict", query, body), body.count)

        parts = await self._send_all(images, info, send)
        items: list[Prediction] = [item for part in parts for item in part]
        return Predictions(parts[0].model, parts[0].version, items)

    async def probabilities(
        self,
        images: Images,
        *,
        model: str | None = None,
        version: str | None = None,
        prepare: Prepare = "auto",
    ) -> NDArray[np.float32]:
        """Return the probability of every class.

        Args:
            images: As for `predict`.
            model: As for `predict`.
            version: As for `predict`.
            prepare: As for `predict`.

        Returns:
            (B, classes) float32; the classes are the `labels` of `models`.

        Raises:
            RequestError, ApiError, ClientError, OSError: As `predict`.
        """
        info = await self._info(model, version)
        accept = {"accept": content_types.NPY}

        async def send(body: Body) -> NDArray[np.float32]:
            answer = await self._post(info, version, "probabilities", {"prepare": prepare}, body, accept)
            return read_probabilities(answer, body.count, len(info.labels) or None)

        return np.concatenate(await self._send_all(images, info, send))

    async def _info(self, model: str | None, version: str | None) -> ModelInfo:
        """Return shape and limits of a model; asked for once."""
        name = model or self._model
        found = self._infos.get((name, version))
        if found is None:
            found = self._infos[name, version] = await self._read_info(name, version)
        return found

    async def _read_info(self, name: str | None, version: str | None) -> ModelInfo:
        try:
            if name is not None:
                return read_model(await self._connection.request("GET", _path(name, version)))
            default, models = read_models(await self._connection.request("GET", "/v1/models"))
        except ApiError as error:
            if error.status != 403:
                raise
            return _FALLBACK if name is None else _named(name)
        info = next((info for info in models if info.name == default), None)
        return info or (models[0] if models else _FALLBACK)

    async def _post(
        self,
        info: ModelInfo,
        version: str | None,
        operation: str,
        query: dict[str, str],
        body: Body,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        return await self._connection.request(
            "POST",
            f"{_path(info.name, version)}/{operation}",
            query=query,
            headers={**body.headers, **(headers or {})},
            content=body.content,
            files=body.files,
        )

    async def _send_all(
        self, images: Images, info: ModelInfo, send: Callable[[Body], Awaitable[Result]]
    ) -> list[Result]:
        """Send all bodies, several at the same time; return the results in order."""
        results: dict[int, list[Result]] = {}
        errors: list[Exception] = []
        places = anyio.Semaphore(self._concurrency)
        waiting = bodies(images, info.shape, info.limits)
        first = await _next(waiting, images)
        if first is None:
            return []
        second = await _next(waiting, images)
        if second is None:
            return await _send_or_halve(first, send)

        async with raising_first(errors) as group:

            async def run(place: int, body: Body) -> None:
                try:
                    results[place] = await _send_or_halve(body, send)
                except Exception as error:  # raised again by `raising_first`, after the others are cancelled
                    errors.append(error)
                    group.cancel_scope.cancel()
                finally:
                    places.release()

            place = 0
            read = [first, second]
            while read:
                await places.acquire()
                group.start_soon(run, place, read.pop(0))
                place += 1
                try:
                    following = await _next(waiting, images)
                    read += [] if following is None else [following]
                except Exception as error:  # an image that is not valid ends the other requests
                    errors.append(error)
                    group.cancel_scope.cancel()
                    break
        return [result for place in sorted(results) for result in results[place]]


async def _next(waiting: Iterator[Body], images: Images) -> Body | None:
    """Return the next body; files are read and pictures encoded in a thread."""
    if isinstance(images, np.ndarray):
        return next(waiting, None)
    return await anyio.to_thread.run_sync(next, waiting, None)


async def _send_or_halve(body: Body, send: Callable[[Body], Awaitable[Result]]) -> list[Result]:
    """Send a body; in two halves if the service refuses it as too large."""
    try:
        return [await send(body)]
    except ApiError as error:
        if error.status != 413 or not len(body.halves):
            raise
    return [result for half in body.halves for result in await _send_or_halve(half, send)]


def _path(name: str, version: str | None) -> str:
    path = f"/v1/models/{quote(name, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe='')}"


def _named(name: str) -> ModelInfo:
    return ModelInfo(name, "", (), "", _FALLBACK.shape, (), SMALLEST_LIMITS)
