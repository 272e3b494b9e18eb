import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.core.errors import ManagementOff, UnknownModel
from service.inference.admission.audit import Actor
from service.inference.models.changes import LocalChanges, Stager
from service.inference.models.registry import Registry
from service.inference.thread_pool import ThreadPool
from service.oip.model_repository import Management
from tests import toys

OPS = Actor("ops", "192.0.2.1", "abc")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A models folder with one version of `quadrants`."""
    toys.publish(tmp_path)
    return tmp_path


@pytest.fixture
def management(root: Path) -> Iterator[Management]:
    registry = Registry(root)
    registry.load()
    thread_pool = ThreadPool(1, 4, 30)
    yield Management(registry, LocalChanges(Stager(registry), thread_pool), is_on=True)
    thread_pool.close()


def audited(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record)["fields"] for record in caplog.records if record.getMessage() == "management"]


def test_each_change_is_audited(management: Management, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The record has the versions that are ready before and after, and the client."""
    toys.publish(root, weights=toys.quadrant_weights()[::-1].copy())

    async def change() -> None:
        await management.load("quadrants", {}, OPS)
        await management.unload("quadrants", OPS)

    asyncio.run(change())

    load, unload = audited(caplog)
    assert load == {
        "key": "ops",
        "address": "192.0.2.1",
        "request_id": "abc",
        "operation": "load",
        "model": "quadrants",
        "before": ["1"],
        "after": ["1", "2"],
        "outcome": "done",
    }
    assert (unload["operation"], unload["before"], unload["after"]) == ("unload", ["1", "2"], [])


def test_a_failed_change_is_audited(management: Management, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UnknownModel):
        asyncio.run(management.load("nobody", {}, OPS))

    (record,) = audited(caplog)
    assert (record["model"], record["before"], record["after"]) == ("nobody", [], [])
    assert record["outcome"] == "UnknownModel"


def test_nothing_is_audited_while_management_is_off(
    management: Management, caplog: pytest.LogCaptureFixture
) -> None:
    off = Management(management.registry, management.changes, is_on=False)

    with pytest.raises(ManagementOff):
        asyncio.run(off.unload("quadrants", OPS))

    assert audited(caplog) == []
    assert logging.getLogger("service.inference.admission.audit").isEnabledFor(logging.INFO)
