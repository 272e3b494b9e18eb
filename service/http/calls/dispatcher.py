"""Dispatches requests: predictions to a `PredictionCall`, all others to the ASGI application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.http.calls.asgi_call import AsgiCall
from service.http.calls.prediction_call import PredictionCall, PredictionContext
from service.http.calls.prediction_route import PredictionRoute
from service.http.routing.predict_endpoint import PredictEndpoint
from service.http.routing.root_path import strip_root_path

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from service.http.routing.router import Routes
    from service.http.server.request import Head, Request
    from service.http.server.server_context import Call, Responder


@dataclass(frozen=True)
class Dispatcher:
    """Creates the calls of one listener. The route of a request head is cached in the head.

    Attributes:
        app: The ASGI application; it answers predictions too, under another server.
        routes: Finds the endpoint of a path.
        predictions: Components that prediction calls share; None passes predictions to the application.
        root_path: Prefix of paths under which a proxy publishes the service.
    """

    app: ASGIApp
    routes: Routes
    predictions: PredictionContext | None = None
    root_path: str = ""

    def __call__(self, responder: Responder, request: Request) -> Call:
        """Create the call that answers a request whose head has arrived."""
        head = request.head
        route = head.route
        if route is None:
            route = head.route = self._route(head) or _APPLICATION
        if isinstance(route, PredictionRoute) and self.predictions is not None:
            request.path = route.path
            return PredictionCall(self.predictions, responder, request, route)
        return AsgiCall(self.app, responder, request)

    def _route(self, head: Head) -> PredictionRoute | None:
        """Return the route of a prediction; None for all other requests."""
        if self.predictions is None:
            return None
        path = strip_root_path(head.path, self.root_path)
        found = self.routes.find(head.method, path)
        if found is None or not isinstance(found[0].operation.handle, PredictEndpoint):
            return None
        return PredictionRoute.of(head, path, *found)


_APPLICATION = "application"
"""Cached route of requests that the ASGI application answers."""
