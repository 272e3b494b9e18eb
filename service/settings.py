"""Settings of the service, with default, unit and description.

They are read once, from the command line, the environment (prefix `INKLING_`) and a file `.env`, in this
order of precedence. Nothing else in the service reads the environment.
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
_PIN = re.compile(r"[a-z0-9][a-z0-9-]{0,63}/[1-9][0-9]{0,8}")
_ROOT_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_RESERVED_SEGMENTS = ("docs", "metrics", "openapi.json", "livez", "readyz", "static", "v1", "v2")
"""First segments of the service's paths."""


def _split(value: object) -> object:
    """Split a text at commas; return any other value unchanged."""
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Several values: separated by commas, or one flag each on the command line."""


def _without_unit(value: object) -> object:
    """Remove the unit of a rate such as `100/s`; return any other value unchanged."""
    return value.removesuffix("/s") if isinstance(value, str) else value


PerSecond = Annotated[float, BeforeValidator(_without_unit)]
"""Rate per second: `100` or `100/s`."""


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    if values == (ANY_ORIGIN,):
        return values
    return tuple(dict.fromkeys(_origin(text.lower()) for text in values))


def _origin(text: str) -> str:
    """Return an origin as browsers send it: in lower case, without the default port."""
    found = _ORIGIN.fullmatch(text)
    if found is None:
        expected = "each should be scheme://host or scheme://host:port without a path, or * alone"
        raise PydanticCustomError("origin", "{expected}", {"expected": expected})
    return text.removesuffix({"http": ":80", "https": ":443"}.get(found[1], ":"))


def _hosts(values: tuple[str, ...]) -> tuple[str, ...]:
    if not all(re.fullmatch(_HOST, text.lower()) for text in values):
        expected = "each should be host or host:port, without a scheme; an IPv6 address in brackets"
        raise PydanticCustomError("host", "{expected}", {"expected": expected})
    return tuple(dict.fromkeys(text.lower() for text in values))


def _pins(values: tuple[str, ...]) -> tuple[str, ...]:
    names = [value.partition("/")[0] for value in values]
    if not all(map(_PIN.fullmatch, values)) or len(set(names)) < len(names):
        expected = "each should be a model and a version such as mlp-128/2, one per model"
        raise PydanticCustomError("pin", "{expected}", {"expected": expected})
    return values


def _root_path(value: str) -> str:
    segments = value.split("/")[1:]
    is_path = _ROOT_PATH.fullmatch(value) and not {".", ".."} & set(segments)
    if value and (not is_path or segments[0] in _RESERVED_SEGMENTS):
        expected = "should be a path such as /inkling: no slash at the end, none of the service's own paths"
        raise PydanticCustomError("root_path", "{expected}", {"expected": expected})
    return value


class Settings(BaseSettings):
    """Settings of the service; frozen."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_file=".env",
        frozen=True,
        extra="ignore",  # .env may have settings of other programs, such as INKLING_DATA of the trainer
    )

    host: str = Field(
        "127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 for all addresses"
    )
    port: int = Field(8000, ge=0, le=65535, description="Port for HTTP; 0 selects a free port")
    grpc_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port for gRPC, on the same address; 0 selects a free port; needs the extra `grpc`",
    )
    admin_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port for operators, on the same address: `/livez`, `/readyz`, `/metrics` and "
        "management, on a thread and event loop of their own; 0 selects a free port",
    )
    tls_cert: Path | None = Field(
        None,
        description="PEM file of the TLS certificate and its chain; read again when it changes",
    )
    tls_key: Path | None = Field(
        None,
        description="PEM file of the certificate's private key; set together with `tls_cert`",
    )
    models: Path = Field(Path("models"), description="Folder of published models")
    default_model: str = Field(
        "ink",
        min_length=1,
        description="Model that GET /v1/models returns as the default, if it is served",
    )
    pin: Annotated[CommaSeparated, AfterValidator(_pins)] = Field(
        (),
        description="Versions that answer requests without a version, such as mlp-128/2, in place of the "
        "newest; they go before those in the file `PINS` of the models folder, which is read at a reload too",
    )
    strict: bool = Field(
        False,
        description="Exit at startup if a published folder is refused, instead of serving the other models",
    )
    management: bool = Field(
        False,
        description="Allow clients to list, load and unload models over the Open Inference Protocol; else "
        "they get a 403",
    )
    cors_origin: Annotated[CommaSeparated, AfterValidator(_origins)] = Field(
        (),
        description="CORS: origins whose pages may use the API, except management; `*` allows all origins",
    )
    allowed_host: Annotated[CommaSeparated, AfterValidator(_hosts)] = Field(
        (),
        description="Accepted values of the header `Host`; if any is given, requests with other values get "
        "a 403",
    )
    root_path: Annotated[str, AfterValidator(_root_path)] = Field(
        "", description="Path prefix under which a proxy publishes the service, such as /inkling"
    )
    keys: Path | None = Field(
        None,
        description="File of API keys, one line per client; `python -m service key NAME` generates a line",
    )
    rate: PerSecond | None = Field(
        None,
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Rate limit: requests per second of a client (an API key, or without `keys` an "
        "address), such as `100` or `100/s`; above it a 429",
    )
    rate_burst: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="Burst of requests of a client before `rate` applies; default: the requests of one "
        "second",
    )
    rate_images: PerSecond | None = Field(
        None,
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Rate limit: images per second of a client, such as `5000/s`; above it a 429",
    )
    rate_images_burst: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        description="Burst of images of a client, and maximum of one request; default: the images of one "
        "second",
    )
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Worker processes; each has its own models, threads and limits",
    )
    engine_threads: int = Field(
        1,
        ge=1,
        le=64,
        description="Threads of one inference or explanation; more than 1 helps only with large batches",
    )
    worker_threads: int = Field(
        2,
        ge=1,
        le=64,
        description="Threads of the thread pool, which runs long requests: large pictures and batches",
    )
    max_waiting: int = Field(
        64, ge=0, description="Requests that may wait for the thread pool; further ones get a 503"
    )
    request_timeout_s: float = Field(
        30,
        gt=0,
        allow_inf_nan=False,
        description="Maximum time from the end of a request's body to the response; then a 504",
    )
    header_timeout_s: float = Field(
        10,
        gt=0,
        allow_inf_nan=False,
        description="Maximum time to receive a request's head; then the connection is closed",
    )
    body_timeout_s: float = Field(
        30, gt=0, allow_inf_nan=False, description="Maximum time to receive a request's body; then a 408"
    )
    keep_alive_s: int = Field(30, gt=0, description="Minimum time that an idle connection is kept open")
    write_timeout_s: float = Field(
        10,
        gt=0,
        allow_inf_nan=False,
        description="Time over which `min_send_rate` is measured",
    )
    min_send_rate: int = Field(
        1024,
        ge=0,
        description="Minimum rate at which a client must read a response, in bytes per second; the "
        "connection of a slower client is closed",
    )
    lame_duck_s: float = Field(
        0,
        ge=0,
        allow_inf_nan=False,
        description="Lame duck period: time after SIGTERM in which the service still serves but is unready",
    )
    drain_timeout_s: float = Field(
        1.5,
        ge=0,
        allow_inf_nan=False,
        description="Maximum time that a stopping process waits for running requests",
    )
    max_connections: int = Field(
        512,
        ge=1,
        description="Maximum number of open connections; a further one replaces the oldest idle one, or "
        "gets a 503",
    )
    max_connections_per_client: int | None = Field(
        None,
        ge=1,
        description="Maximum number of open connections of one client address; a further one replaces its "
        "oldest idle one, or gets a 503; default: `max_connections` minus 8",
    )
    trusted_proxy: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_split)] = Field(
        (),
        description="Addresses or networks of proxies: their connections are not limited per client, and "
        "the client's address is read from `forwarded_header`",
    )
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = Field(
        "x-forwarded-for",
        description="Header with the client's address from `trusted_proxy`: `x-forwarded-for` or "
        "`forwarded`; the other one is ignored",
    )
    max_head_bytes: int = Field(
        32_768, ge=1024, description="Maximum size of a request's line and headers; above it a 431"
    )
    max_body_bytes: int = Field(
        16 * 2**20, ge=1024, description="Maximum size of a request's body; above it a 413"
    )
    max_pending_bytes: int = Field(
        128 * 2**20,
        ge=1024,
        description="Memory budget of all requests and responses in progress; further requests get a 503",
    )
    max_cached_bytes: int = Field(
        32 * 2**20,
        ge=0,
        description="Size of the response cache for weights, pictures, reports and documentation; part of "
        "`max_pending_bytes`, and freed when requests need memory",
    )
    max_images: int = Field(
        4096,
        ge=1,
        description="Maximum number of images of 28 x 28 in one request; for larger images the limit "
        "shrinks in proportion to their size",
    )
    max_picture_pixels: int = Field(
        16_000_000,
        ge=784,
        description="Maximum number of pixels of all pictures in a request; checked before decoding. "
        "Four pixels of a baseline JPEG count as one",
    )
    max_points: int = Field(10_000, ge=1, description="Maximum number of points of a drawing sent as strokes")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged"
    )
    access_log: bool = Field(True, description="Write a log line for every request")


class BadSettings(ValueError):
    """A setting is not valid; the message is one line that names it."""


def load(arguments: Sequence[str] | None = None, program: str = "python -m service") -> Settings:
    """Read the settings.

    Args:
        arguments: The command line without the program's name; None for none.
        program: Name of the program, for its help.

    Raises:
        BadSettings: A value is not valid.
        SystemExit: `--help` was given, or an unknown flag.
    """
    source = None
    if arguments is not None:
        source = CliSettingsSource[Settings](
            Settings,
            cli_prog_name=program,
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
