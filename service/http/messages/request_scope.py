"""Members of the ASGI scope that hold the request context and the start time."""

from starlette.requests import Request

from service.inference.request_context import RequestContext

STARTED = "inkling.started"
"""Key of the time when the first byte of the request was parsed, by `time.perf_counter`."""


def context_of(request: Request) -> RequestContext:
    """Return the context of a request that passed `RequestMiddleware`."""
    context = request.scope["context"]
    assert isinstance(context, RequestContext)
    return context
