"""Which call answers a request: a prediction directly, everything else through the ASGI application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.http.answering import Asking
from service.http.root_path import strip_root_path
from service.http.server.asgi_call import AsgiCall
from service.http.server.prediction_call import PredictionCall, Predictions

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from service.http.router import Routes
    from service.http.server.context import Call, Responder
    from service.http.server.request import Request


@dataclass(frozen=True)
class Dispatcher:
    """Begins to answer requests.

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
        if self.predictions is not None:
            path = strip_root_path(request.path, self.root_path)
            found = self.routes.find(request.method, path)
            if found is not None and isinstance(found[0].operation.handle, Asking):
                request.path = path
                return PredictionCall(self.predictions, connection, request, *found)
        return AsgiCall(self.app, connection, request)
