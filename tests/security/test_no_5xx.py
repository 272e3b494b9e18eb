"""No request body causes a 5xx: nearly valid bodies with random changes, on every route with a body."""

import base64
import copy
import gzip
import io
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from service.app import App, create_app
from service.settings import Settings
from tests import toys
from tests.examples import examples
from tests.security.bodies import file_part, form_of, npy
from tests.security.in_process import Server, exchange
from tests.service.http.bodies import check_sentence, picture

FUZZ = examples(200, *HealthCheck)

MODELS = {"quadrants": (28, 28), "colours": (64, 64, 3), "rounded": (28, 28)}

WEIRD: list[Any] = [
    *(None, True, False, "", "a", "0", "é", "\U0001f600", "\x00", "AAAA", "image", "="),
    *("data:", "data:image/png;base64,"),
    *(0, 1, -1, 2, 255, 256, 784, 0.5, 1.0, -0.0, 1e308, 5e-324),
    *(2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)),
    *([], [[]], [[[]]], [0], [[0]], [1, [2]], [None], [True], [{}], [[1, 2], [3]]),
    *({}, {"a": 1}, {"": []}),
    *([0.5] * 28, [0] * 784, [1] * 12288),
    *([[0] * 28] * 28, [[7] * 28] * 28, [["7"] * 28] * 28, [[[1, 2, 3]] * 64] * 64),
]
"""What may stand for any value of a document."""

SHAPES: list[Any] = [
    *([], [0], [1], [-1], [1, 1], [784], [28, 28], [1, 784], [1, 1, 784], [3, 5, 7]),
    *([1, 28, 28], [2, 28, 28], [0, 28, 28], [1, 28, 0], [1, -28, -28], [1, 64, 64, 3], [4097, 28, 28]),
    *([2**31, 28, 28], [2**63], [2**63 - 1, 2], [1] * 8, [1] * 9),
    *([1.0, 28, 28], [True, 28, 28], ["1", 28, 28], [[1], 28, 28], [None]),
    *("28", None, 1, {}),
]

DATATYPES: list[Any] = [
    *("UINT8", "BOOL", "FP32", "FP64", "FP16", "BF16", "INT8", "INT64", "UINT64", "UINT16", "BYTES"),
    *("uint8", "", None, 7, []),
]


QUERIES = [
    *(
        "",
        "",
        "?include=seen",
        "?include=steps",
        "?include=seen,activations",
        "?prepare=mnist",
        "?prepare=none",
    ),
    *("?top=1000", "?top=0", "?label=red%20rose", "?label=x", "?palette=colour&scale=32", "?a=b"),
]


@pytest.fixture(scope="module")
def open_app(tmp_path_factory: pytest.TempPathFactory) -> App:
    """A service with a drawing model, a photograph model and an int8 model, with management."""
    root: Path = tmp_path_factory.mktemp("models")
    toys.publish(root, "quadrants", certainty=toys.CERTAINTY)
    toys.publish(root, "colours", weights=toys.colour_weights(), labels=toys.COLOURS)
    toys.publish_rounded(root)
    served = Settings(
        models=root,
        management=True,
        max_body_bytes=400_000,
        max_images=64,
        max_picture_pixels=250_000,
        max_points=500,
        _env_file=None,
    )
    return create_app(served)


@pytest.fixture(scope="module")
def open_client(open_app: App) -> Iterator[TestClient]:
    """A client of that service."""
    with TestClient(open_app, raise_server_exceptions=False) as client:
        yield client


