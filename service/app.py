"""The one place where rooms meet: builds each part and hands it to the part that needs it."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from service.core.errors import ModelError, ServiceError
from service.http import operations, ops, problems, v1
from service.http.drawings import Limits
from service.http.gate import Gate
from service.http.observe import CLIENT_CLOSED, Metrics, Observer, exchange_of
from service.http.problems import Problem
from service.serving.batching import Workers
from service.serving.predictor import Predictor
from service.serving.registry import Registry
from service.settings import Settings

log = logging.getLogger(__name__)


def create_app(settings: Settings) -> ASGIApp:
    """Build the service and load what is published.

    Args:
        settings: How it behaves.

    Returns:
        An ASGI application that can answer.

    Raises:
        ArtifactError: A published folder was refused, and the settings are strict about that.
        OSError: The models folder cannot be read.
    """
    registry = Registry(settings.models, settings.engine_threads)
    registry.load()
    if settings.strict and registry.refused():
        raise registry.refused()[0]
    metrics = Metrics()
    for model in registry.models():
        metrics.ready.labels(model.name, model.version).set(1)
    workers = Workers(settings.worker_threads, settings.max_waiting, settings.request_timeout_s)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        yield
        workers.close()

    app = FastAPI(
        title="Inkling",
        version=version("inkling"),
        description="Recognises handwritten digits, and shows why.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    endpoints = v1.Endpoints(
        predictor=Predictor(registry),
        workers=workers,
        gate=Gate(settings.max_body_bytes, settings.body_timeout_s),
        limits=Limits(settings.max_images, settings.max_picture_pixels, settings.max_points),
    )
    operations.mount(app, "models", endpoints.operations())
    operations.mount(app, "operation", ops.Endpoints(registry, metrics).operations())
    _add_documentation(app)
    _add_problems(app)
    return Observer(app, metrics, settings.access_log)


def _add_documentation(app: FastAPI) -> None:
    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            document["components"] = {"schemas": operations.schema_components()}
            app.openapi_schema = document
        return app.openapi_schema

    async def docs(request: Request) -> Response:
        exchange_of(request).route = "/docs"
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Inkling",
            swagger_js_url="/docs/static/swagger-ui-bundle.js",
            swagger_css_url="/docs/static/swagger-ui.css",
            swagger_favicon_url="/docs/static/favicon.png",
        )

    async def home(request: Request) -> Response:
        exchange_of(request).route = "/"
        return RedirectResponse("/docs")

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI's documentation gives
    app.add_route("/docs", docs)
    app.add_route("/", home)
    app.mount("/docs/static", StaticFiles(packages=[("fastapi_offline", "static")]))


def _add_problems(app: FastAPI) -> None:
    def of_service(request: Request, error: Exception) -> Response:
        assert isinstance(error, ServiceError)
        request_id = exchange_of(request).request_id
        if isinstance(error, ModelError):
            log.error("model failed", exc_info=error, extra={"fields": {"request_id": request_id}})
        return problems.answer(error, request.url.path, request_id)

    def of_router(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = repr(request.url.path[:200])
        if error.status_code == 405:
            methods = set((error.headers or {}).get("Allow", "GET").split(", "))
            allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
            detail = f"Method for {path} should be {allowed}; got {request.method}."
            response = _respond(request, problems.WRONG_METHOD, detail)
            response.headers["Allow"] = allowed
            return response
        return _respond(request, problems.NOT_FOUND, f"Path should be one that /docs lists; got {path}.")

    def of_nobody(request: Request, error: Exception) -> Response:
        del error  # the observer logs it
        return _respond(request, problems.INTERNAL, problems.INTERNAL.title + ".")

    def of_caller(request: Request, error: Exception) -> Response:
        del request, error
        return Response(status_code=CLIENT_CLOSED)  # nobody reads it; log and metrics do

    app.add_exception_handler(ServiceError, of_service)
    app.add_exception_handler(HTTPException, of_router)
    app.add_exception_handler(ClientDisconnect, of_caller)
    app.add_exception_handler(Exception, of_nobody)


def _respond(request: Request, problem: Problem, detail: str) -> Response:
    return problems.respond(problem, detail, request.url.path, exchange_of(request).request_id)
