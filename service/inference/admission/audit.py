"""The audit record: one log line for each change that was made through management."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.inference.admission.access import ANONYMOUS

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)  # whatever the setting `log_level`: an audit record is not optional

EVENT = "management"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change.

    Attributes:
        key: Name of the API key; `-` without one.
        address: The client's address; `-` if unknown.
        request_id: As it stands in the log.
    """

    key: str = ANONYMOUS
    address: str = "-"
    request_id: str = "-"


def record(
    actor: Actor,
    operation: str,
    model: str,
    before: Sequence[str],
    after: Sequence[str],
    outcome: str = "done",
) -> None:
    """Log one change of what is served, made or tried.

    Args:
        actor: Who asked for it.
        operation: `load` or `unload`.
        model: Its name.
        before: Versions that could answer before.
        after: Versions that can answer now.
        outcome: `done`, or the name of the error that ended it.
    """
    fields: Mapping[str, object] = {
        "key": actor.key,
        "address": actor.address,
        "request_id": actor.request_id,
        "operation": operation,
        "model": model,
        "before": list(before),
        "after": list(after),
        "outcome": outcome,
    }
    log.info(EVENT, extra={"fields": fields})
