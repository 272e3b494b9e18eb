"""How long the engines of a model's versions take, beside each other and without any server.

`python -m bench.engines ink` prints a table. Each version runs in turn, so that what else the machine does
falls on all of them alike; time is the processor's, one thread.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import numpy as np

from bench.cases import Engine

BATCHES = (1, 32, 64, 1000)

_ROUNDS = 15
_ROUND_S = 0.05
"""Of one version and batch in each round, or one run if that takes longer."""


def main() -> int:
    """Measure the engines of one model, and print them as a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.engines", description=__doc__)
    parser.add_argument("model", help="as it is published, of images of 28 x 28")
    parser.add_argument("--models", type=Path, default=Path("models"), help="the folder of what is published")
    arguments = parser.parse_args()
    folders = sorted((arguments.models / arguments.model).iterdir(), key=lambda folder: int(folder.name))
    engines = {folder.name: Engine(str(folder / "model.onnx")) for folder in folders}
    for line in table(measured(engines)):
        sys.stdout.write(line + "\n")
    return 0


def measured(
    engines: Mapping[str, Engine], rounds: int = _ROUNDS, clock: Callable[[], float] = time.process_time
) -> dict[str, dict[int, float]]:
    """Return by engine and batch the seconds of one run, medians over the rounds.

    Args:
        engines: By name.
        rounds: How often each has its turn.
        clock: Returns seconds.
    """
    found: dict[str, dict[int, float]] = {name: {} for name in engines}
    for batch in BATCHES:
        images = np.random.default_rng(0).integers(0, 256, (batch, 28, 28), np.uint8)
        times: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(rounds):
            for name, engine in engines.items():
                engine.run(images)
                runs, began = 0, clock()
                while runs == 0 or clock() - began < _ROUND_S:
                    engine.run(images)
                    runs += 1
                times[name].append((clock() - began) / runs)
        for name, each in times.items():
            found[name][batch] = median(each)
    return found


def table(found: Mapping[str, Mapping[int, float]]) -> list[str]:
    """Return the lines of a table: microseconds, and how many times as quick as the version before."""
    lines = ["| version | " + " | ".join(f"{batch:,} images, µs" for batch in BATCHES) + " |"]
    lines.append("|---" * (len(BATCHES) + 1) + "|")
    before: Mapping[int, float] | None = None
    for name, times in found.items():
        cells = [
            f"{1e6 * times[batch]:,.0f}" + (f" ({before[batch] / times[batch]:.2f} x)" if before else "")
            for batch in BATCHES
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        before = times
    return lines


if __name__ == "__main__":
    sys.exit(main())
