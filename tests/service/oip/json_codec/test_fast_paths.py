"""`service/oip/json_codec`: cached texts and long lists give the same requests as plain parsing."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from service.codecs.drawings import Limits
from service.codecs.json import images as json_image
from service.codecs.json import list_spans, number_lists, parser
from service.core.errors import ServiceError
from service.oip import tensor_contents, tensors
from service.oip.json_codec import request as codec
from service.oip.json_codec.body import Body
from service.oip.json_codec.request import read_request
from tests.examples import examples

EXAMPLES = examples(300, HealthCheck.function_scoped_fixture)
SHAPE = (2, 3)
LIMITS = Limits(images=6, picture_pixels=1000, points=100)

TWO = json.dumps(
    {
        "inputs": [
            {"name": name, "shape": [1, 2, 3], "datatype": "UINT8", "parameters": {"binary_data_size": 6}}
            for name in ("image", "other")
        ]
    }
).encode()

PARAMETERS: st.SearchStrategy[Any] = st.sampled_from(
    [
        {},
        {},
        None,
        {"scale": "unit"},
        {"timeout": "7"},
        {"binary_data_output": True},
        {"binary_data_output": 1},
        7,
    ]
)
NUMBERS: st.SearchStrategy[Any] = st.one_of(
    st.integers(0, 255), st.sampled_from([256, -1, 1.0, 0.5, True, None, "7", [], 2**70])
)


@st.composite
def inputs(draw: st.DrawFn, is_binary: bool) -> dict[str, Any]:
    """An input, valid or invalid."""
    number = draw(st.sampled_from([st.integers(0, 255), st.integers(0, 255), NUMBERS]))
    batch = draw(st.integers(0, 3))
    shape: Any = draw(
        st.sampled_from([[batch, 2, 3]] * 6 + [[batch, 6], [6], [batch, 2, "3"], None, [True, 2, 3]])
    )
    flat = draw(st.lists(number, min_size=6 * batch, max_size=6 * batch))
    if draw(st.integers(0, 9)) == 0:
        flat.append(1)
    nested = [[flat[at : at + 3], flat[at + 3 : at + 6]] for at in range(0, len(flat), 6)]
    whole: dict[str, Any] = {
        "name": draw(st.sampled_from(["image", "image", "image", "other", 7])),
        "shape": shape,
        "datatype": draw(st.sampled_from(["UINT8", "UINT8", "UINT8", "FP32", "INT64", "BOOL", "BYTES", "X"])),
    }
    if is_binary and draw(st.integers(0, 9)):
        whole["parameters"] = {
            "binary_data_size": draw(st.sampled_from([6 * batch, 6 * batch, 6, 0, -1, "6"]))
        }
    else:
        whole["data"] = draw(st.sampled_from([flat, nested]))
    if draw(st.integers(0, 9)) == 0:
        whole.pop(draw(st.sampled_from(sorted(whole))))
    return dict(draw(st.permutations(list(whole.items()))))


@st.composite
def texts(draw: st.DrawFn, is_binary: bool) -> bytes:
    """The JSON of a request, valid or invalid."""
    few = draw(st.sampled_from([1, 1, 1, 2, 0]))
    document: dict[str, Any] = {"inputs": [draw(inputs(is_binary)) for _ in range(few)]}
    if draw(st.booleans()):
        names = draw(st.lists(st.sampled_from(["logits", "probabilities", "x", 7]), max_size=2))
        document["outputs"] = [{"name": name, "parameters": {"binary_data": True}} for name in names]
    if draw(st.booleans()):
        document["parameters"] = draw(PARAMETERS)
    if draw(st.booleans()):
        document["id"] = draw(st.sampled_from(["mine", "", 7]))
    if draw(st.integers(0, 19)) == 0:
        document = {"data": [1], **document}
    text = json.dumps(document, separators=draw(st.sampled_from([(",", ":"), (", ", ": ")]))).encode()
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from([b"", b"0", b"]", b",", b" "])) + text[at + 1 :]
    return text


def outcome(read: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Return the request with its elements, or the error."""
    try:
        inference, is_binary = read()
        found: list[Any] = []
        for tensor in inference.inputs:
            if tensor.datatype != tensors.BYTES:
                array = tensor_contents.numbers(tensor)
                found.append((tensor._replace(content=()), str(array.dtype), array.shape, array.tolist()))
            else:
                found.append((tensor._replace(content=()), tensor_contents.blobs(tensor)))
    except ServiceError as error:
        return type(error), str(error)
    return found, list(inference.outputs), inference.id, dict(inference.parameters), is_binary


