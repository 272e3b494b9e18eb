"""Where the processor's time of one request goes: what the service counted, divided; pure."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

_ALONE = ("decode", "prepare", "encode")
"""Phases in which the process does nothing else."""

_WAITED = ("read", "queue")
"""Phases in which it answers others."""

_SUM = re.compile(r'^inkling_phase_seconds_sum\{phase="(\w+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Counted:
    """What Inkling has counted of its requests since it began.

    Attributes:
        requests: How many asked the model.
        executions: How often it ran.
        infer_s: How long it ran, once for every run.
        phases_s: Seconds by phase, of all requests.
    """

    requests: int
    executions: int
    infer_s: float
    phases_s: dict[str, float]

    @classmethod
    def of(cls, metrics: str, statistics: str) -> "Counted":
        """Read the answers of `/metrics` and of the model's statistics, in the open protocol's words."""
        counted = [
            record
            for record in json.loads(statistics)["model_stats"]
            if record["inference_stats"]["success"]["count"]
        ]
        return cls(
            sum(record["inference_stats"]["success"]["count"] for record in counted),
            sum(record["execution_count"] for record in counted),
            sum(batch["compute_infer"]["ns"] / 1e9 for record in counted for batch in record["batch_stats"]),
            {phase: float(seconds) for phase, seconds in _SUM.findall(metrics)},
        )

    def since(self, before: "Counted") -> "Counted":
        """Return what was counted after an earlier moment."""
        return Counted(
            self.requests - before.requests,
            self.executions - before.executions,
            self.infer_s - before.infer_s,
            {phase: seconds - before.phases_s.get(phase, 0.0) for phase, seconds in self.phases_s.items()},
        )


@dataclass(frozen=True)
class Split:
    """Where the time of one request went.

    Attributes:
        case: How it was asked.
        connections: Open at once.
        together: Requests that ran through the network together, on average.
        cpu_us: Processor time of a request, in microseconds.
        bare_us: That of the bare transport, for the same bytes.
        quiet_us: That of Inkling without its access log.
        phases_us: Microseconds by phase: of the processor, or by the clock for those of `_WAITED`.
    """

    case: str
    connections: int
    together: float
    cpu_us: float
    bare_us: float
    quiet_us: float
    phases_us: dict[str, float]

    @property
    def observe_us(self) -> float:
        """What the access log costs."""
        return self.cpu_us - self.quiet_us

    @property
    def framework_us(self) -> float:
        """What is left: whatever is between the transport and the phases."""
        phases_us = sum(us for phase, us in self.phases_us.items() if phase not in _WAITED)
        return self.cpu_us - self.bare_us - phases_us - self.observe_us


def split(
    case: str,
    connections: int,
    counted: Counted,
    metered: Counted,
    *,
    cpu_us: float,
    bare_us: float,
    quiet_us: float,
) -> Split:
    """Divide what one run spent.

    Args:
        case: How it was asked.
        connections: Open at once.
        counted: During it.
        metered: The same of another run, by a clock that stands still while the process does not run.
        cpu_us: Processor time of a request of Inkling's.
        bare_us: Of the bare transport's.
        quiet_us: Of Inkling's without its access log.
    """
    phases_us = {
        phase: 1e6 * source.phases_s.get(phase, 0.0) / source.requests
        for source, phases in ((metered, _ALONE), (counted, _WAITED))
        for phase in phases
    }
    # Every request's own `infer` is that of all that ran with it; the statistics count each run once.
    phases_us["infer"] = 1e6 * metered.infer_s / metered.requests
    together = counted.requests / counted.executions
    return Split(case, connections, together, cpu_us, bare_us, quiet_us, phases_us)


def medians(rounds: Sequence[Split]) -> Split:
    """Return the median of each figure of one case over the rounds."""
    first = rounds[0]
    return replace(
        first,
        together=median(one.together for one in rounds),
        cpu_us=median(one.cpu_us for one in rounds),
        bare_us=median(one.bare_us for one in rounds),
        quiet_us=median(one.quiet_us for one in rounds),
        phases_us={phase: median(one.phases_us[phase] for one in rounds) for phase in first.phases_us},
    )


def table(splits: Sequence[Split]) -> list[str]:
    """Write a row for every case."""
    columns: dict[str, Callable[[Split], str]] = {
        "Case": lambda one: one.case,
        "Connections": lambda one: str(one.connections),
        "Run together": lambda one: f"{one.together:.1f}",
        "Processor": lambda one: f"{one.cpu_us:.0f}",
        "transport": lambda one: f"{one.bare_us:.0f}",
        "framework": lambda one: f"{one.framework_us:.0f}",
        "decode": lambda one: f"{one.phases_us['decode']:.0f}",
        "prepare": lambda one: f"{one.phases_us['prepare']:.0f}",
        "infer": lambda one: f"{one.phases_us['infer']:.0f}",
        "encode": lambda one: f"{one.phases_us['encode']:.0f}",
        "observe": lambda one: f"{one.observe_us:.0f}",
        "read, by the clock": lambda one: f"{one.phases_us['read']:.0f}",
        "queue, by the clock": lambda one: f"{one.phases_us['queue']:.0f}",
    }
    rows = [f"| {' | '.join(write(one) for write in columns.values())} |" for one in splits]
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *rows]
