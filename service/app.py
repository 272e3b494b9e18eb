"""The one place where rooms meet: builds each part and hands it to the part that needs it."""

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from service.core import network
from service.http import documentation, explain, operations, ops, page, problems, reports, v1, weights
from service.http.answering import Answering
from service.http.direct import Direct
from service.http.drawings import Limits
from service.http.gate import Gate
from service.http.journal import Journal
from service.http.metrics import Metrics
from service.http.observe import Observer
from service.http.router import Router, Routes
from service.http.together import Together
from service.inference import allocator
from service.inference.budget import Budget
from service.processes.member import Member
from service.protocol import instances, repository, rest
from service.protocol.management import Management
from service.serving.batching import Batching
from service.serving.predictor import Predictor
from service.serving.registry import Registry
from service.serving.statistics import Records, Statistics
from service.serving.workers import Workers
from service.settings import Settings

_DISTRIBUTION = "inkling"


@dataclass(frozen=True)
class App:
    """The service.

    Attributes:
        asgi: Answers every request, as ASGI asks.
        direct: Answers some from their bytes, for a server that has them whole.
    """

    asgi: ASGIApp
    direct: Direct

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI asks."""
        await self.asgi(scope, receive, send)


def create_app(settings: Settings, member: Member | None = None) -> App:
    """Build the service and load what is published.

    Args:
        settings: How it behaves.
        member: This process, if several serve on one address.

    Returns:
        An ASGI application that can answer.

    Raises:
        ArtifactError: A published folder was refused, and the settings are strict about that.
        OSError: The models folder cannot be read.
    """
    allocator.bound()
    network.use_threads(settings.engine_threads)
    registry = Registry(settings.models, settings.engine_threads)
    registry.load(member.published if member else None)
    if settings.strict and registry.refused():
        raise registry.refused()[0]
    metrics = Metrics()
    statistics = Statistics()
    registry.subscribe(lambda: metrics.show_ready((model.name, model.version) for model in registry.models()))
    together = Together(metrics, statistics, member) if member else None
    workers = Workers(settings.worker_threads, settings.max_waiting, settings.request_timeout_s)

    budget = Budget(settings.max_pending_bytes)
    answering = Answering(
        batching=Batching(Predictor(registry)),
        workers=workers,
        gate=Gate(settings.max_body_bytes, settings.max_pending_bytes, settings.body_timeout_s, budget),
        limits=Limits(settings.max_images, settings.max_picture_pixels, settings.max_points),
        budget=budget,
    )

    management = Management(registry, workers, settings.management)
    journal = Journal(metrics, statistics, settings.access_log)
    with_grpc = _grpc(settings, registry, answering, together or statistics, management, journal)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        async with _joining(member, together), with_grpc():
            if member:
                member.tell_ready()
            yield
        workers.close()

    app = FastAPI(
        title="Inkling",
        version=version(_DISTRIBUTION),
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
                registry,
                answering,
                together or statistics,
                app.version,
                settings.engine_threads,
                settings.management,
            ).operations(),
            *repository.Endpoints(management, answering.gate).operations(),
        ],
        "operators": ops.Endpoints(registry, (together or metrics).registry).operations(),
    }
    for tag, described in tags.items():
        operations.mount(app, tag, described)
    everything = [operation for described in tags.values() for operation in described]
    documentation.install(app, everything)
    page.install(app)
    problems.install(app)
    routes = Routes(everything)
    return App(Observer(Router(app, routes), journal), Direct(routes, answering, journal))


@asynccontextmanager
async def _joining(member: Member | None, together: Together | None) -> AsyncIterator[None]:
    """Take part in what several processes do together; nothing if this is the only one."""
    if member is None or together is None:
        yield
        return
    with member.ending_with_parent():
        async with together.following():
            yield


def _grpc(
    settings: Settings,
    registry: Registry,
    answering: Answering,
    statistics: Records,
    management: Management,
    journal: Journal,
) -> Callable[[], AbstractAsyncContextManager[object]]:
    """Return what serves gRPC too, while it is entered; nothing if the settings do not ask for it."""
    if settings.grpc_port is None:
        return nullcontext
    from service.grpc import interface  # noqa: PLC0415 - an extra, and memory that others need not spend
    from service.grpc.servicer import Servicer  # noqa: PLC0415 - as above

    servicer = Servicer(
        registry, answering, statistics, management, journal, version(_DISTRIBUTION), settings.engine_threads
    )
    limits = interface.Limits(
        settings.max_body_bytes,
        settings.max_connections,
        settings.keep_alive_s,
        settings.header_timeout_s,
        settings.drain_timeout_s,
        shares_port=settings.workers > 1,
    )
    return functools.partial(interface.serving, servicer, settings.host, settings.grpc_port, limits)
