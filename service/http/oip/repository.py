"""The protocol's model repository over HTTP. Each endpoint is a translation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.codecs import content_types
from service.codecs.json import documents, images
from service.core.errors import MalformedRequest
from service.http.messages.body_reader import BodyLimits
from service.http.messages.request_scope import context_of
from service.http.messages.responses import json_response
from service.http.oip import schemas
from service.http.routing.operations import Handler, Operation, Options
from service.http.security import csrf
from service.http.security.hosts import KnownHosts
from service.inference.admission.access import ANONYMOUS, GRANT, Grant
from service.inference.admission.audit import Actor
from service.inference.admission.keys import Right
from service.inference.models.versions import ModelStatus
from service.oip import json_codec, model_metadata
from service.oip.model_repository import Management

_MOST_VALUES = 1000
"""JSON values of a body; it needs four."""


@dataclass(frozen=True)
class Endpoints:
    """Everything under `/v2/repository`.

    Attributes:
        management: The model repository.
        bodies: Limits of request bodies.
        hosts: Under which the service is known, as pages of other hosts may not manage models.
    """

    management: Management
    bodies: BodyLimits
    hosts: KnownHosts

    def operations(self) -> list[Operation]:
        """Describe every endpoint."""

        def post(name: str, path: str, summary: str, handle: Handler, *errors: int) -> Operation:
            return Operation(
                name=name,
                method="POST",
                path=f"/v2/repository{path}",
                summary=f"{summary}; needs management",
                handle=handle,
                answers={content_types.JSON: schemas.RepositoryIndex},
                errors=(403, 408, 413, 415, *errors),
                body=schemas.repository_body(),
                needs_body=False,
                has_slash_twin=True,
                right=Right.MANAGE,
            )

        load = "Serve what is published of a model now, new versions too; what is served goes on until then"
        return [
            post(
                "repository index", "/index", "List what is published, and what of it is served", self.index
            ),
            post("load model", "/models/{model}/load", load, self.load, 409, 504),
            post("unload model", "/models/{model}/unload", "Serve a model no longer", self.unload, 504),
        ]

    async def index(self, request: Request, options: Options) -> Response:
        """Answer `POST /v2/repository/index`; `{"ready": true}` leaves out what cannot answer."""
        del options
        self._check(request)
        only_ready = (await self._document(request)).get("ready", False)
        if not isinstance(only_ready, bool):
            raise MalformedRequest("Member 'ready' of Body", "true or false", images.kind(only_ready))
        return _respond(self.management.index(only_ready))

    async def load(self, request: Request, options: Options) -> Response:
        """Answer `POST …/load`."""
        del options
        self._check(request)
        parameters = json_codec.member_object(await self._document(request), "parameters", "Body")
        model = request.path_params["model"]
        return _respond(await self.management.load(model, parameters, _actor(request)))

    async def unload(self, request: Request, options: Options) -> Response:
        """Answer `POST …/unload`; models do not depend on each other, so parameters change nothing."""
        del options
        self._check(request)
        json_codec.member_object(await self._document(request), "parameters", "Body")
        return _respond(await self.management.unload(request.path_params["model"], _actor(request)))

    def _check(self, request: Request) -> None:
        """Raise ManagementOff, or Forbidden for a request that another origin's page sends."""
        self.management.check()
        csrf.check(request.scope["headers"], self.hosts)

    async def _document(self, request: Request) -> Mapping[str, Any]:
        """Read a body, which may be empty."""
        async with self.bodies.read(request) as content:
            document = documents.load(content, _MOST_VALUES) if content.strip() else {}
        if not isinstance(document, dict):
            raise MalformedRequest("Body", "a JSON object, or nothing", images.kind(document))
        return document


def _actor(request: Request) -> Actor:
    """Return who asks, for the audit record."""
    grant = request.scope.get(GRANT)
    key = grant.client if isinstance(grant, Grant) else ANONYMOUS
    address = request.client.host if request.client else "-"
    return Actor(key, address, context_of(request).request_id)


def _respond(standings: list[ModelStatus]) -> Response:
    return json_response(model_metadata.index(standings))