def image_of(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:  # noqa: ANN401 - JSON can be anything
    """Draw an image in one of its JSON forms."""
    kind = draw(st.sampled_from(["nested", "nested", "flat", "picture", "url", "small"]))
    value = draw(st.sampled_from([0, 7, 200, 255, 1, 0.5, 1.0, 12.0]))
    if kind in ("nested", "flat"):
        image: Any = value
        for side in reversed(shape if kind == "nested" else (math.prod(shape),)):
            image = [image] * side
        return image
    side = draw(st.sampled_from([1, 2, 28, 64]))
    pixels = Image.fromarray((np.arange(side * side) * 7 % 256).astype(np.uint8).reshape(side, side))
    text = base64.b64encode(picture(pixels)).decode()
    return f"data:image/png;base64,{text}" if kind == "url" else text


def any_of(draw: st.DrawFn, pool: list[Any]) -> Any:  # noqa: ANN401 - as above
    """Draw a value of a pool, as a copy."""
    return copy.deepcopy(pool[draw(st.integers(0, len(pool) - 1))])


def changed(draw: st.DrawFn, document: Any) -> Any:  # noqa: ANN401 - as above
    """Replace, remove, repeat or wrap a few values of a document, at any depth."""
    for _ in range(draw(st.integers(0, 3))):
        places: list[tuple[Any, Any]] = []
        found = [document]
        while found:
            value = found.pop()
            inner = list(value.items()) if isinstance(value, dict) else []
            if isinstance(value, list):
                inner = list(enumerate(value))[:3] + list(enumerate(value))[3:][-1:]
            places += [(value, key) for key, _ in inner]
            found += [item for _, item in inner if isinstance(item, dict | list)]
        if not places:
            break
        within, key = draw(st.sampled_from(places))
        how = draw(st.sampled_from(["replace", "replace", "drop", "repeat", "wrap"]))
        if how == "drop":
            del within[key]
        elif how == "wrap":
            within[key] = [within[key]]
        elif how == "repeat" and isinstance(within, list):
            within.append(copy.deepcopy(within[key]))
        else:
            pool = SHAPES if key == "shape" else DATATYPES if key == "datatype" else WEIRD
            within[key] = any_of(draw, pool)
    return document


def dumped(draw: st.DrawFn, document: Any) -> bytes:  # noqa: ANN401 - as above
    """Encode a document, sometimes with white space, NaN, or a few other bytes."""
    indent = draw(st.sampled_from([None, None, None, 1]))
    body = json.dumps(document, indent=indent, separators=(",", ":")).encode()
    return spoilt(draw, body)


def spoilt(draw: st.DrawFn, body: bytes) -> bytes:
    """Change a few bytes, rarely."""
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(body)))
        cut = draw(st.sampled_from([0, 1, 8]))
        other = draw(
            st.binary(max_size=4)
            | st.sampled_from([b"NaN", b"-", b"]", b"[", b"}", b",", b'"', b"1e999", b"\\u0000"])
        )
        body = body[:at] + other + body[at + cut :]
    return body


