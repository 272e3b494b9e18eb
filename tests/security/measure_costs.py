"""Measures the memory of the costliest bodies in a service process: the figures of docs/how-to/memory.md.

    python -m tests.security.measure_costs [PART OF A NAME]

Each is sent alone to a process of its own, with every published model loaded and warm; what counts is the
peak of the process's memory above what it had before. Linux alone.
"""

import sys

from service.memory import costs
from tests.security import costly
from tests.security.bodies import everything


def main(requested_output: str) -> None:
    """Measure every body whose name contains a text; print a line for each."""
    print(f"{'body':52} {'MB':>6} {'peak MB':>8} {'factor':>7} {'kept MB':>8} status")
    for one in everything():
        if requested_output not in one.name:
            continue
        body = one.make()
        with costly.serving("--max-pending-bytes", str(2**30)) as service:
            costly.forget_peak(service)
            before, _ = costly.memory(service)
            status = costly.post(service, one, body)
            now, peak = costly.memory(service)
        counted = costs.BodyCost.of(one.content_type, one.headers.get("Content-Encoding", ""))(len(body))
        print(
            f"{one.name[:52]:52} {len(body) / 1e6:6.2f} {(peak - before) / 1e6:8.1f} "
            f"{(peak - before) / len(body):7.2f} {(now - before) / 1e6:8.1f} {status} "
            f"counted for the body {counted / 1e6:.1f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]))
