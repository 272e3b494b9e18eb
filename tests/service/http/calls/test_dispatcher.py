"""`service/http/calls/dispatcher.py`: predictions directly, all other requests through ASGI."""

import asyncio
from dataclasses import replace

import pytest

from service.app import App, create_app
from service.http.calls.asgi_call import AsgiCall
from service.http.calls.prediction_call import PredictionCall
from service.http.server.request import HeadCache, Request
from service.settings import Settings
from tests.service.http.server.fakes import end, rig, run


@pytest.fixture(scope="module")
def app(toy_settings: Settings) -> App:
    return create_app(toy_settings)


def dispatched(app: App, method: str, path: str, root_path: str = "", *, is_direct: bool = True) -> type:
    """Return the class of the call that answers a request."""

    async def test() -> type:
        dispatcher = replace(app.dispatch, root_path=root_path)
        if not is_direct:
            dispatcher = replace(dispatcher, predictions=None)
        made = rig()
        headers = [(b"host", b"a"), (b"content-length", b"9")]
        request = Request(HeadCache().get(method.encode(), path.encode(), "1.1", True, headers), 0.0)
        pipeline = made.connection.pipeline
        pipeline.request = request
        call = pipeline._call = dispatcher(pipeline, request)
        made.transport.abort()
        await asyncio.sleep(0)
        await end(made)
        return type(call)

    return run(test())


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/v1/models/quadrants/predict", PredictionCall),
        ("POST", "/v1/models/quadrants/predict?top=1", PredictionCall),
        ("POST", "/v1/models/%71uadrants/predict", PredictionCall),
        ("POST", "/v1/models/nobody/predict", PredictionCall),
        ("POST", "/v1/models/quadrants/versions/1/probabilities", PredictionCall),
        ("POST", "/v1/models/quadrants:predict", PredictionCall),
        ("POST", "/v2/models/quadrants/infer", PredictionCall),
        ("POST", "http://other/v2/models/quadrants/infer", PredictionCall),
        ("GET", "/v1/models/quadrants/predict", AsgiCall),
        ("HEAD", "/v1/models/quadrants/predict", AsgiCall),
        ("OPTIONS", "/v1/models/quadrants/predict", AsgiCall),
        ("POST", "/v1/models/quadrants/predict/more", AsgiCall),
        ("POST", "//v1/models/quadrants/predict", AsgiCall),
        ("POST", "/v2/repository/index", AsgiCall),
        ("GET", "/livez", AsgiCall),
        ("OPTIONS", "*", AsgiCall),
    ],
)
def test_predictions_are_answered_directly(app: App, method: str, path: str, kind: type) -> None:
    assert dispatched(app, method, path) is kind


@pytest.mark.parametrize("path", ["/v2/models/quadrants/infer", "/under/v2/models/quadrants/infer"])
def test_root_path_is_optional(app: App, path: str) -> None:
    """Some proxies remove it."""
    assert dispatched(app, "POST", path, "/under") is PredictionCall


def test_other_prefixes_are_not_removed(app: App) -> None:
    assert dispatched(app, "POST", "/other/v2/models/quadrants/infer", "/under") is AsgiCall


def test_listener_without_predictions_uses_the_application(app: App) -> None:
    assert dispatched(app, "POST", "/v2/models/quadrants/infer", is_direct=False) is AsgiCall
