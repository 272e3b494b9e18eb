"""The path of a prediction in ARCHITECTURE.md, compared with the calls of a real one."""

import asyncio
import json

from service.app import create_app
from service.settings import Settings
from tests.paths import missing, recorded, steps
from tests.security.in_process import Server, settle

SQUARE = [[255 * (4 <= x < 24 and 4 <= y < 24) for x in range(28)] for y in range(28)]
"""Cropped and centred like an MNIST image, so that it is not preprocessed."""


def test_a_prediction_takes_the_documented_path(toy_settings: Settings) -> None:
    """
    From the received bytes to the written response, in the order of ARCHITECTURE.md; eight modules.
    """
    documented = steps("The path of a prediction")
    app = create_app(toy_settings)
    body = json.dumps({"image": SQUARE}).encode()
    head = b"POST /v1/models/quadrants/predict HTTP/1.1\r\nhost: localhost\r\n"
    request = b"%bcontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (head, len(body), body)

    async def predict() -> bytes:
        server = Server(app.dispatch, app.request_log)
        connection, client = server.connect()
        with recorded() as calls:
            connection.data_received(request)
            await settle(server, [connection], [client])
        assert missing(documented, calls) is None
        return bytes(client.written)

    response = asyncio.run(predict())

    assert response.startswith(b"HTTP/1.1 200 "), response
    assert len({module for module, _ in documented}) <= 8


def test_a_step_that_is_not_called_is_noticed() -> None:
    """
    In another order the path differs, too.
    """
    calls = [("a", "f"), ("b", "g")]

    assert missing([("a", "f"), ("b", "g")], calls) is None
    assert missing([("b", "g"), ("a", "f")], calls) == ("a", "f")
