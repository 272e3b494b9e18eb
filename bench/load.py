"""The load: wrk, with a script that sends one body after another."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    """What one run of wrk counted.

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


def run(
    url: str,
    path: str,
    headers: Mapping[str, str],
    bodies: Sequence[bytes],
    *,
    connections: int,
    seconds: float,
    core: int,
) -> Load:
    """Ask a server for some time, over and over.

    Args:
        url: Scheme, host and port.
        path: What to POST to.
        headers: To send with every body; no quotes in them.
        bodies: Sent one after the other, at least one.
        connections: Open at once, each waiting for its answer before it asks again.
        seconds: For how long; wrk takes whole ones.
        core: Where wrk runs.

    Raises:
        ValueError: wrk said something else than what was counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        for number, body in enumerate(bodies, start=1):
            (Path(folder) / str(number)).write_bytes(body)
        written = ", ".join(f'["{name}"] = "{value}"' for name, value in headers.items())
        script = _SCRIPT.replace("COUNT", str(len(bodies))).replace("FOLDER", folder)
        script = script.replace("PATH", path).replace("HEADERS", written)
        (Path(folder) / "wrk.lua").write_text(script)
        command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s"]
        ran = subprocess.run(
            [*command, "--timeout", "10s", "-s", f"{folder}/wrk.lua", url],
            capture_output=True,
            text=True,
            check=False,
        )
    return parse(ran.stdout + ran.stderr)


def parse(printed: str) -> Load:
    """Read what the script printed among wrk's own words.

    Raises:
        ValueError: It is not there.
    """
    for line in printed.splitlines():
        if line.startswith('{"requests"'):
            return Load(**json.loads(line))
    raise ValueError(f"wrk should print what it counted; got {printed[-300:]!r}.")
