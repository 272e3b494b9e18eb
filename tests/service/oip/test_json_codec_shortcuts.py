"""`service/oip/json_codec.py`: what is remembered or read the quick way is what the plain way says."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.codecs.drawings import Limits
from service.codecs.json import documents, number_lists
from service.codecs.json import images as json_image
from service.core.errors import ServiceError
from service.inference.models.model import Model
from service.oip import json_codec, tensors
from service.oip.inference import Inferred, Output
from service.oip.json_codec import Body
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
    """An input, right or wrong."""
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
    """The JSON of an inference, right or wrong."""
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
    """What was read, its numbers too; or the message of what was raised."""
    try:
        inference, is_binary = read()
        found: list[Any] = []
        for tensor in inference.inputs:
            if tensor.datatype != tensors.BYTES:
                array = tensors.numbers(tensor)
                found.append((tensor._replace(content=()), str(array.dtype), array.shape, array.tolist()))
            else:
                found.append((tensor._replace(content=()), tensors.blobs(tensor)))
    except ServiceError as error:
        return type(error), str(error)
    return found, list(inference.outputs), inference.id, dict(inference.parameters), is_binary


@EXAMPLES
@example(text=TWO, contents=bytes(range(12)), other=bytes(18))
@given(text=texts(is_binary=True), contents=st.binary(max_size=20), other=st.binary(max_size=20))
def test_a_text_that_came_before_means_what_it_meant(
    text: bytes, contents: bytes, other: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Every request has its own contents, and the same message as the first one if something is wrong.
    """
    for binary in (contents, bytes(6), other, bytes(12), contents):
        sent = Body(text + binary, len(text))
        found = outcome(lambda: json_codec.read(sent, SHAPE, LIMITS))  # noqa: B023
        with monkeypatch.context() as patch:
            patch.setattr(json_codec, "_REMEMBERED_BYTES", -1)
            requested_output = outcome(lambda: json_codec.read(sent, SHAPE, LIMITS))  # noqa: B023

        assert found == requested_output


def test_what_is_remembered_is_not_understood_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The second request with the same text costs no parsing, and has its own pixels.
    """
    declared = {
        "name": "image",
        "shape": [1, 2, 3],
        "datatype": "UINT8",
        "parameters": {"binary_data_size": 6},
    }
    text = json.dumps({"inputs": [declared], "id": "never seen before"}).encode()
    json_codec.read(Body(text + b"abcdef", len(text)), SHAPE, LIMITS)
    monkeypatch.setattr(documents, "load", None)

    again, _ = json_codec.read(Body(text + b"ghijkl", len(text)), SHAPE, LIMITS)

    assert tensors.numbers(again.inputs[0]).tobytes() == b"ghijkl"
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
def test_numbers_in_json_are_the_same_read_any_way(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As bytes at once, as a long list without parsing it, or number by number.
    """
    sent = Body(text, len(text))
    quick = outcome(lambda: json_codec.read(sent, SHAPE, LIMITS))
    with monkeypatch.context() as patch:
        patch.setattr(documents, "LONG_BYTES", 0)
        patch.setattr(number_lists, "_STEP_BYTES", 16)
        number_lists._layout.cache_clear()
        patch.setattr(json_codec, "_REMEMBERED_BYTES", -1)
        long = outcome(lambda: json_codec.read(sent, SHAPE, LIMITS))
    number_lists._layout.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(json_image, "bytes_of", lambda *_: None)
        one_by_one = outcome(lambda: json_codec.read(sent, SHAPE, LIMITS))

    assert quick == one_by_one
    assert long == one_by_one


def test_a_long_input_is_not_parsed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of whole numbers only what stands around them is parsed; of others a step, or an image, at once.
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

            (read,) = json_codec.read(Body(text, len(text)), (28, 28), LIMITS)[0].inputs

            np.testing.assert_array_equal(tensors.numbers(read), images)
            assert 0 < max(sizes) < most < len(text) / 3
    number_lists._layout.cache_clear()


@pytest.mark.parametrize("is_binary", [False, True])
@pytest.mark.parametrize("name", ["", "mine", 'ü"'])
def test_an_answer_is_the_same_text_as_one_document(name: str, is_binary: bool) -> None:
    """
    Compared with a dictionary written at once, whatever each output is.
    """
    rng = np.random.default_rng(1)
    floats = rng.normal(0, 4, (3, 10)).astype(np.float32)
    arrays: dict[str, NDArray[Any]] = {
        "logits": floats,
        "shares": rng.normal(0, 1, (3, 2, 2)),
        "explained": np.arange(3),
    }
    model = cast("Model", SimpleNamespace(name='to"y', version="3"))
    outputs = [Output(key, array, array.shape, None) for key, array in arrays.items()]
    outputs += [
        Output("classes", [b"0.5:1:one", b"0.25:0:none"], (1, 2), False),
        outputs[0]._replace(is_binary=True),
    ]
    described: list[dict[str, Any]] = []
    contents = b""
    for output in outputs:
        one: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        content = output.content
        if (is_binary or output.is_binary) and output.is_binary is not False:
            assert isinstance(content, np.ndarray)
            one["parameters"] = {"binary_data_size": content.nbytes}
            contents += content.tobytes()
        else:
            one["data"] = (
                [text.decode() for text in content] if isinstance(content, list) else content.ravel()
            )
        described.append(one)
    document = {"model_name": 'to"y', "model_version": "3", "id": name, "outputs": described}
    if not name:
        del document["id"]
    requested_output = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)

    assert json_codec.write(Inferred(model, name, outputs), is_binary) == (
        requested_output + contents,
        len(requested_output),
    )
