import os
import re
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_core import PydanticUndefined

from service import settings
from service.settings import BadSettings, Settings
from tests.processes import python

FIELDS = Settings.model_fields


@pytest.fixture(autouse=True)
def _nothing_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use an empty working directory, and no setting in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith(settings.ENVIRONMENT_PREFIX):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_has_a_default_and_a_description(name: str) -> None:
    field = FIELDS[name]

    assert field.default is not PydanticUndefined
    assert field.description


@pytest.mark.parametrize("name", [name for name in FIELDS if "timeout" in name or "keep" in name])
def test_names_of_durations_have_their_unit(name: str) -> None:
    """Seconds."""
    assert name.endswith("_s")


def test_defaults_are_safe() -> None:
    """The service is reachable from this machine only, and every limit is on."""
    defaults = settings.load()

    assert defaults.host == "127.0.0.1"
    assert defaults.models == Path("models")
    assert not defaults.management
    limits = (defaults.max_body_bytes, defaults.max_images, defaults.max_picture_pixels, defaults.max_points)
    assert all(0 < limit < 10**8 for limit in limits)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the prefix, in upper or lower case."""
    monkeypatch.setenv("INKLING_PORT", "9000")
    monkeypatch.setenv("inkling_strict", "true")

    found = settings.load([])

    assert (found.port, found.strict) == (9000, True)


def test_variables_without_the_prefix_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9000")
    monkeypatch.setenv("HOST", "0.0.0.0")

    found = settings.load([])

    assert (found.host, found.port) == ("127.0.0.1", 8000)


def test_a_dotenv_file_is_read(tmp_path: Path) -> None:
    """From the working directory; settings of other programs are ignored."""
    (tmp_path / ".env").write_text("INKLING_PORT=9001\nINKLING_DATA=/data\nOTHER=1\n")

    assert settings.load([]).port == 9001


def test_the_command_line_is_read() -> None:
    """With dashes instead of underscores; a switch has a flag for off."""
    found = settings.load(["--port", "9002", "--max-images=7", "--strict", "--no-access-log"])

    assert (found.port, found.max_images, found.strict, found.access_log) == (9002, 7, True, False)


def test_the_command_line_overrides_the_environment_and_that_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("INKLING_PORT=1\nINKLING_MAX_IMAGES=1\nINKLING_MAX_POINTS=1\n")
    monkeypatch.setenv("INKLING_PORT", "2")
    monkeypatch.setenv("INKLING_MAX_IMAGES", "2")

    found = settings.load(["--port", "3"])

    assert (found.port, found.max_images, found.max_points) == (3, 2, 1)


def test_settings_can_be_read_without_a_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For programs that embed the service."""
    (tmp_path / ".env").write_text("INKLING_MAX_IMAGES=5\n")
    monkeypatch.setenv("INKLING_PORT", "2")
    monkeypatch.setattr(sys, "argv", ["pytest", "--port", "3"])

    found = settings.load()

    assert (found.port, found.max_images) == (2, 5)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--cors-origin", "https://page.example", "--cors-origin", "http://localhost:3000"],
        ["--cors-origin", "https://page.example,http://localhost:3000"],
        ["--cors-origin=HTTPS://Page.example:443, http://localhost:3000,https://page.example"],
    ],
)
def test_several_values_are_separated_by_commas_or_have_a_flag_each(
    arguments: list[str],
) -> None:
    """Without duplicates."""
    assert settings.load(arguments).cors_origin == ("https://page.example", "http://localhost:3000")


@pytest.mark.parametrize("value", ["*", "http://[::1]:3000", "moz-extension://0a-1b"])
def test_valid_origins_are_kept(value: str) -> None:
    """All origins, an address, a browser's extension."""
    assert settings.load(["--cors-origin", value]).cors_origin == (value,)


def test_hosts_and_the_root_path_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts in lower case."""
    monkeypatch.setenv("INKLING_ALLOWED_HOST", "Inkling.example, door.example:8443")
    monkeypatch.setenv("INKLING_ROOT_PATH", "/tools/inkling")

    found = settings.load([])

    assert found.allowed_host == ("inkling.example", "door.example:8443")
    assert found.root_path == "/tools/inkling"


BAD = [
    ("port", "many"),
    ("port", "70000"),
    ("port", "-1"),
    ("port", ""),
    ("engine_threads", "0"),
    ("max_waiting", "-1"),
    ("request_timeout_s", "0"),
    ("request_timeout_s", "nan"),
    ("strict", "perhaps"),
    ("log_level", "loud"),
    ("max_images", "1.5"),
    ("cors_origin", "page.example"),
    ("cors_origin", "https://page.example/"),
    ("cors_origin", "https://page.example/app"),
    ("cors_origin", "https://page.example,*"),
    ("cors_origin", "null"),
    ("cors_origin", "file://"),
    ("cors_origin", "https://user@page.example"),
    ("cors_origin", "https://*.page.example"),
    ("allowed_host", "http://inkling.example"),
    ("allowed_host", "inkling.example/"),
    ("allowed_host", "*"),
    ("allowed_host", "::1"),
    ("root_path", "inkling"),
    ("root_path", "/"),
    ("root_path", "/inkling/"),
    ("root_path", "/a//b"),
    ("root_path", "/a/../b"),
    ("root_path", "/ä"),
    ("root_path", "/v2"),
    ("root_path", "/docs/inkling"),
]


@pytest.mark.parametrize(
    ("source", "name", "value"),
    [
        (source, name, value)
        for source in ("environment", "file", "command line")
        for name, value in BAD
        if (source, name) != ("command line", "strict")  # a switch takes no value there
    ],
)
def test_an_invalid_value_is_reported_with_variable_flag_and_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, name: str, value: str
) -> None:
    """
    Wherever it stands, and both ways to set it are named.
    """
    variable, flag = f"INKLING_{name.upper()}", f"--{name.replace('_', '-')}"
    arguments = []
    if source == "environment":
        monkeypatch.setenv(variable, value)
    elif source == "file":
        (tmp_path / ".env").write_text(f"{variable}={value}\n")
    else:
        arguments = [f"{flag}={value}"]

    with pytest.raises(BadSettings) as caught:
        settings.load(arguments)
    message = str(caught.value)
    assert variable in message
    assert flag in message
    assert repr(value) in message
    assert "should" in message
    assert "\n" not in message


def test_a_value_with_line_breaks_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKLING_PORT", "80\n81\r82")

    with pytest.raises(BadSettings) as caught:
        settings.load([])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--colour", "red"], ["--port"], ["stray"]])
def test_an_unknown_flag_ends_the_program(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        settings.load(arguments)

    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_settings_are_frozen() -> None:
    found = settings.load()

    with pytest.raises(ValidationError, match="frozen"):
        found.port = 1  # type: ignore[misc]


def test_help_lists_every_setting_with_default_and_description() -> None:
    """It starts nothing."""
    done = python("-m", "service", "--help", COLUMNS="200")

    assert (done.returncode, done.stderr) == (0, "")
    words = " ".join(done.stdout.split())
    for name, field in FIELDS.items():
        flag = f"--{name.replace('_', '-')}"
        assert re.search(rf"{flag}\b", words)
        assert field.description
        assert " ".join(field.description.split()) in words
        assert f"default: {field.default}".rstrip() in words


def test_an_invalid_setting_ends_the_process_with_one_line(tmp_path: Path) -> None:
    """Status 2, no traceback."""
    done = python("-m", "service", "--port", "many", INKLING_MODELS=str(tmp_path))

    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("INKLING_PORT (--port): ")
    assert line.endswith("got 'many'.")
