"""Every setting of the service, with its default, its unit and its meaning.

Read once from the command line, the environment (prefix `INKLING_`) and a file `.env`, in this order
of precedence, and then frozen. Nothing else in the service reads the environment.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, CliSettingsSource, SettingsConfigDict, SettingsError

ENVIRONMENT_PREFIX = "INKLING_"


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
    tls_cert: Path | None = Field(
        None,
        description="PEM file of a certificate and its chain: serve with TLS; read again when it changes",
    )
    tls_key: Path | None = Field(
        None,
        validate_default=True,
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
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that share the port, each with models, threads and limits of its own",
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
        description="How long a caller may take nothing of an answer; then the connection ends",
    )
    drain_timeout_s: float = Field(
        1.5, ge=0, allow_inf_nan=False, description="How long a stopping process lets running requests finish"
    )
    max_connections: int = Field(512, ge=1, description="Open connections; one more gets a 503 and is closed")
    max_head_bytes: int = Field(
        32_768, ge=1024, description="Size of a request's line and headers; above it a 431"
    )
    max_body_bytes: int = Field(
        16 * 2**20, ge=1024, description="Size of a request's body, counted while it arrives"
    )
    max_pending_bytes: int = Field(
        128 * 2**20, ge=1024, description="All bodies being read or answered together; one more gets a 503"
    )
    max_images: int = Field(
        4096,
        ge=1,
        description="Images of 28 x 28 in one request; of larger ones as many as hold no more numbers",
    )
    max_picture_pixels: int = Field(
        16_000_000, ge=784, description="Pixels of all pictures in a request, read before decoding them"
    )
    max_points: int = Field(10_000, ge=1, description="Points of a drawing sent as strokes")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log lines that are written"
    )
    access_log: bool = Field(True, description="Write one line for every request")

    @field_validator("tls_key")
    @classmethod
    def _is_with_its_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if (key is None) != (info.data.get("tls_cert") is None):
            raise ValueError("should be set together with tls_cert")
        return key


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
