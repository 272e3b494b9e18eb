"""Every setting of the service, with its default, its unit and its meaning.

Read once from the command line, the environment (prefix `INKLING_`) and a file `.env`, in this order
of precedence, and then frozen. Nothing else in the service reads the environment.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyNetwork, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, CliSettingsSource, NoDecode, SettingsConfigDict, SettingsError

ENVIRONMENT_PREFIX = "INKLING_"

ANY_ORIGIN = "*"

_HOST = r"(?:\[[0-9a-f:.]{2,45}\]|[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?)(?::[0-9]{1,5})?"
_ORIGIN = re.compile(rf"(?!file:)([a-z][a-z0-9+.-]*)://({_HOST})")
_ROOT_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_OWN_SEGMENTS = ("docs", "metrics", "openapi.json", "livez", "readyz", "static", "v1", "v2")
"""First segments of the service's own paths."""


def _split(value: object) -> object:
    """Split a text at its commas; anything else is left to the next validator."""
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Several texts: joined by commas, or on the command line by a flag each."""


def _origins(given: tuple[str, ...]) -> tuple[str, ...]:
    if given == (ANY_ORIGIN,):
        return given
    return tuple(dict.fromkeys(_origin(text.lower()) for text in given))


def _origin(text: str) -> str:
    """Return an origin as browsers write it: lower case, without the default port."""
    found = _ORIGIN.fullmatch(text)
    if found is None:
        expected = "each should be scheme://host or scheme://host:port without a path, or * alone"
        raise PydanticCustomError("origin", "{expected}", {"expected": expected})
    return text.removesuffix({"http": ":80", "https": ":443"}.get(found[1], ":"))


def _hosts(given: tuple[str, ...]) -> tuple[str, ...]:
    if not all(re.fullmatch(_HOST, text.lower()) for text in given):
        expected = "each should be host or host:port, without a scheme; an IPv6 address in brackets"
        raise PydanticCustomError("host", "{expected}", {"expected": expected})
    return tuple(dict.fromkeys(text.lower() for text in given))


def _root_path(given: str) -> str:
    segments = given.split("/")[1:]
    is_path = _ROOT_PATH.fullmatch(given) and not {".", ".."} & set(segments)
    if given and (not is_path or segments[0] in _OWN_SEGMENTS):
        expected = "should be a path such as /inkling: no slash at its end, none of the service's own paths"
        raise PydanticCustomError("root_path", "{expected}", {"expected": expected})
    return given


class Settings(BaseSettings):
    """How the service behaves."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_file=".env",
        frozen=True,
        extra="ignore",  # .env may hold other programs' settings, INKLING_DATA for the trainer too
    )

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 is every address")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one")
    grpc_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port for gRPC, on the same address; 0 takes a free one; needs the extra `grpc`",
    )
    admin_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port for operators, on the same address: `/livez`, `/readyz`, `/metrics` and "
        "management, on a thread and event loop of their own; 0 takes a free one",
    )
    tls_cert: Path | None = Field(
        None,
        description="PEM file of a certificate and its chain: serve with TLS; read again when it changes",
    )
    tls_key: Path | None = Field(
        None,
        description="PEM file of the certificate's private key; set together with `tls_cert`",
    )
    models: Path = Field(Path("models"), description="Folder of published models")
    default_model: str = Field(
        "ink",
        min_length=1,
        description="Model that GET /v1/models names as the default, if it is served",
    )
    strict: bool = Field(
        False,
        description="Stop at the start if any published folder is refused, instead of serving the rest",
    )
    management: bool = Field(
        False,
        description="Let callers list, load and unload models over the Open Inference Protocol; off, a 403",
    )
    cors_origin: Annotated[Texts, AfterValidator(_origins)] = Field(
        (),
        description="Origins whose pages may use the API: with commas, a flag each, or `*`; never management",
    )
    allowed_host: Annotated[Texts, AfterValidator(_hosts)] = Field(
        (),
        description="Known names in `Host`, with commas or a flag each; if any is given, others get a 403",
    )
    root_path: Annotated[str, AfterValidator(_root_path)] = Field(
        "", description="Path under which a proxy shows the service, such as /inkling"
    )
    keys: Path | None = Field(
        None,
        description="File of API keys, one line a client; `python -m service key NAME` makes one",
    )
    rate: float | None = Field(
        None,
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Requests per second of a client: an API key, or without `keys` an address; then a 429",
    )
    rate_burst: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="Requests of a client at once, before `rate` applies; off, those of one second",
    )
    rate_images: float | None = Field(
        None,
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Images per second of a client, in all its requests; then a 429",
    )
    rate_images_burst: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="Images of a client at once, and most of one request; off, those of one second",
    )
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Worker processes that share the port, each with models, threads and limits of its own",
    )
    engine_threads: int = Field(
        1,
        ge=1,
        le=64,
        description="Threads of one inference or explanation; more pays only for large batches",
    )
    worker_threads: int = Field(
        2, ge=1, le=64, description="Threads for large pictures and batches, beside the event loop"
    )
    max_waiting: int = Field(
        64, ge=0, description="Requests that may wait for a worker thread before others get a 503"
    )
    request_timeout_s: float = Field(
        30,
        gt=0,
        allow_inf_nan=False,
        description="Longest time for an answer once the body is there; then a 504",
    )
    header_timeout_s: float = Field(
        10,
        gt=0,
        allow_inf_nan=False,
        description="Longest time for a request's head to arrive; then the connection ends",
    )
    body_timeout_s: float = Field(
        30, gt=0, allow_inf_nan=False, description="Longest time for a request's body to arrive; then a 408"
    )
    keep_alive_s: int = Field(
        30, gt=0, description="How long an idle connection is kept for another request, at least"
    )
    write_timeout_s: float = Field(
        10,
        gt=0,
        allow_inf_nan=False,
        description="Over how long the rate is measured at which a client takes a response",
    )
    min_send_rate: int = Field(
        1024,
        ge=0,
        description="Bytes a second that a client must take of a response, measured over `write_timeout_s`; "
        "a slower one is cut off",
    )
    lame_duck_s: float = Field(
        0,
        ge=0,
        allow_inf_nan=False,
        description="How long after SIGTERM the service still accepts requests while it is not ready",
    )
    drain_timeout_s: float = Field(
        1.5, ge=0, allow_inf_nan=False, description="How long a stopping process lets running requests finish"
    )
    max_connections: int = Field(
        512,
        ge=1,
        description="Open connections; for one more the oldest idle one is closed, or it gets a 503",
    )
    max_connections_per_client: int | None = Field(
        None,
        ge=1,
        description="Open connections of one client address; for one more its oldest idle one is closed, or "
        "it gets a 503; if it is not "
        "set, all but 8 of `max_connections`",
    )
    trusted_proxy: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_split)] = Field(
        (),
        description="Addresses or networks of proxies, joined by commas: their connections are not limited, "
        "and the client's address is taken from their `forwarded_header`",
    )
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = Field(
        "x-forwarded-for",
        description="Header in which `trusted_proxy` names the client: `x-forwarded-for` or `forwarded`; the "
        "other one is ignored",
    )
    max_head_bytes: int = Field(
        32_768, ge=1024, description="Size of a request's line and headers; above it a 431"
    )
    max_body_bytes: int = Field(
        16 * 2**20, ge=1024, description="Size of a request's body, counted while it arrives"
    )
    max_pending_bytes: int = Field(
        128 * 2**20, ge=1024, description="All bodies being read or answered together; one more gets a 503"
    )
    max_cached_bytes: int = Field(
        32 * 2**20,
        ge=0,
        description="Rendered answers that are kept for later: weights, pictures, reports, documentation; "
        "part of max_pending_bytes, and dropped when requests need it",
    )
    max_images: int = Field(
        4096,
        ge=1,
        description="Images of 28 x 28 in one request; of larger ones as many as hold no more numbers",
    )
    max_picture_pixels: int = Field(
        16_000_000,
        ge=784,
        description="Pixels of all pictures in a request, read before decoding them; four of a JPEG of one "
        "scan count as one",
    )
    max_points: int = Field(10_000, ge=1, description="Points of a drawing sent as strokes")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log lines that are written"
    )
    access_log: bool = Field(True, description="Write one line for every request")


class BadSettings(ValueError):
    """A setting cannot be what it was set to; the message is one line that names it."""


def load(arguments: Sequence[str] | None = None) -> Settings:
    """Read the settings.

    Args:
        arguments: The command line without the program's name; None reads the environment and `.env`
            alone.

    Returns:
        The settings, frozen.

    Raises:
        BadSettings: A value is not what it should be.
        SystemExit: `--help` was asked for, or the command line has an unknown flag.
    """
    source = None
    if arguments is not None:
        source = CliSettingsSource[Settings](
            Settings,
            cli_prog_name="python -m service",
            cli_parse_args=list(arguments),
            cli_kebab_case=True,
            cli_implicit_flags=True,
            cli_hide_none_type=True,
            cli_avoid_json=True,
        )
    try:
        return Settings(_cli_settings_source=source) if source else Settings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"])
        raise BadSettings(
            f"{ENVIRONMENT_PREFIX}{name.upper()} (--{name.replace('_', '-')}): "
            f"{first['msg']}; got {first['input']!r}."
        ) from error
    except SettingsError as error:
        raise BadSettings(str(error)) from error
