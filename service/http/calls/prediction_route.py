"""Parts of a prediction request that depend on its head only; computed once for each distinct head."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from service.core.errors import MalformedRequest
from service.http.messages.body_reader import BodyForm

if TYPE_CHECKING:
    from service.http.routing.operations import Endpoint
    from service.http.routing.options import Options
    from service.http.routing.predict_endpoint import PredictEndpoint
    from service.http.server.request import Head


@dataclass(frozen=True, slots=True)
class PredictionRoute:
    """The endpoint, model, options and body form of a prediction request.

    Attributes:
        endpoint: The matched endpoint.
        path: Path of the request without the root path.
        predict: The endpoint's handler.
        model: Name of the model.
        version: Version of the model; None for the newest.
        options: The parsed query; None if it is invalid, and is parsed again for the error.
        request_id: The header `X-Request-Id`; None if it is absent.
        body: Form of the body.
    """

    endpoint: Endpoint
    path: str
    predict: PredictEndpoint
    model: str
    version: str | None
    options: Options | None
    request_id: str | None
    body: BodyForm

    @classmethod
    def of(cls, head: Head, path: str, endpoint: Endpoint, parameters: Mapping[str, str]) -> PredictionRoute:
        """Return the route of a request.

        Args:
            head: The request head.
            path: Path of the request without the root path.
            endpoint: The matched endpoint; its operation is handled by a `PredictEndpoint`.
            parameters: Path parameters: `model`, optionally `version`.
        """
        options = None
        with suppress(MalformedRequest):
            options = endpoint.options(head.query)
        headers = head.first_headers
        given = headers.get(b"x-request-id")
        return cls(
            endpoint,
            path,
            cast("PredictEndpoint", endpoint.operation.handle),
            parameters["model"],
            parameters.get("version"),
            options,
            None if given is None else given.decode("latin-1"),
            BodyForm.of(endpoint.path, headers, head.content_length),
        )
