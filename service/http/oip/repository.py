"""Endpoints of the model repository over HTTP: list, load and unload models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.codecs import content_types
from service.codecs.json import images, parser
from service.core.errors import MalformedRequest
from service.http.messages.body_reader import BodyLimits
from service.http.messages.request_scope import context_of
from service.http.messages.responses import json_response
from service.http.oip import schemas
from service.http.routing.operations import Handler, Operation
from service.http.routing.options import Options
from service.http.security import csrf
from service.http.security.hosts import KnownHosts
from service.inference.admission.access import ANONYMOUS, GRANT, Grant
from service.inference.admission.audit import Actor
from service.inference.admission.keys import Right
from service.inference.models.versions import ModelStatus
from service.oip import model_metadata
from service.oip.json_codec.request import member_object
from service.oip.model_repository import Management

_MOST_VALUES = 1000
"""JSON values of a request body; a valid one has at most four."""


@dataclass(frozen=True)
class Endpoints:
    """The endpoints under `/v2/repository`.

    Attributes:
        management: The model repository.
        bodies: Limits of request bodies.
        hosts: The known hosts, for the check that a request comes from no other site.
    """

    management: Management
    bodies: BodyLimits
    hosts: KnownHosts

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return [
            _post(
                "repository index",
                "/index",
                "List the published models",
                "Returns every published version with its state: READY if it is served, else UNAVAILABLE and "
                "the reason. Needs the setting `management`.",
                self.index,
            ),
            _post(
                "load model",
                "/models/{model}/load",
                "Load a model",
                "Loads the published versions of a model, new ones too, and returns their states. Versions "
                "that are served remain available during the load. Needs the setting `management`.",
                self.load,
                409,
                504,
            ),
            _post(
                "unload model",
                "/models/{model}/unload",
                "Unload a model",
                "Stops serving every version of a model, and returns their states. Needs the setting "
                "`management`.",
                self.unload,
                504,
            ),
        ]

    async def index(self, request: Request, options: Options) -> Response:
        """Handle `POST /v2/repository/index`; with `{"ready": true}` only versions that are ready."""
        del options
        self._check(request)
        only_ready = (await self._document(request)).get("ready", False)
        if not isinstance(only_ready, bool):
            raise MalformedRequest("Member 'ready' of Body", "true or false", images.describe(only_ready))
        return _respond(self.management.index(only_ready))

    async def load(self, request: Request, options: Options) -> Response:
        """Handle `POST …/load`."""
        del options
        self._check(request)
        parameters = member_object(await self._document(request), "parameters", "Body")
        model = request.path_params["model"]
        return _respond(await self.management.load(model, parameters, _actor(request)))

    async def unload(self, request: Request, options: Options) -> Response:
        """Handle `POST …/unload`; parameters are ignored, because models do not depend on each other."""
        del options
        self._check(request)
        member_object(await self._document(request), "parameters", "Body")
        return _respond(await self.management.unload(request.path_params["model"], _actor(request)))

    def _check(self, request: Request) -> None:
        """Raise ManagementOff if management is off, Forbidden for a request from a page of another origin."""
        self.management.check()
        csrf.check(request.scope["headers"], self.hosts)

    async def _document(self, request: Request) -> Mapping[str, Any]:
        """Read and parse the body, which may be empty."""
        async with self.bodies.read(request) as content:
            document = parser.parse(parser.without_bom(content), _MOST_VALUES) if content.strip() else {}
        if not isinstance(document, dict):
            raise MalformedRequest("Body", "a JSON object, or nothing", images.describe(document))
        return document


def _post(name: str, path: str, summary: str, description: str, handle: Handler, *errors: int) -> Operation:
    return Operation(
        name=name,
        method="POST",
        path=f"/v2/repository{path}",
        summary=summary,
        description=description,
        handle=handle,
        responses={content_types.JSON: schemas.RepositoryIndex},
        errors=(403, 408, 413, 415, *errors),
        body=schemas.repository_body(),
        requires_body=False,
        allows_trailing_slash=True,
        right=Right.MANAGE,
    )


def _actor(request: Request) -> Actor:
    """Return the client, for the audit log."""
    grant = request.scope.get(GRANT)
    key = grant.client if isinstance(grant, Grant) else ANONYMOUS
    address = request.client.host if request.client else "-"
    return Actor(key, address, context_of(request).request_id)


def _respond(statuses: list[ModelStatus]) -> Response:
    return json_response(model_metadata.index(statuses))
