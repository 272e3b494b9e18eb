"""`clients/typescript`: types generated from the service's OpenAPI document, and the client on them."""

import shutil
import subprocess
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests import digits
from tests.conftest import REPOSITORY
from tests.processes import clean_environment, running

SOURCE = REPOSITORY / "clients/typescript"

HERE = Path(__file__).parent

PATIENCE_S = 300


def run(folder: Path, *command: str | Path) -> str:
    """Run a program, which must succeed; return what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=clean_environment(NO_PROXY="127.0.0.1"),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(client: TestClient, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the client, with types generated from the service's document, and compiled."""
    if shutil.which("node") is None or not (SOURCE / "node_modules/.installed").exists():
        pytest.skip("Node.js or the packages of clients/typescript are not installed; `make test` does so")
    folder = tmp_path_factory.mktemp("typescript")
    for name in ("client.ts", "tsconfig.json", "package.json"):
        shutil.copy(SOURCE / name, folder)
    (folder / "node_modules").symlink_to(SOURCE / "node_modules")
    (folder / "openapi.json").write_bytes(client.get("/openapi.json").content)
    printed = run(folder, "node_modules/.bin/openapi-typescript", "openapi.json", "-o", "schema.d.ts")
    assert "warn" not in printed.lower(), printed
    assert run(folder, "node_modules/.bin/tsc") == ""
    return folder


def test_types_of_every_variant_have_a_name(built: Path) -> None:
    types = (built / "schema.d.ts").read_text("utf-8")

    for name in ("ImageBody", "PixelImage", "UnitImages", "NestedPixels", "Base64Picture", "Instance"):
        assert f"        {name}: " in types


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ('predict("ink", { image: "" }, { top: "3" })', "not assignable"),
        ('predict("ink", { picture: "" })', "'picture' does not exist"),
        ('predict("ink", { image: [[0]], scale: "bytes" })', "not assignable"),
        ('probabilities("ink", { strokes: [] }, { include: ["nothing"] })', "not assignable"),
        ("models().then((found) => found.modells)", "Property 'modells' does not exist"),
    ],
)
def test_mistakes_are_found_by_the_compiler(built: Path, call: str, complaint: str) -> None:
    program = f'import {{ Inkling }} from "./client.js";\nawait new Inkling("").{call};\n'
    (built / "mistake.ts").write_text(program, "utf-8")
    options = ("--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom")

    done = subprocess.run(
        [built / "node_modules/.bin/tsc", *options, "mistake.ts"],
        cwd=built,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert complaint in done.stdout


def test_client_understands_the_service(built: Path, published: Path) -> None:
    """
    Every method, every kind of images, and errors, against a service process.
    """
    digits.canvas(digits.DIGITS["7"][0]).save(built / "seven.png")
    shutil.copy(HERE / "use_client.mjs", built)

    with running(published, "--no-access-log") as process:
        run(built, "node", "use_client.mjs", f"http://127.0.0.1:{process.port}")
