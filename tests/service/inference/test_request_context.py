import pytest

from service.inference import request_context
from service.inference.request_context import RequestContext, is_request_id, new_request_id, request_id_from


def test_durations_of_phases_are_added() -> None:
    context = RequestContext("id", started=10.0)
    context.mark("decode", 10.001)
    context.mark("infer", 10.0035)
    context.mark("decode", 10.004)

    phases = context.phases
    context.mark("late", 11.0)

    assert phases == {"decode": 1.5, "infer": 2.5}
    assert context.phases == phases, "computed once"
    assert context.server_timing() == b"decode;dur=1.5, infer;dur=2.5"


def test_without_phases_server_timing_is_empty() -> None:
    assert RequestContext("id").server_timing() == b""


def test_generated_ids_are_valid_and_different() -> None:
    ids = [new_request_id() for _ in range(2 * request_context._ID_BATCH + 1)]

    assert len(set(ids)) == len(ids)
    assert all(len(request_id) == 16 and is_request_id(request_id) for request_id in ids)


@pytest.mark.parametrize("value", ["", "a b", "x\n", "é", '"', "a" * 65])
def test_an_invalid_id_of_a_client_is_replaced(value: str) -> None:
    assert request_id_from(value) != value
    assert is_request_id(request_id_from(value))


def test_a_valid_id_of_a_client_is_kept() -> None:
    assert request_id_from("Az09._-") == "Az09._-"
    assert request_id_from("a" * 64) == "a" * 64
