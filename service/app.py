"""Composition root: creates every component and passes it to those that use it."""

import asyncio
import functools
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from service.codecs.drawings import Limits
from service.core.errors import ArtifactError
from service.core.network import dense_layers
from service.http.api import explain, health, predict, read, reports, weights
from service.http.calls.dispatcher import Dispatcher
from service.http.calls.prediction_call import PredictionContext
from service.http.messages import problems
from service.http.messages.body_reader import BodyLimits
from service.http.messages.cache_keys import version_of
from service.http.messages.response_cache import ResponseCache
from service.http.oip import endpoints, kserve_v1, repository
from service.http.routing import documentation, openapi, page
from service.http.routing.middleware import RequestMiddleware
from service.http.routing.operations import Operation
from service.http.routing.predict_endpoint import HttpPipeline
from service.http.routing.router import Router, Routes
from service.http.security.access_control import AccessControl
from service.http.security.cors import CorsPolicy
from service.http.security.hosts import KnownHosts
from service.inference.admission import rates
from service.inference.admission.access import Access
from service.inference.admission.buckets import Buckets
from service.inference.batching import Batching
from service.inference.models import pinning
from service.inference.models.changes import (
    LocalChanges,
    ReloadSignal,
    SharedChanges,
    Stager,
    ThreadsafeChanges,
)
from service.inference.models.registry import Registry
from service.inference.pipeline import Pipeline
from service.inference.predictor import Predictor
from service.inference.thread_pool import ThreadPool
from service.memory import allocator
from service.memory.budget import Budget
from service.multiprocess.aggregation import MetricsAggregation
from service.multiprocess.worker import WorkerProcess
from service.observability.metrics import Metrics
from service.observability.model_statistics import Statistics, StatisticsReader
from service.observability.request_log import Recorder, RequestLog
from service.oip.model_repository import Management
from service.settings import Settings

log = logging.getLogger(__name__)

_DISTRIBUTION = "inkling-server"

_MAX_WAITING_TO_LOAD = 8
_LOAD_TIMEOUT_S = 3600.0
"""Number of changes of the models that may wait, and maximum duration of one. They run in a thread of their
own, so that predictions do not delay them."""

_MAX_WAITING_TO_RENDER = 32
"""Responses that may wait for the rendering thread; further requests get a 503."""


@dataclass(frozen=True)
class App:
    """The service.

    Attributes:
        asgi: ASGI application for every request.
        dispatch: Dispatcher for our own connections: predictions bypass ASGI.
        operators: Creates the dispatcher of the operators' listener, given its request recorder and the event
            loop of the application.
        registry: The served models.
        stager: Stages reloads of models, keys and certificates.
        access: API keys and rate limits.
        budget: Memory budget of requests and responses.
        metrics: Metrics of this process.
        request_log: Records every request.
    """

    asgi: ASGIApp
    dispatch: Dispatcher
    operators: Callable[[Recorder, asyncio.AbstractEventLoop], Dispatcher]
    registry: Registry
    stager: Stager
    access: Access
    budget: Budget
    metrics: Metrics
    request_log: RequestLog

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; the ASGI interface."""
        await self.asgi(scope, receive, send)


def create_app(
    settings: Settings, worker: WorkerProcess | None = None, buckets: Buckets | None = None
) -> App:
    """Create the service and load the published models.

    Args:
        settings: The settings.
        worker: This worker process; None if only one process serves.
        buckets: Shared token buckets of several processes; None creates new ones.

    Raises:
        ArtifactError: A published folder is refused, and `strict` is set.
        KeysInvalid: The key file cannot be read or is not valid.
        OSError: The models folder cannot be read.
    """
    allocator.limit_retained_memory()
    dense_layers.set_blas_threads(settings.engine_threads)
    registry = _load(settings, worker)
    metrics = Metrics()
    statistics = Statistics()
    registry.subscribe(lambda: metrics.set_ready((model.name, model.version) for model in registry.models()))
    aggregation = MetricsAggregation(metrics, statistics, worker) if worker else None
    thread_pool = ThreadPool(settings.worker_threads, settings.max_waiting, settings.request_timeout_s)

    budget = Budget(settings.max_pending_bytes)
    hosts = KnownHosts(settings.host, settings.allowed_host)
    access = Access(settings.keys, _rates(settings), buckets)
    control = AccessControl(access, hosts, CorsPolicy(settings.cors_origin))
    bodies = BodyLimits(budget, settings.max_body_bytes, settings.body_timeout_s)
    rendering = ThreadPool(1, _MAX_WAITING_TO_RENDER, settings.request_timeout_s)
    cache = ResponseCache(rendering, budget, settings.max_cached_bytes)
    registry.subscribe(lambda: cache.serve_only(version_of(model) for model in registry.models()))
    pipeline = Pipeline(
        batching=Batching(Predictor(registry)),
        thread_pool=thread_pool,
        budget=budget,
        limits=Limits(settings.max_images, settings.max_picture_pixels, settings.max_points),
    )
    http = HttpPipeline(pipeline, bodies)

    stager = Stager(registry)
    stager.hooks += [
        access.prepare,
        functools.partial(pinning.prepare, settings.models, settings.pin, registry),
    ]
    loading = ThreadPool(1, _MAX_WAITING_TO_LOAD, _LOAD_TIMEOUT_S)
    changes = SharedChanges(worker, settings.request_timeout_s) if worker else LocalChanges(stager, loading)
    management = Management(registry, changes, settings.management)
    request_log = RequestLog(metrics, statistics, settings.access_log)
    with_grpc = _grpc(
        settings, registry, pipeline, aggregation or statistics, management, request_log, control
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        async with _connected(worker, aggregation, stager), with_grpc(), access.polling():
            if worker:
                worker.report_ready()
            elif hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, ReloadSignal(changes))
            yield
        thread_pool.close()
        access.close()
        rendering.close()
        loading.close()

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
            *predict.Endpoints(registry, http, settings.default_model).operations(),
            *explain.Endpoints(http).operations(),
            *read.Endpoints(http).operations(),
            *kserve_v1.Endpoints(http).operations(),
        ],
        "weights": weights.Endpoints(http, cache).operations(),
        "reports": reports.Endpoints(http, cache, settings.models, settings.root_path).operations(),
        "Open Inference Protocol": [
            *endpoints.Endpoints(
                registry,
                http,
                aggregation or statistics,
                app.version,
                settings.engine_threads,
                settings.management,
            ).operations(),
            *repository.Endpoints(management, bodies, hosts).operations(),
        ],
        "operators": health.Endpoints(
            registry, health.MetricsRenderer((aggregation or metrics).registry, cache)
        ).operations(),
    }
    for tag, described in tags.items():
        openapi.mount(app, tag, described)
    everything = [operation for described in tags.values() for operation in described]
    documentation.install(app, everything, cache, settings.root_path)
    page.install(app, settings.root_path)
    problems.install(app)
    routes = Routes(everything)
    asgi = RequestMiddleware(Router(app, routes, control), request_log, settings.root_path)

    def operators(request_log: Recorder, loop: asyncio.AbstractEventLoop) -> Dispatcher:
        unrestricted = Management(registry, ThreadsafeChanges(changes, loop), is_on=True)
        described = [
            *health.Endpoints(registry, (aggregation or metrics).registry).operations(),
            *repository.Endpoints(unrestricted, bodies, hosts).operations(),
        ]
        return _operators(described, replace(control, is_operator=True), request_log, settings.root_path)

    return App(
        asgi,
        Dispatcher(asgi, routes, PredictionContext(http, request_log, control), settings.root_path),
        operators,
        registry,
        stager,
        access,
        budget,
        metrics,
        request_log,
    )


def _load(settings: Settings, worker: WorkerProcess | None) -> Registry:
    """Load the published models, or those that the other workers serve; raises as `create_app`."""
    registry = Registry(settings.models, settings.engine_threads)
    if worker:
        registry.load(worker.state.published, worker.state.unloaded)
    else:
        registry.load()
    try:
        pinning.prepare(settings.models, settings.pin, registry)()
    except ArtifactError as error:
        if settings.strict:
            raise
        log.error("pins refused", extra={"fields": {"reason": str(error)}})
    if settings.strict and registry.refused():
        raise registry.refused()[0]
    return registry


def _operators(
    described: list[Operation], control: AccessControl, request_log: Recorder, root_path: str
) -> Dispatcher:
    """Return the dispatcher of the operators' listener; other paths than these operations get a 404."""
    app = FastAPI(title="Inkling, for operators", openapi_url=None, redirect_slashes=False)
    openapi.mount(app, "operators", described)
    problems.install(app, "of /livez, /readyz, /metrics and /v2/repository/…")
    routes = Routes(described)
    return Dispatcher(RequestMiddleware(Router(app, routes, control), request_log, root_path), routes)