def v1_document(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:  # noqa: ANN401 - as above
    member = draw(st.sampled_from(["image", "images", "strokes", "instances"]))
    if member == "strokes":
        document: Any = {"strokes": [[[1, 2], [3.5, 4]], [[9, 9]]]}
    elif member == "image":
        document = {"image": image_of(draw, shape)}
    else:
        document = {member: [image_of(draw, shape) for _ in range(draw(st.integers(1, 3)))]}
    if draw(st.booleans()):
        document["scale"] = draw(st.sampled_from(["unit", "byte", "x", None, 1]))
    return document


def v2_document(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, bytes, bool]:
    """Draw an inference request: its JSON, its binary data, and whether it has the header for that."""
    is_binary = draw(st.booleans())
    count = draw(st.integers(1, 2))
    datatype = draw(st.sampled_from(DATATYPES[:11]))
    assert isinstance(datatype, str)
    tensor: dict[str, Any] = {"name": "image", "datatype": datatype, "shape": [count, *shape]}
    width = {"FP32": 4, "FP64": 8, "FP16": 2, "BF16": 2, "INT64": 8, "UINT64": 8, "UINT16": 2}.get(
        datatype, 1
    )
    content = bytes(count * math.prod(shape) * width)
    if datatype == "BYTES":
        tensor["shape"] = [count]
        blob = picture(Image.fromarray(toys.dot(1)))
        content = (struct.pack("<I", len(blob)) + blob) * count
    if is_binary:
        size = len(content) + draw(st.sampled_from([0, 0, 0, 1, -1]))
        tensor["parameters"] = {"binary_data_size": size}
    else:
        value: Any = draw(st.sampled_from([0, 7, 1.0, 0.5, True]))
        if datatype == "BYTES":
            tensor["data"] = [base64.b64encode(blob).decode()] * count
        elif draw(st.booleans()):
            tensor["data"] = [value] * (count * math.prod(shape))
        else:
            nested: Any = value
            for side in reversed(tensor["shape"]):
                nested = [nested] * side
            tensor["data"] = nested
    document: dict[str, Any] = {"inputs": [tensor]}
    if draw(st.booleans()):
        document["outputs"] = [
            {
                "name": draw(
                    st.sampled_from(["logits", "probabilities", "shares", "bias", "explained", "x"])
                ),
                "parameters": {
                    draw(
                        st.sampled_from(["classification", "binary_data", "shared_memory_region", "a"])
                    ): any_of(draw, WEIRD)
                },
            }
        ]
    if draw(st.booleans()):
        name = draw(
            st.sampled_from(["scale", "prepare", "explain", "timeout", "priority", "binary_data_output", "a"])
        )
        document["parameters"] = {name: any_of(draw, [*WEIRD, "unit", "mnist", "none", "byte", "red rose"])}
    if draw(st.booleans()):
        document["id"] = any_of(draw, WEIRD)
    return document, content if is_binary else b"", is_binary


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, dict[str, str], bytes]:
    """Draw a path with query, headers and a body."""
    model = draw(st.sampled_from([*MODELS] * 5 + ["nobody"]))
    shape = MODELS.get(model, (28, 28))
    version = draw(st.sampled_from(["", "", "/versions/1", "/versions/9"]))
    headers: dict[str, str] = {}
    route = draw(st.sampled_from(["v1", "v1", "v1", "v2", "v2", "v2", "kserve", "repository"]))
    if route == "v2":
        path = f"/v2/models/{model}{version}/infer" + draw(st.sampled_from(["", "/"]))
        document, content, is_binary = v2_document(draw, shape)
        text = dumped(draw, changed(draw, document))
        if is_binary or draw(st.integers(0, 9)) == 0:
            size = len(text) + draw(st.sampled_from([0, 0, 0, 0, 1, -1]))
            said = draw(st.sampled_from([str(size)] * 8 + ["0", "-1", "x", "", "9" * 30]))
            headers["Inference-Header-Content-Length"] = said
        body = text + content
        headers["Content-Type"] = draw(
            st.sampled_from(["application/json", "application/octet-stream", "text/plain"])
        )
    elif route == "kserve":
        path = f"/v1/models/{model}{version}:predict"
        body = dumped(draw, changed(draw, v1_document(draw, shape)))
    elif route == "repository":
        action = draw(st.sampled_from(["index", f"models/{model}/load"]))
        path = f"/v2/repository/{action}"
        body = dumped(draw, changed(draw, {"ready": True, "parameters": {"config": "{}"}}))
    else:
        query = draw(st.sampled_from(QUERIES))
        action = draw(st.sampled_from(["predict", "probabilities", "explain"]))
        path = f"/v1/models/{model}{version}/{action}{query}"
        headers["Accept"] = draw(
            st.sampled_from(["*/*", "*/*", "application/x-npy", "image/png", "image/png;q=0"])
        )
        kind, body = draw(v1_bodies(shape))
        headers["Content-Type"] = kind
    if draw(st.integers(0, 19)) == 0:
        headers["Content-Encoding"] = "gzip"
        body = spoilt(draw, gzip.compress(body, mtime=0))
    return path, headers, body


