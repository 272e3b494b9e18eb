"""What the trainer measured of a network, as numbers and as pictures.

A report is read from disk whenever it is asked for, so that one written anew needs no restart and none
lies in memory.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from service.core import report
from service.core.errors import ReportBroken
from service.core.report import Numbers, Theme
from service.http import schemas, tagged, wire
from service.http.answering import Answering
from service.http.operations import Operation, Options

log = logging.getLogger(__name__)


class ThemeOptions(Options):
    """How a picture is asked for."""

    theme: Theme = Field("light", description="dark is for dark paper")


@dataclass(frozen=True)
class Endpoints:
    """Everything under `…/report`.

    Attributes:
        answering: Finds models, and keeps what takes long off the event loop.
        models: The models folder.
        root_path: Prefix of the paths of pictures, under which a proxy shows the service.
    """

    answering: Answering
    models: Path
    root_path: str = ""

    def operations(self) -> list[Operation]:
        """Describe every endpoint."""
        return [
            Operation(
                name="report",
                method="GET",
                path="/v1/models/{model}/report",
                summary="Give what was measured: layers, accuracies, confusion, calibration, learning curves",
                handle=self.numbers,
                answers={wire.JSON: schemas.ModelReport},
                errors=(504,),
            ),
            Operation(
                name="report picture",
                method="GET",
                path="/v1/models/{model}/report/{picture}.png",
                summary="Show a picture of the report",
                handle=self.picture,
                answers={"image/png": "The picture"},
                errors=(504,),
                options=ThemeOptions,
            ),
        ]

    async def numbers(self, request: Request, options: Options) -> Response:
        """Answer `GET …/report`."""
        del options
        model = self.answering.find(request)
        return await self._answer(
            request, lambda: _document(report.read(self.models, model.manifest), self.root_path), wire.JSON
        )

    async def picture(self, request: Request, options: ThemeOptions) -> Response:
        """Answer `GET …/report/{picture}.png`."""
        manifest = self.answering.find(request).manifest
        name = request.path_params["picture"]

        def read() -> bytes:
            return report.read_picture(self.models, manifest, name, options.theme)

        return await self._answer(request, read, "image/png")

    async def _answer(self, request: Request, read: Callable[[], bytes], kind: str) -> Response:
        try:
            content = await self.answering.workers.run(read)
        except ReportBroken as error:
            log.warning("report broken", extra={"fields": {"reason": str(error)}})
            raise
        # A report may be written anew, even of a version that never changes: keep it, but ask again.
        return tagged.respond(request, content, kind)


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
    numbers = {name: getattr(found, name) for name in Numbers.model_fields}
    return schemas.ModelReport.model_construct(**numbers, pictures=pictures).model_dump_json().encode()
