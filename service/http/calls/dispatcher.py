"""Which call answers a request: a prediction directly, everything else through the ASGI application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.http.calls.asgi_call import AsgiCall
from service.http.calls.prediction_call import PredictionCall, PredictionRoute, Predictions
from service.http.routing.predict_endpoint import PredictEndpoint
from service.http.routing.root_path import strip_root_path

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from service.http.routing.router import Routes
    from service.http.server.request import Head, Request
    from service.http.server.server_context import Call, Responder


@dataclass(frozen=True)
class Dispatcher:
    """Begins to answer requests of one listener: what it derives from a head is kept with the head.

    Attributes:
        app: Answers every request, predictions too where another server calls it.
        routes: Finds the endpoint of a path.
        predictions: What the calls need that answer predictions; None leaves them to the application.
        root_path: Prefix of paths under which a proxy shows the service.
    """

    app: ASGIApp
    routes: Routes
    predictions: Predictions | None = None
    root_path: str = ""

    def __call__(self, connection: Responder, request: Request) -> Call:
        """Return the call that answers a request whose head has arrived."""
        head = request.head
        route = head.route
        if route is None:
            route = head.route = self._route(head) or _APPLICATION
        if isinstance(route, PredictionRoute) and self.predictions is not None:
            request.path = route.path
            return PredictionCall(self.predictions, connection, request, route)
        return AsgiCall(self.app, connection, request)

    def _route(self, head: Head) -> PredictionRoute | None:
        """Return the route of a prediction; None for other requests."""
        if self.predictions is None:
            return None
        path = strip_root_path(head.path, self.root_path)
        found = self.routes.find(head.method, path)
        if found is None or not isinstance(found[0].operation.handle, PredictEndpoint):
            return None
        return PredictionRoute.of(head, path, *found)


_APPLICATION = "application"
"""Route of requests that the ASGI application answers."""
