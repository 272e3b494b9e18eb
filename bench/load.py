"""The load: wrk, with a script that sends one body after another; for gRPC `calls` in its place."""

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.cases import Request

_SCRIPT = """
local requests = {}
local next = 0

function init(args)
  for i = 1, COUNT do
    local file = assert(io.open("FOLDER/" .. i, "rb"))
    requests[i] = wrk.format("POST", "PATH", {HEADERS}, file:read("*a"))
    file:close()
  end
end

function request()
  next = next % #requests + 1
  return requests[next]
end

function done(summary, latency)
  local e = summary.errors
  print(string.format(
    '{"requests": %d, "seconds": %f, "p50_us": %d, "p99_us": %d, "errors": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What one run of the load counted.

    Attributes:
        requests: How many were answered.
        seconds: In how long.
        p50_us: Median of the times to an answer, in microseconds.
        p99_us: 99th percentile of them.
        errors: Connections and answers that failed, those of status 400 and more among them.
    """

    requests: int
    seconds: float
    p50_us: int
    p99_us: int
    errors: int


def is_installed() -> bool:
    """Tell whether wrk is there."""
    return shutil.which("wrk") is not None


def run(port: int, asked: Request, *, connections: int, seconds: float, core: int) -> Load:
    """Ask a server for some time, over and over.

    Args:
        port: Of a server on 127.0.0.1.
        asked: Its bodies are sent one after the other; no quotes in its headers.
        connections: Open at once, each waiting for its answer before it asks again.
        seconds: For how long; wrk takes whole ones.
        core: Where the load runs.

    Raises:
        ValueError: The load said something else than what was counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(number) for number in range(1, len(asked.bodies) + 1)]
        for file, body in zip(files, asked.bodies, strict=True):
            file.write_bytes(body)
        if asked.is_grpc:
            command = [sys.executable, "-m", "bench.calls", f"--port={port}", f"--path={asked.path}"]
            command += [f"--connections={connections}", f"--seconds={seconds:g}", *map(str, files)]
        else:
            script = Path(folder) / "wrk.lua"
            script.write_text(_script(asked, folder))
            command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s"]
            command += ["-s", str(script), f"http://127.0.0.1:{port}"]
        ran = subprocess.run(
            ["taskset", "-c", str(core), *command], capture_output=True, text=True, check=False
        )
    return parse(ran.stdout + ran.stderr)


def _script(asked: Request, folder: str) -> str:
    written = ", ".join(f'["{name}"] = "{value}"' for name, value in asked.headers.items())
    script = _SCRIPT.replace("COUNT", str(len(asked.bodies))).replace("FOLDER", folder)
    return script.replace("PATH", asked.path).replace("HEADERS", written)


def parse(printed: str) -> Load:
    """Read what the script printed among wrk's own words.

    Raises:
        ValueError: It is not there.
    """
    for line in printed.splitlines():
        if line.startswith('{"requests"'):
            return Load(**json.loads(line))
    raise ValueError(f"The load should print what it counted; got {printed[-300:]!r}.")
