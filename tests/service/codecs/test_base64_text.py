"""`service/codecs/base64_text.py`: base64 as tools write it."""

import base64
import textwrap
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.codecs import base64_text
from service.core.errors import MalformedRequest
from tests.examples import examples
from tests.service.http.bodies import check_sentence

WRITERS: dict[str, Callable[[bytes], str]] = {
    "plain": lambda data: base64.b64encode(data).decode(),
    "base64 (76 columns, a last newline)": lambda data: base64.encodebytes(data).decode(),
    "CRLF": lambda data: base64.encodebytes(data).decode().replace("\n", "\r\n"),
    "URL-safe": lambda data: base64.urlsafe_b64encode(data).decode(),
    "no padding": lambda data: base64.b64encode(data).decode().rstrip("="),
    "URL-safe, no padding": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    "indented": lambda data: textwrap.indent(base64.encodebytes(data).decode(), "    "),
    "data URL": lambda data: "data:image/png;base64," + base64.b64encode(data).decode(),
    "data URL with a charset": lambda data: (
        "data:image/png;charset=utf-8;base64," + base64.b64encode(data).decode()
    ),
    "data URL without a type": lambda data: "data:;base64," + base64.b64encode(data).decode(),
    "data URL of octets": lambda data: (
        "DATA:application/octet-stream;BASE64," + base64.b64encode(data).decode()
    ),
    "data URL with lines": lambda data: " data:image/png;base64,\n" + base64.encodebytes(data).decode(),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
@pytest.mark.parametrize("kind", ["str", "bytes", "memoryview"])
@pytest.mark.parametrize("size", [1, 2, 3, 57, 58, 48_000, 200_001])
def test_base64_is_decoded_as_tools_write_it(write: Callable[[bytes], str], kind: str, size: int) -> None:
    """
    Also where it is decoded in several steps.
    """
    data = bytes(number * 251 % 256 for number in range(size))
    text: str | bytes | memoryview = write(data)
    if kind != "str":
        text = str(text).encode()
    if kind == "memoryview":
        text = memoryview(text)  # type: ignore[arg-type]  # it is bytes here

    assert base64_text.decode(text, "Field 'image'") == data


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("AAAAA", "its length is not that of whole bytes, so it may be cut off"),
        ("AA!A", "'!' at character 3"),
        ("AAAA\u00fc", "'ü' at character 5"),
        ("A" * 65_536 + "\u20ac", "'€' at character 65,537"),
        ("AAA AAAA", "a space within a line, at character 4"),
        ("AA%2B", "'%' at character 3"),
        ("AA==AAAA", "padding before its end"),
        ("AA==\n" + "A" * 70_000, "padding before its end"),
        ("A" * 65_534 + "==" + "AAA", "something follows its padding"),
        ("=AAA", "padding before its end"),
        ("data:image/png;base64,A-!A", "'!' at character 3"),
    ],
)
def test_what_is_wrong_is_named(text: str, reason: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        base64_text.decode(text, "Field 'image'")

    message = str(caught.value)
    check_sentence(message)
    assert message == (
        "Field 'image' should be base64 of a PNG, JPEG or WebP file, alone or as a data: URL; "
        f"got text that is no base64 ({reason})."
    )


@pytest.mark.parametrize(
    "text", ["data:", "data:image/png,AAAA", "data:text/html;base64,AAAA", "data:;base64", "data:base64,AAAA"]
)
def test_other_data_urls_are_refused(text: str) -> None:
    with pytest.raises(MalformedRequest, match=r"should be a data: URL of an image in base64; got '"):
        base64_text.decode(text, "Field 'image'")


@examples()
@given(text=st.text(max_size=40) | st.text("AB+/=-_ \n", max_size=40))
def test_any_text_is_decoded_or_refused(text: str) -> None:
    try:
        base64_text.decode(text, "Field 'image'")
    except MalformedRequest as error:
        check_sentence(str(error))


def test_long_text_is_not_copied() -> None:
    """
    8 MB in lines: the result and one step.
    """
    text = base64.encodebytes(bytes(6 * 2**20)).decode()
    tracemalloc.start()
    try:
        base64_text.decode(text, "Field 'image'")
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert peak <= 8 * 2**20
