"""gRPC as the benchmark speaks it: one call, and the load, since wrk knows HTTP/1.1 alone.

The load is a program of its own, `python -m bench.calls`. It is written in Python: where it is slower than
the server, it limits the figure.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import grpc

RpcError = grpc.RpcError

_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # else all channels share one connection
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)
_PATIENCE_S = 10


def ask(port: int, path: str, body: bytes) -> bytes:
    """Call a method of a server on 127.0.0.1 with a message as bytes, and return its answer's.

    Raises:
        RpcError: It does not answer, or with an error.
    """
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        answer: bytes = channel.unary_unary(path)(body, timeout=_PATIENCE_S)
        return answer


async def _load(
    port: int, path: str, bodies: Sequence[bytes], connections: int, seconds: float
) -> dict[str, float]:
    """Call a server for some time, over and over, and return what was counted, as `load.Load` has it."""
    times: list[float] = []
    errors = 0
    began = time.perf_counter()

    async def call(start: int) -> None:
        nonlocal errors
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
            method = channel.unary_unary(path)
            number = start
            while (asked := time.perf_counter()) < began + seconds:
                number += 1
                try:
                    await method(bodies[number % len(bodies)], timeout=_PATIENCE_S)
                except grpc.RpcError:
                    errors += 1
                else:
                    times.append(time.perf_counter() - asked)

    await asyncio.gather(*(call(start) for start in range(connections)))
    took = time.perf_counter() - began
    times.sort()
    p50_us, p99_us = (round(1e6 * times[int(part * len(times))]) if times else 0 for part in (0.5, 0.99))
    return {
        "requests": len(times),
        "seconds": took,
        "p50_us": p50_us,
        "p99_us": p99_us,
        "errors": errors,
    }


def main() -> None:
    """Print what was counted, as wrk's script does."""
    parser = argparse.ArgumentParser(prog="python -m bench.calls", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True, help="of the method")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("bodies", nargs="+", type=Path, help="files with messages, sent one after the other")
    asked = parser.parse_args()
    bodies = [path.read_bytes() for path in asked.bodies]
    counted = asyncio.run(_load(asked.port, asked.path, bodies, asked.connections, asked.seconds))
    sys.stdout.write(json.dumps(counted) + "\n")


if __name__ == "__main__":
    main()
