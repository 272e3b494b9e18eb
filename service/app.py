"""The one place where rooms meet: builds each part and hands it to the part that needs it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.types import ASGIApp

from service.core import network
from service.http import documentation, explain, operations, ops, page, problems, reports, v1, weights
from service.http.answering import Answering
from service.http.drawings import Limits
from service.http.gate import Gate
from service.http.journal import Journal
from service.http.metrics import Metrics
from service.http.observe import Observer
from service.protocol import instances, repository, rest
from service.protocol.management import Management
from service.serving.predictor import Predictor
from service.serving.registry import Registry
from service.serving.statistics import Statistics
from service.serving.workers import Workers
from service.settings import Settings


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
    network.use_threads(settings.engine_threads)
    registry = Registry(settings.models, settings.engine_threads)
    registry.load()
    if settings.strict and registry.refused():
        raise registry.refused()[0]
    metrics = Metrics()
    statistics = Statistics()
    registry.subscribe(lambda: metrics.show_ready((model.name, model.version) for model in registry.models()))
    workers = Workers(settings.worker_threads, settings.max_waiting, settings.request_timeout_s)

    answering = Answering(
        predictor=Predictor(registry),
        workers=workers,
        gate=Gate(settings.max_body_bytes, settings.max_pending_bytes, settings.body_timeout_s),
        limits=Limits(settings.max_images, settings.max_picture_pixels, settings.max_points),
    )

    management = Management(registry, workers, settings.management)

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
        openapi_url=None,
        redirect_slashes=False,
    )
    tags = {
        "models": [
            *v1.Endpoints(registry, answering, settings.default_model).operations(),
            *explain.Endpoints(answering).operations(),
            *instances.Endpoints(answering).operations(),
        ],
        "weights": weights.Endpoints(answering).operations(),
        "reports": reports.Endpoints(answering, settings.models).operations(),
        "Open Inference Protocol": [
            *rest.Endpoints(
                registry, answering, statistics, app.version, settings.engine_threads, settings.management
            ).operations(),
            *repository.Endpoints(management, answering.gate).operations(),
        ],
        "operators": ops.Endpoints(registry, metrics).operations(),
    }
    for tag, described in tags.items():
        operations.mount(app, tag, described)
    documentation.install(app, [operation for described in tags.values() for operation in described])
    page.install(app)
    problems.install(app)
    return Observer(app, Journal(metrics, statistics, settings.access_log))
