"""Endpoints of a model's report: the trainer's measurements as JSON, and its charts.

A report is read again when its files have changed, so that a new one needs no restart.
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import orjson
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from service.codecs import content_types
from service.core.artifact import artifact, report
from service.core.artifact.manifest import NAME_PATTERN
from service.core.artifact.report import ReportData, Theme
from service.core.errors import ReportBroken, UnknownPicture
from service.http.api import schemas
from service.http.messages import conditional
from service.http.messages.cache_keys import Key, version_of
from service.http.messages.response_cache import ResponseCache
from service.http.routing.operations import Operation
from service.http.routing.options import Options
from service.http.routing.predict_endpoint import HttpPipeline
from service.inference.models.model import Model

log = logging.getLogger(__name__)

_COST = 4 * report.MAX_BYTES
"""Upper limit of the memory for reading and parsing a report, in bytes."""

_NAME = re.compile(NAME_PATTERN)


class ThemeOptions(Options):
    """Query parameters of a chart."""

    theme: Theme = Field("light", description="Colours for a light or a dark background")


@dataclass(frozen=True)
class Endpoints:
    """The endpoints under `…/report`.

    Attributes:
        http: Finds models.
        cache: Renders and caches the bodies.
        models: The models folder.
        root_path: The setting `root_path`, which precedes the paths of charts.
    """

    http: HttpPipeline
    cache: ResponseCache
    models: Path
    root_path: str = ""

    def operations(self) -> list[Operation]:
        """Return the operations."""
        return [
            Operation(
                name="report",
                method="GET",
                path="/v1/models/{model}/report",
                summary="Return the report of a model",
                description="Returns accuracies, confusion matrix, calibration and learning curves, as "
                "measured by the trainer, and the paths of the charts.",
                handle=self.numbers,
                responses={content_types.JSON: schemas.ModelReport},
                errors=(504,),
            ),
            Operation(
                name="report picture",
                method="GET",
                path="/v1/models/{model}/report/{picture}.png",
                summary="Return a chart of the report",
                description="Returns a chart as PNG, for a light or a dark background.",
                handle=self.picture,
                responses={"image/png": "The chart"},
                errors=(504,),
                options=ThemeOptions,
            ),
        ]

    async def numbers(self, request: Request, options: Options) -> Response:
        """Handle `GET …/report`."""
        del options
        model = self.http.find_model(request)
        (stamp,) = await self._stamps(model, report.REPORT_FILE)

        def render() -> bytes:
            return _document(self._read(model), self.root_path)

        return await self._respond(
            request, Key("report", version_of(model), stamp), render, content_types.JSON
        )

    async def picture(self, request: Request, options: ThemeOptions) -> Response:
        """Handle `GET …/report/{picture}.png`."""
        model = self.http.find_model(request)
        name = request.path_params["picture"]
        file = report.picture_file(name, options.theme) if _NAME.fullmatch(name) else report.REPORT_FILE
        stamp, picture_stamp = await self._stamps(model, report.REPORT_FILE, file)

        def list_names() -> bytes:
            return orjson.dumps([picture.name for picture in self._read(model).pictures])

        names = Key("report pictures", version_of(model), stamp)
        listed = await conditional.get(request, self.cache, names, list_names, _COST)
        try:
            known = orjson.loads(listed.body)
        finally:
            listed.release()
        if name not in known:
            raise UnknownPicture(model.name, name, known)

        def render() -> bytes:
            with _logged():
                return report.read_picture(self.models, model.manifest, name, options.theme)

        key = Key("report picture", version_of(model), (name, options.theme, *stamp, *picture_stamp))
        return await self._respond(request, key, render, "image/png")

    async def _stamps(self, model: Model, *files: str) -> list[tuple[int, ...]]:
        """Return a stamp for each file of a report, which changes with the file; empty for a missing file."""
        folder = self.models / model.name / model.version / artifact.REPORT_FOLDER
        return await self.cache.thread_pool.run(lambda: [_stamp(folder / file) for file in files], priority=1)

    def _read(self, model: Model) -> report.Report:
        with _logged():
            return report.read(self.models, model.manifest)

    async def _respond(
        self, request: Request, key: Key, render: Callable[[], bytes], content_type: str
    ) -> Response:
        # The trainer may write a new report for a published version: caches must revalidate.
        headers = {"Cache-Control": "no-cache"}
        return await conditional.respond(request, self.cache, key, render, _COST, content_type, headers)


def _stamp(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


@contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except ReportBroken as error:
        log.warning("report broken", extra={"fields": {"reason": str(error)}})
        raise


def _document(found: report.Report, root_path: str) -> bytes:
    home = f"{root_path}/v1/models/{found.model}/versions/{found.version}/report"
    pictures = [
        schemas.ReportPicture(
            name=picture.name,
            title=picture.title,
            **{theme: f"{home}/{picture.name}.png?theme={theme}" for theme in get_args(Theme)},
        )
        for picture in found.pictures
    ]
    numbers = {name: getattr(found, name) for name in ReportData.model_fields}
    return schemas.ModelReport.model_construct(**numbers, pictures=pictures).model_dump_json().encode()