@st.composite
def v1_bodies(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[str, bytes]:
    """Draw a content type and a body."""
    kind = draw(st.sampled_from(["json", "json", "json", "octets", "npy", "picture", "form", "other"]))
    if kind == "json":
        return "application/json; charset=utf-8", dumped(draw, changed(draw, v1_document(draw, shape)))
    size = math.prod(shape)
    if kind == "octets":
        return "application/octet-stream", bytes(
            draw(st.sampled_from([0, 1, size - 1, size, size + 1, 2 * size]))
        )
    if kind == "npy":
        dtype = draw(st.sampled_from(["u1", "<f2", "<f4", ">f4", "<f8", "<i8", "c8", "?"]))
        sides = draw(
            st.sampled_from(
                [shape, (1, *shape), (2, *shape), (size,), (1, size), (), (0, *shape), (1, 1, *shape)]
            )
        )
        array = np.full(sides, draw(st.sampled_from([0, 1])), dtype)
        return "application/x-npy", spoilt(
            draw, npy(np.asfortranarray(array) if draw(st.booleans()) else array)
        )
    side = draw(st.sampled_from([(1, 1), (28, 28), (64, 64), (300, 200), (600, 600), (1, 400)]))
    mode = draw(st.sampled_from(["1", "L", "LA", "RGB", "RGBA", "P"]))
    form = draw(st.sampled_from(["PNG", "JPEG", "WEBP"]))
    stream = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (side[1], side[0]), np.uint8)
    image = Image.fromarray(pixels).convert("RGB" if form == "JPEG" else mode)
    image.save(stream, form)
    file = spoilt(draw, stream.getvalue())
    if kind == "picture":
        return f"image/{form.lower()}", file
    if kind == "form":
        body = spoilt(
            draw,
            form_of(
                *[file_part(file, draw(st.sampled_from(["a", "", '\\"', "é"])))] * draw(st.integers(0, 3))
            ),
        )
        boundary = draw(st.sampled_from(["b", "b", "b", '"b"', "", "c", '"', "b" * 300, "é"]))
        return f"multipart/form-data; boundary={boundary}", body
    return draw(
        st.sampled_from(["", "text/plain", "application/json;", "multipart/form-data", "image/gif"])
    ), file


@FUZZ
@given(request=requests())
def test_no_body_gives_a_5xx(open_client: TestClient, request: tuple[str, dict[str, str], bytes]) -> None:
    """
    The response is a success, or an error with a valid message.
    """
    path, headers, body = request
    encoded = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]

    answer = open_client.post(path, content=body, headers=encoded)

    assert answer.status_code < 500, (path, headers, body[:2000], answer.text)
    if answer.status_code >= 400:
        check_sentence(answer.json()["detail"])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("datatype", ["UINT8", "FP32", "BOOL", "BYTES"])
@pytest.mark.parametrize(
    "data",
    [[[1]], [], [1], [[]], [[[1]]], [[1, 2], [3]], [7] * 784, [[[7] * 28] * 28], [["a"]], [None], [{}]],
    ids=repr,
)
def test_no_declared_shape_gives_a_5xx(
    open_app: App, shape: object, datatype: str, data: list[object]
) -> None:
    """
    Shapes are compared with the model's before anything reads the contents by them; on the fast path and
    through ASGI.
    """
    sent = []
    for more in ({}, {"parameters": {"prepare": "mnist"}}, {"parameters": {"scale": "unit"}}):
        tensor = {"name": "image", "datatype": datatype, "shape": shape, "data": data}

        text = json.dumps({"inputs": [tensor], **more})
        for content in (text, text.replace('"data": [', '"data": [' + 9000 * " ")):  # read as a long one is
            head = f"POST /v2/models/quadrants/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(content)}"
            sent.append([f"{head}\r\n\r\n{content}".encode()])

    for dispatch in (open_app.dispatch, replace(open_app.dispatch, predictions=None)):
        outcomes = exchange(partial(Server, dispatch, open_app.request_log), sent, settles=True)

        statuses = [status for outcome in outcomes for status in outcome.statuses]
        assert len(statuses) == len(sent)
        assert set(statuses) <= {200, 400, 413, 422}, [outcome.responses for outcome in outcomes]