def _rates(settings: Settings) -> rates.RateLimits:
    return rates.RateLimits(
        rates.per_second(settings.rate, settings.rate_burst),
        rates.per_second(settings.rate_images, settings.rate_images_burst),
    )


@asynccontextmanager
async def _connected(
    worker: WorkerProcess | None, aggregation: MetricsAggregation | None, stager: Stager
) -> AsyncIterator[None]:
    """Connect this worker to the supervisor and publish its metrics; nothing in a service of one process."""
    if worker is None or aggregation is None:
        yield
        return
    with worker.connected(stager):
        async with aggregation.publishing():
            yield


def _grpc(
    settings: Settings,
    registry: Registry,
    pipeline: Pipeline,
    statistics: StatisticsReader,
    management: Management,
    request_log: RequestLog,
    control: AccessControl,
) -> Callable[[], AbstractAsyncContextManager[object]]:
    """Return a context manager that serves gRPC while entered; does nothing if `grpc_port` is not set."""
    if settings.grpc_port is None:
        return nullcontext
    from service.grpc import server  # noqa: PLC0415 - optional packages, and much memory
    from service.grpc.call_handler import CallHandler  # noqa: PLC0415 - optional packages
    from service.grpc.limits.calls import Calls  # noqa: PLC0415 - optional packages
    from service.grpc.messages.reader import MessageReader  # noqa: PLC0415 - optional packages
    from service.grpc.servicer import Servicer  # noqa: PLC0415 - optional packages

    budget = pipeline.budget
    calls = Calls(settings.max_connections, budget, settings.write_timeout_s)
    reader = MessageReader(calls, budget, settings.max_body_bytes, settings.body_timeout_s)
    servicer = Servicer(
        registry,
        pipeline,
        statistics,
        management,
        version(_DISTRIBUTION),
        settings.engine_threads,
        CallHandler(calls, reader, control.access, request_log),
    )
    certificate = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        certificate = server.Certificate(settings.tls_cert, settings.tls_key)
    limits = server.Limits(
        settings.max_body_bytes,
        settings.max_connections,
        settings.keep_alive_s,
        settings.header_timeout_s,
        settings.drain_timeout_s,
        shares_port=settings.workers > 1,
    )
    return functools.partial(server.serving, servicer, settings.host, settings.grpc_port, limits, certificate)
