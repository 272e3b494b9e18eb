"""Other model servers: what each needs, how it is started, and how it is asked."""

import dataclasses
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import cases, servers
from bench.cases import Engine, Request
from bench.servers import Server

RIVALS = Path(__file__).parent / "rivals"
CASES = ("json", "raw", "v2_json", "v2_binary")

_VERSIONS = """
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


@dataclass(frozen=True)
class Asked:
    """How a peer is asked a case.

    Attributes:
        path: What to POST to.
        answer: The form of the answer, one of `cases.ANSWERS`.
        content_type: Of the body, where the peer takes Inkling's for something else.
    """

    path: str
    answer: str
    content_type: str | None = None


@dataclass(frozen=True)
class Peer:
    """A model server, as its folder describes it.

    Attributes:
        folder: With `rival.toml`, `requirements.txt` and `server.py`.
        title: What its makers call it.
        packages: Those whose versions are told.
        programs: That must be installed beside Python's packages.
        settings: Ways to run it, each measured as a server of its own.
        asked: How it is asked, by case.
    """

    folder: Path
    title: str
    packages: tuple[str, ...]
    programs: tuple[str, ...]
    settings: tuple[str, ...]
    asked: dict[str, Asked]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def servers(self, home: Path) -> list[Server]:
        """Return it in each of its settings, where its environment is in a folder of `home`."""
        program = self.folder.resolve() / "server.py"
        python = str(_python(home / self.name))
        model = str(servers.newest("mlp-128").resolve())
        return [
            Server(
                f"{self.name}-{setting}",
                (python, str(program), "--model", model, "--setting", setting),
                self.request,
                is_peer=True,
            )
            for setting in self.settings
        ]

    def request(self, case: str, count: int, model: str, engine: Engine) -> Request | None:
        """Return Inkling's bodies of a case, to a path of the peer's; None if it does not take the case."""
        if case not in self.asked:
            return None
        how = self.asked[case]
        same = cases.inkling(case, count, model, engine)
        headers = same.headers if how.content_type is None else {"Content-Type": how.content_type}
        return dataclasses.replace(same, path=how.path, headers=headers, read=cases.ANSWERS[how.answer])


def find() -> dict[str, Peer]:
    """Return every peer that has a folder, by name."""
    return {path.parent.name: _read(path) for path in sorted(RIVALS.glob("*/rival.toml"))}


def _read(path: Path) -> Peer:
    described = tomllib.loads(path.read_text())
    return Peer(
        path.parent,
        described["title"],
        tuple(described["packages"]),
        tuple(described.get("programs", ())),
        tuple(described["settings"]),
        {case: Asked(**how) for case, how in described["cases"].items()},
    )


def install(peer: Peer, home: Path) -> dict[str, str]:
    """Make a peer's environment, unless it is there as its requirements say; return its versions.

    Raises:
        RuntimeError: It cannot be had here.
    """
    for program in peer.programs:
        if shutil.which(program) is None:
            raise RuntimeError(f"It needs {program}, which is not installed.")
    environment = home / peer.name
    requested_output = (peer.folder / "requirements.txt").read_text()
    stamp = environment / "installed.txt"
    if not stamp.is_file() or stamp.read_text() != requested_output:
        _say([sys.executable, "-m", "venv", "--clear", str(environment)])
        pip = [str(_python(environment)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _say([*pip, "-r", str(peer.folder / "requirements.txt")])
        stamp.write_text(requested_output)
    versions: dict[str, str] = json.loads(_say([str(_python(environment)), "-c", _VERSIONS, *peer.packages]))
    return versions


def _python(environment: Path) -> Path:
    return environment / "bin" / "python"


def _say(command: Sequence[str]) -> str:
    """Return what a command printed; quote what it complained of if it failed."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} … failed: {ran.stderr.strip()[-300:]}")
    return ran.stdout
