"""The bare transport: reads the body and answers a constant of the size of a true answer."""

import argparse

import orjson
import uvicorn
from starlette.types import Receive, Scope, Send

_ANSWER = orjson.dumps(
    {
        "model": "mlp-128",
        "version": "2",
        "predictions": [
            {
                "label": "7",
                "index": 7,
                "confidence": 0.99619186,
                "top": [{"label": label, "probability": 0.00060346} for label in "703"],
                "sure": True,
                "probabilities": [0.00060346] * 10,
            }
        ],
    }
)
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_ANSWER)).encode())]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request, as ASGI asks."""
    assert scope["type"] == "http"
    more = True
    body = b""
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _ANSWER})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", help="is not looked at")
    parser.add_argument("--port", type=int, required=True)
    port: int = parser.parse_args().port
    uvicorn.run(
        app, port=port, http="httptools", loop="uvloop", lifespan="off", access_log=False, log_level="error"
    )
