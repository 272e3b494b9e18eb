"""`service/codecs/json/number_lists.py`: long lists are read as if the whole document was parsed."""

import base64
import functools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from service.codecs.drawings import Drawings, Limits
from service.codecs.json import documents as json_documents
from service.codecs.json import list_spans, number_lists
from service.codecs.json.list_spans import ListSpan
from service.core.errors import ServiceError
from tests.examples import examples
from tests.service.http.bodies import LIMITS, images, picture

EXAMPLES = examples(300, HealthCheck.function_scoped_fixture)
SHAPE = (2, 3)
FEW = Limits(images=6, picture_pixels=100, points=10)
FILE = base64.b64encode(b"no picture, but nobody looks").decode()

NUMBERS: st.SearchStrategy[Any] = st.one_of(
    st.integers(0, 255),
    st.sampled_from([0, 1, 99, 100, 199, 200, 255]),
    st.sampled_from(
        [256, 299, 300, 999, 1000, -1, 2**70, 1.0, 0.5, 12.0, 1e2, True, False, None, "7", [], {}]
    ),
)


def _image(draw: st.DrawFn, number: st.SearchStrategy[Any]) -> Any:  # noqa: ANN401
    flat = draw(st.lists(number, min_size=6, max_size=6))
    return flat if draw(st.booleans()) else [flat[:3], flat[3:]]


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """Generate documents of images, valid and invalid, with any white space."""
    usual = draw(st.sampled_from([st.integers(0, 255), st.integers(0, 1), NUMBERS]))
    unusual: st.SearchStrategy[Any] = st.sampled_from(
        [FILE, "]],[[", "],[", "a", "", None, True, 7, {}, [], [[]], [[1, 2, 3]], [[[1]]]]
    )
    values = []
    for _ in range(draw(st.integers(0, 7))):
        is_unusual = draw(st.integers(0, 9)) == 0
        values.append(draw(unusual) if is_unusual else _image(draw, usual))
    member = draw(st.sampled_from(["images", "images", "images", "image", "instances"]))
    pairs: list[tuple[str, Any]] = [(member, values)]
    scale = draw(st.sampled_from([None, None, "unit", "byte", "]", "other", 1]))
    if scale is not None:
        pairs.insert(draw(st.integers(0, 1)), ("scale", scale))
    if draw(st.integers(0, 9)) == 0:
        pairs.insert(draw(st.integers(0, 1)), draw(st.sampled_from([("images", [[1] * 6]), ("x", [[9]])])))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n")]))
    indent = draw(st.sampled_from([None, None, 0, 2]))
    inner = [
        f"{json.dumps(name)}{separators[1]}{json.dumps(value, separators=separators, indent=indent)}"
        for name, value in pairs
    ]
    text = ("{" + separators[0].join(inner) + "}").encode()
    if draw(st.integers(0, 3)) == 0:  # an error at any position
        at = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 2))
        put = draw(
            st.sampled_from(
                [b"", b"0", b"]", b"[", b",", b" ", b"]],[[", b"-", b".5", b'"', b"\x00", b"\xff"]
            )
        )
        text = text[:at] + put + text[at + cut :]
    return text


def outcome(read: Callable[[], Drawings]) -> Any:  # noqa: ANN401
    """Return the decoded images, or the type and message of the exception."""
    try:
        found = read()
    except ServiceError as error:
        return type(error), str(error)
    if isinstance(found, np.ndarray):
        return "pixels", found.shape, found.tobytes()
    return [
        (one.field, one.content.tobytes() if isinstance(one.content, np.ndarray) else one.content)
        for one in found
    ]


@pytest.fixture
def parsed_at_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Drawings]], Any]:
    """Decode without the fast paths."""

    def read(reader: Callable[[], Drawings]) -> Any:  # noqa: ANN401
        with monkeypatch.context() as patch:
            patch.setattr(list_spans, "LONG_BYTES", 2**60)
            return outcome(reader)

    return read


@pytest.fixture
def parsed_by_items(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Drawings]], Any]:
    """Decode with the fast paths, whatever the size, in steps of a few bytes."""

    def read(reader: Callable[[], Drawings], step: int = 16) -> Any:  # noqa: ANN401
        with monkeypatch.context() as patch:
            patch.setattr(list_spans, "LONG_BYTES", 0)
            patch.setattr(json_documents, "_MIN_ITEMS_BYTES", 0)
            patch.setattr(number_lists, "_STEP_BYTES", step)
            number_lists._layout.cache_clear()
            try:
                return outcome(reader)
            finally:
                number_lists._layout.cache_clear()

    return read


