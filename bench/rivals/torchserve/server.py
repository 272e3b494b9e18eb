"""TorchServe: one worker with ONNX Runtime, one thread at its front, no access log."""

import argparse
import json
import os
import shutil
import socket
import sys
from pathlib import Path

BATCHING = {"plain": {"batchSize": 1}, "batching": {"batchSize": 32, "maxBatchDelay": 1}}
MANIFEST = {
    "runtime": "python",
    "model": {
        "modelName": "mlp-128",
        "modelVersion": "1.0",
        "handler": "handler.py",
        "serializedFile": "model.onnx",
        "configFile": "model-config.yaml",
    },
}
LOGGING = """<?xml version="1.0"?>
<Configuration>
  <Appenders><Console name="console"><PatternLayout pattern="%c %m%n"/></Console></Appenders>
  <Loggers><Root level="warn"><AppenderRef ref="console"/></Root></Loggers>
</Configuration>
"""


def prepare(model: str, port: int, setting: str) -> list[str]:
    """Write what TorchServe reads into the working directory, and return its arguments."""
    here = Path.cwd()
    archive = here / "store" / "mlp-128"
    (archive / "MAR-INF").mkdir(parents=True)
    (archive / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(MANIFEST))
    shutil.copy(model, archive / "model.onnx")
    shutil.copy(Path(__file__).with_name("handler.py"), archive)
    settings = {"minWorkers": 1, "maxWorkers": 1, "responseTimeout": 60, **BATCHING[setting]}
    (archive / "model-config.yaml").write_text(json.dumps(settings))  # JSON is YAML
    addresses = {"inference": port, "management": _free_port(), "metrics": _free_port()}
    (here / "config.properties").write_text(
        "".join(f"{name}_address=http://127.0.0.1:{number}\n" for name, number in addresses.items())
        + "grpc_inference_port=0\ngrpc_management_port=0\n"
        + "number_of_netty_threads=1\nnetty_client_threads=1\njob_queue_size=1000\n"
        + "disable_system_metrics=true\nenable_envvars_config=false\n"
    )
    (here / "log4j2.xml").write_text(LOGGING)
    return [
        *("--start", "--foreground", "--no-config-snapshots", "--disable-token-auth"),
        *("--ts-config", str(here / "config.properties"), "--log-config", str(here / "log4j2.xml")),
        *("--model-store", str(here / "store"), "--models", "mlp-128=mlp-128"),
    ]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--setting", choices=BATCHING, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    command = prepare(arguments.model, arguments.port, arguments.setting)
    folder = Path(sys.executable).parent
    # Its own number is kept in TMPDIR; its worker finds Python by PATH.
    environment = {**os.environ, "TMPDIR": str(Path.cwd()), "PATH": f"{folder}:{os.environ['PATH']}"}
    os.execve(folder / "torchserve", ["torchserve", *command], environment)
