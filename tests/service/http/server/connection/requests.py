"""Request bytes, and the stages of a connection in which tests start."""

from collections.abc import Callable
from time import perf_counter

from service.http.server.request import Request
from service.http.server.server_context import Responder
from tests.service.http.server.fakes import Rig, ScriptedCall


def get(path: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: a", *lines, "", ""]).encode()


def post(path: str, body: bytes = b"", *lines: str, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return get(path, f"Content-Length: {size}", *lines, method="POST") + body


CHUNKED = get("/chunked", "Transfer-Encoding: chunked", method="POST")


UPGRADE = ("Connection: Upgrade", "Upgrade: h2c")


class ImmediateCall(ScriptedCall):
    """Answers within the parser callback of the head."""

    def __init__(self, connection: Responder, request: Request) -> None:
        super().__init__(connection, request)
        if request.path.startswith("/now"):
            self.answer(404)


def paths(made: Rig) -> list[str]:
    return [response.headers.get("x-path", str(response.status)) for response in made.responses()]


def overdue(seconds: float) -> Callable[[Rig], None]:
    return lambda made: made.connection.check(perf_counter() + seconds)


def body(made: Rig) -> None:
    made.send(post("/1", b"a", length=5))


def paused_body(made: Rig) -> None:
    body(made)
    made.connection.pipeline.pause_body()


def not_taken(made: Rig) -> None:
    made.transport.accepts = False
    made.send(get("/1"))
    made.calls[0].answer(200, bytes(5000))


def answered_before_the_body(made: Rig) -> None:
    body(made)
    made.calls[0].answer(404)


STAGES: dict[str, Callable[[Rig], None]] = {
    "new": lambda _: None,
    "head": lambda made: made.send(b"GET"),
    "body": body,
    "paused body": paused_body,
    "held": lambda made: made.send(get("/1") + get("/2") * 500),
    "queued body": lambda made: made.send(get("/1") + post("/2", b"a", length=5)),
    "refused in the queue": lambda made: made.send(get("/1") + b"nonsense\r\n"),
    "answering": lambda made: made.send(get("/1")),
    "not taken": not_taken,
    "answered before the body": answered_before_the_body,
    "draining": lambda made: made.send(b"nonsense\r\n\r\n"),
}