@EXAMPLES
@example(text=TWO, contents=bytes(range(12)), other=bytes(18))
@given(text=texts(is_binary=True), contents=st.binary(max_size=20), other=st.binary(max_size=20))
def test_a_cached_text_gives_the_same_request(
    text: bytes, contents: bytes, other: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With the binary contents of each body, or the same error.
    """
    for binary in (contents, bytes(6), other, bytes(12), contents):
        sent = Body(text + binary, len(text))
        found = outcome(lambda: read_request(sent, SHAPE, LIMITS))  # noqa: B023
        with monkeypatch.context() as patch:
            patch.setattr(codec, "_CACHED_BYTES", -1)
            uncached = outcome(lambda: read_request(sent, SHAPE, LIMITS))  # noqa: B023

        assert found == uncached


def test_a_cached_text_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The second body has its own pixels.
    """
    declared = {
        "name": "image",
        "shape": [1, 2, 3],
        "datatype": "UINT8",
        "parameters": {"binary_data_size": 6},
    }
    text = json.dumps({"inputs": [declared], "id": "never seen before"}).encode()
    read_request(Body(text + b"abcdef", len(text)), SHAPE, LIMITS)
    monkeypatch.setattr(parser, "parse", None)

    again, _ = read_request(Body(text + b"ghijkl", len(text)), SHAPE, LIMITS)

    assert tensor_contents.numbers(again.inputs[0]).tobytes() == b"ghijkl"
    assert again.id == "never seen before"


@EXAMPLES
@example(text=b'{"inputs":[{"name":"image","shape":[1,2,3],"datatype":"UINT8","data":[1,2,3,4,5,6]}]}')
@example(text=b'{"inputs":[{"data":[[[1,2,3],[4,5,6]]],"name":"image","shape":[1,2,3],"datatype":"UINT8"}]}')
@example(text=b'{"inputs":[{"name":"image","shape":[2,2,3],"datatype":"UINT8","data":[1,2,3,4,5,6]}]}')
@example(text=b'{"inputs":[{"name":"image","shape":[2,2,3],"datatype":"UINT8","data":[[[1,2,3],[4,5,6]]]}]}')
@example(text=b'{"inputs":[{"name":"image","shape":[1,2,3],"datatype":"UINT8","data":[1,2,3,4,5,true]}]}')
@example(text=b'{"inputs":[{"name":"image","shape":[1,2,3],"datatype":"UINT8","data":[[[1,2,3],3]]}]}')
@example(text=b'{"inputs":[{"name":"image","shape":[1,2,3],"datatype":"UINT8","data":[[[1,2],[3,4,5,6]]]}]}')
@example(
    text=b'{"inputs":[{"name":"image","shape":[1,2,3],"datatype":"FP32","data":[0.5,12,1e2,0.1,4,255.0]}]}'
)
@example(
    text=b'{"inputs":[{"name":"image","shape":[1,2,3],"datatype":"FP32","data":[[[0.5,1,2],[3,4,"5"]]]}]}'
)
@example(
    text=b'{"inputs":[{"name":"image","shape":[1,2,3],"datatype":"FP32","data":[[[0.5,1,2],[3,4,5.0]]]}]}'
)
@example(
    text=b'{"inputs":[{"name":"image","shape":[1,2,3],"datatype":"FP32","data":[[[0.5,1],[3,4,5.0,6]]]}]}'
)
@example(text=b'{"inputs":[{"name":"image","shape":[1,2,3],"datatype":"FP16","data":[0.5,1,2,70000.0,4,5]}]}')
@example(text=b'{"inputs":[{"name":"image","shape":[1,2,3],"datatype":"FP64","data":[1,2.0,3,4,5,true]}]}')
@example(
    text=b'{"inputs":[{"name":"image","shape":[1,2,3],"datatype":"FP64","data":[1,2,3,4,5,1180591620717411303424]}]}'
)
@given(text=texts(is_binary=False))
def test_every_way_of_reading_numbers_gives_the_same_request(
    text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    As bytes, as a long list, or number by number.
    """
    sent = Body(text, len(text))
    quick = outcome(lambda: read_request(sent, SHAPE, LIMITS))
    with monkeypatch.context() as patch:
        patch.setattr(list_spans, "LONG_BYTES", 0)
        patch.setattr(number_lists, "_STEP_BYTES", 16)
        number_lists._layout.cache_clear()
        patch.setattr(codec, "_CACHED_BYTES", -1)
        long = outcome(lambda: read_request(sent, SHAPE, LIMITS))
    number_lists._layout.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(json_image, "uint8_bytes", lambda *_: None)
        one_by_one = outcome(lambda: read_request(sent, SHAPE, LIMITS))

    assert quick == one_by_one
    assert long == one_by_one


def test_a_long_list_is_parsed_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whole numbers are not parsed as JSON at all; of others one step or image at a time.
    """
    pixels = np.random.default_rng(1).integers(0, 256, (6, 28, 28)).astype(np.uint8)
    outputs = [{"name": "logits", "parameters": {"binary_data": True}}]
    sizes = []
    loads = orjson.loads

    def count(text: bytes) -> Any:  # noqa: ANN401 - JSON can be anything
        sizes.append(len(text))
        return loads(text)

    monkeypatch.setattr(orjson, "loads", count)
    monkeypatch.setattr(number_lists, "_STEP_BYTES", 4096)
    number_lists._layout.cache_clear()
    for datatype, most in (("UINT8", 250), ("FP32", 6000)):
        images = pixels.astype(tensors.DTYPES[datatype])
        for data in (images.tolist(), images.ravel().tolist()):
            tensor = {"name": "image", "datatype": datatype, "shape": [6, 28, 28], "data": data}
            text = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
            sizes.clear()

            (read,) = read_request(Body(text, len(text)), (28, 28), LIMITS)[0].inputs

            np.testing.assert_array_equal(tensor_contents.numbers(read), images)
            assert 0 < max(sizes) < most < len(text) / 3
    number_lists._layout.cache_clear()