@EXAMPLES
@example(body=b'{"images":[[1,2,3,4,5,6],[[1,2,3],[4,5,6]]]}')
@example(body=b'{"images":["]],[[",[[1,2,3],[4,5,6]],[[1,2,3],[4,5,"]],[["]]]}')
@example(body=b'{"images":[[[1,2,3],[4,5,6]],[[1,2,3],[4,5,06]]]}')
@example(body=b'{"images":[[[1,2,3],[4,5,6]],[[1,2,3],[4,5 ,6 6]]]}')
@example(body=b'{"images":[[[1,2,3],[4,5,6]]],"images":[[[1,2,3],[4,5,6]]]}')
@example(body=b'{"scale":"unit","images":[[[1,0,1],[0,1,1]],[[0,0,0],[0,0,0]]]}')
@example(body=b'{"scale":"unit","images":[[[1,0,1],[0,1,1]],[[0,0,2],[0,0,0]]]}')
@example(body=b'{"images":[[[1,2,3],[4,5,6]],[[1,2,3],[4,5,true]]]}')
@example(body=b'{"images":[[[1,2,3],[4,5,6]],[[1,2,3],6]]}')
@example(body=b'{"images":[[[1,2,3],[4,5,6]],[[1,2,3],3]]}')
@example(body=b'{"images":[[[1,2,3],[4,5,6]],[[1,2],[3,4,5,6]]]}')
@given(body=documents())
def test_long_documents_are_decoded_as_if_parsed_at_once(
    body: bytes, parsed_at_once: Callable[..., Any], parsed_by_items: Callable[..., Any]
) -> None:
    """
    The result, or the error message, is the same.
    """
    for read in (json_documents.read, json_documents.read_instances):
        decode = functools.partial(read, body, SHAPE, FEW)
        assert parsed_by_items(decode) == parsed_at_once(decode)


@examples(100, HealthCheck.function_scoped_fixture)
@given(
    batch=st.integers(1, 5),
    shape=st.sampled_from([(2, 3), (1, 1), (4,), (2, 2, 3)]),
    seed=st.integers(0, 999),
    is_flat=st.booleans(),
    spelling=st.sampled_from([(",", ":"), (", ", ": ")]),
    step=st.integers(16, 60),
)
def test_steps_may_end_after_any_comma(
    batch: int,
    shape: tuple[int, ...],
    seed: int,
    is_flat: bool,
    spelling: tuple[str, str],
    step: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (batch, *shape)).astype(np.uint8)
    given_as = pixels.reshape(batch, -1) if is_flat else pixels
    text = json.dumps(given_as.tolist(), separators=spelling).encode()
    with monkeypatch.context() as patch:
        patch.setattr(number_lists, "_STEP_BYTES", step)
        number_lists._layout.cache_clear()
        found = number_lists.read_uint8(ListSpan(text, 0, len(text)), given_as.shape[1:])
    number_lists._layout.cache_clear()

    assert found is not None
    np.testing.assert_array_equal(found, pixels.ravel())


@pytest.mark.parametrize(
    "number",
    [
        *("256", "299", "300", "511", "512", "999", "1000", "0255", "00", "01", "007", "-1", "1.0", "1e1"),
        *("", " ", "1 2", "a", "+1", "1\x0b", "\x0c1", "\x001", "\x7f1", "\xa01"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 5])
def test_anything_but_integers_0_to_255_is_left_to_the_parser(number: str, place: int) -> None:
    """
    Other numbers of JSON, and text that is not JSON.
    """
    numbers = ["0", "10", "200", "255", "7", "100"]
    numbers[place] = number
    text = f"[{','.join(numbers)}]".encode()

    assert number_lists.read_uint8(ListSpan(text, 0, len(text)), ()) is None


def test_all_integers_0_to_255_are_parsed() -> None:
    """
    With all white space of JSON.
    """
    text = ("[" + " ,\t\r\n".join(map(str, range(256))) + " ]").encode()

    found = number_lists.read_uint8(ListSpan(text, 0, len(text)), ())

    assert found is not None
    np.testing.assert_array_equal(found, np.arange(256))


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the size of every parsed text is added from now on."""
    sizes = []
    loads = orjson.loads

    def count(text: bytes) -> Any:  # noqa: ANN401
        sizes.append(len(text))
        return loads(text)

    monkeypatch.setattr(orjson, "loads", count)
    return sizes


@pytest.mark.parametrize("kind", ["whole", "flat", "spaced", "wrong number", "floats", "a file among them"])
def test_no_text_longer_than_an_image_is_parsed_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The parser holds the global interpreter lock until it is done.
    """
    batch: NDArray[np.uint8] = images(*range(1, 61))
    values: list[Any] = batch.tolist()
    document: dict[str, Any] = {"images": values}
    if kind == "flat":
        document = {"images": batch.reshape(60, -1).tolist()}
    elif kind == "wrong number":
        values[57][3][4] = 256
    elif kind == "floats":
        document = {"images": (batch / 255).round(3).tolist(), "scale": "unit"}
    elif kind == "a file among them":
        values[50] = base64.b64encode(picture_file()).decode()
    body = json.dumps(document).encode() if kind == "spaced" else orjson.dumps(document)
    sizes = counted(monkeypatch)

    outcome(lambda: json_documents.read(body, (28, 28), LIMITS))

    assert len(body) > json_documents._MIN_ITEMS_BYTES
    assert max(sizes) <= 3 * len(body) // len(values)


def picture_file() -> bytes:
    """Return a small PNG."""
    return picture(Image.new("L", (28, 28), 9))


def test_lists_of_integers_create_no_python_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Only the text around the list is parsed.
    """
    body = orjson.dumps({"scale": "byte", "images": images(*range(1, 61)).tolist()})
    sizes = counted(monkeypatch)

    found = json_documents.read(body, (28, 28), LIMITS)

    np.testing.assert_array_equal(found, images(*range(1, 61)))
    assert len(sizes) == 1
    assert sizes[0] < 100
