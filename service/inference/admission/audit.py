"""Audit record: one log line for each change of the served models through the API."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.inference.admission.access import ANONYMOUS

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)  # independent of `log_level`: the audit record is not optional

EVENT = "management"


@dataclass(frozen=True, slots=True)
class Actor:
    """The client that requests a change.

    Attributes:
        key: Name of the API key; `-` without one.
        address: The client's address; `-` if unknown.
        request_id: Id of the request, as in the access log.
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
    """Log one change of the served models, applied or refused.

    Args:
        actor: The client.
        operation: `load` or `unload`.
        model: Model name.
        before: Versions that were loaded before.
        after: Versions that are loaded now.
        outcome: `done`, or the class name of the error.
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
