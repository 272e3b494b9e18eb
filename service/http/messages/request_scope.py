"""What Inkling keeps in the ASGI scope of a request."""

from starlette.requests import Request

from service.inference.request_context import RequestContext

STARTED = "inkling.started"
"""Key of the time when the request's first byte was parsed, by `time.perf_counter`."""


def context_of(request: Request) -> RequestContext:
    """Return the context of a request; it must have come through `RequestMiddleware`."""
    context = request.scope["context"]
    assert isinstance(context, RequestContext)
    return context
