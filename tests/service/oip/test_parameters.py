"""`service/oip/parameters.py`: validated parameters of inference requests and outputs."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from service.core.errors import MalformedRequest
from service.inference.models.model import Model
from service.oip import parameters
from service.oip.messages import RequestedOutput
from service.oip.parameters import ExplainedClass
from service.oip.tensors import Tensor

MODEL = cast(
    "Model",
    SimpleNamespace(
        name="toy",
        version="1",
        shape=(2, 2),
        preprocessing="none",
        layers={"output": None},
        manifest=SimpleNamespace(labels=("a", "b")),
    ),
)


@pytest.mark.parametrize("value", [7, "7"])
def test_whole_numbers_can_be_text(value: object) -> None:
    assert parameters.natural({"priority": value}, "priority") == 7


@pytest.mark.parametrize("value", [-1, 1.0, True, "", "-1", "1.5", 2**63, "9" * 20, []])
def test_other_values_are_no_whole_numbers(value: object) -> None:
    with pytest.raises(MalformedRequest, match="Parameter 'priority' should be a whole number, at least 0"):
        parameters.natural({"priority": value}, "priority")


@pytest.mark.parametrize(("timeout", "seconds"), [(None, None), (0, None), (1_500_000, 1.5)])
def test_the_timeout_is_in_microseconds(timeout: int | None, seconds: float | None) -> None:
    assert parameters.timeout_s({"timeout": timeout}) == seconds


@pytest.mark.parametrize(
    ("explain", "expected"), [(False, None), (True, ExplainedClass(None)), ("b", ExplainedClass(1))]
)
def test_explain_is_a_boolean_or_a_label(explain: object, expected: ExplainedClass | None) -> None:
    assert parameters.explained_class({"explain": explain}, MODEL) == expected


@pytest.mark.parametrize("explain", ["c", 0, 1, []])
def test_other_values_of_explain_are_refused(explain: object) -> None:
    with pytest.raises(MalformedRequest, match="Parameter 'explain' should be true, false or one of"):
        parameters.explained_class({"explain": explain}, MODEL)


@pytest.mark.parametrize(
    ("own", "of_request", "is_unit"),
    [({}, {}, False), ({}, {"scale": "unit"}, True), ({"scale": "byte"}, {"scale": "unit"}, False)],
)
def test_the_scale_of_an_input_overrides_that_of_the_request(
    own: dict[str, Any], of_request: dict[str, Any], is_unit: bool
) -> None:
    tensor = Tensor("image", "FP32", (1, 2, 2), [], own)

    assert parameters.is_unit(of_request, tensor) == is_unit


def test_preprocessing_mnist_needs_a_model_of_28_x_28() -> None:
    assert parameters.preprocessing({"prepare": "none"}, MODEL) == "none"
    with pytest.raises(MalformedRequest, match="'none' for a model of other images"):
        parameters.preprocessing({"prepare": "mnist"}, MODEL)


def test_parameters_of_an_output() -> None:
    given = {"classification": 3, "binary_data": True, "unknown": 1}

    assert parameters.requested_output("logits", given) == RequestedOutput("logits", True, 3)
    assert parameters.requested_output("logits", {}) == RequestedOutput("logits")
