"""`service/codecs/multipart.py`: image files in forms."""

import base64
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from service.codecs import multipart
from service.core.errors import BrokenPicture, MalformedRequest, PayloadTooLarge
from tests import digits
from tests.examples import examples
from tests.service.http.bodies import LIMITS, check_images_or_refusal, check_sentence, form, picture, read

EXAMPLES = examples(60, HealthCheck.data_too_large)

SEVEN = digits.canvas(digits.DIGITS["7"][0], size=60, pen=6)


@EXAMPLES
@example(names=[".py", "0x/tmp"], boundary="0")
@given(
    names=st.lists(
        st.text(st.characters(exclude_characters='"\\\r\n', exclude_categories=["Cs", "Cc"]), max_size=20),
        min_size=1,
        max_size=4,
    ),
    boundary=st.text("abcXYZ0189-", min_size=1, max_size=60),
)
def test_files_of_a_form_are_read_in_order_under_any_field_name(names: list[str], boundary: str) -> None:
    """
    The same name twice is two files; long names are shortened in messages.
    """
    contents = [f"content {index}\r\n--".encode() for index in range(len(names))]
    content_type, body = form(*zip(names, contents, strict=True), boundary=boundary)

    found = multipart.read_form(content_type, body, LIMITS)

    assert [drawing.content for drawing in found] == contents
    for drawing, name in zip(found, names, strict=True):
        assert drawing.field.startswith(f"Part {repr(name)[:36]}")
        check_sentence(drawing.field)


def test_errors_of_image_files_name_their_part() -> None:
    content_type, body = form(("good", picture(SEVEN)), ("bad", b"no picture"))

    with pytest.raises(BrokenPicture) as caught:
        read(content_type, body)

    assert str(caught.value) == "Part 'bad' should be a PNG, JPEG or WebP picture; got something else."


def test_text_fields_are_refused_without_repeating_their_value() -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\nmy secret\r\n--b--\r\n'

    with pytest.raises(MalformedRequest) as caught:
        multipart.read_form("multipart/form-data; boundary=b", body, LIMITS)

    assert str(caught.value) == "Part 'image' should be a file with a filename; got a text."


def test_more_files_than_the_limit_are_refused() -> None:
    content_type, body = form(*[("image", b"x")] * (LIMITS.images + 1))

    with pytest.raises(PayloadTooLarge) as caught:
        multipart.read_form(content_type, body, LIMITS)

    assert str(caught.value) == "Batch should be at most 64 images; got 65."


@pytest.mark.parametrize(
    "content_type",
    [
        'multipart/form-data; boundary="',
        "multipart/form-data; boundary=another",
        "multipart/form-data; boundary=\xff",
        "multipart/form-data; boundary=" + "b" * 5000,
    ],
)
def test_forms_with_a_wrong_boundary_are_refused(content_type: str) -> None:
    _, body = form(("image", picture(SEVEN)))

    with pytest.raises(MalformedRequest) as caught:
        multipart.read_form(content_type, body, LIMITS)

    check_sentence(str(caught.value))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b--\r\n",
        b"--b\r\n",
        b"--b\r\n\r\n\r\n--b--",
        b"--b\r\n:\r\n\r\nx\r\n--b--",
        b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nthe end is missing',
        b"no form at all",
    ],
)
def test_malformed_forms_are_refused(body: bytes) -> None:
    """
    Missing ends, headers without names, no parts.
    """
    with pytest.raises(MalformedRequest) as caught:
        multipart.read_form("multipart/form-data; boundary=b", body, LIMITS)

    check_sentence(str(caught.value))


@examples(150, HealthCheck.data_too_large)
@given(data=st.data(), encoding=st.sampled_from(["", "base64", "quoted-printable", "binary"]))
@example(data=None, encoding="base64")
def test_mutated_forms_give_images_or_a_request_error(data: st.DataObject | None, encoding: str) -> None:
    """
    Bytes of a valid form are replaced, deleted and inserted.
    """
    content_type, good = form(("a", picture(SEVEN)), ("b", picture(SEVEN)))
    if encoding:
        head = f"Content-Transfer-Encoding: {encoding}\r\nContent-Type".encode()
        good = good.replace(b"Content-Type", head)
    body = bytearray(good)
    for _ in range(data.draw(st.integers(0, 4)) if data else 0):
        assert data is not None
        start = data.draw(st.integers(0, 150))
        end = start + data.draw(st.sampled_from([0, 1, 1, 2, 20]))
        body[start:end] = data.draw(
            st.binary(max_size=5) | st.sampled_from([b"\r\n", b"--", b";", b'"', b"="])
        )

    check_images_or_refusal(lambda: read(content_type, bytes(body)))


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; charset=utf-8"],
)
def test_missing_boundary_is_taken_from_the_body(content_type: str) -> None:
    """
    Programs that set the header themselves do not know the boundary.
    """
    _, body = form(("image", picture(SEVEN)), ("image", b"2"))

    found = multipart.read_form(content_type, body, LIMITS)

    assert [drawing.content for drawing in found] == [picture(SEVEN), b"2"]


@pytest.mark.parametrize("body", [b"", b"no form", b"--\r\n", b"--b", b"--" + b"b" * 5000 + b"\r\n"])
def test_missing_boundary_of_another_body_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedRequest) as caught:
        multipart.read_form("multipart/form-data", body, LIMITS)

    check_sentence(str(caught.value))
    assert "with a boundary" in str(caught.value)


def _part(disposition: str, content: bytes) -> bytes:
    return b"--b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n--b--\r\n" % (
        disposition.encode(),
        content,
    )


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('name="a"; filename="seven.png"', "seven.png"),
        ('name="a"; filename="sieben \u20ac.png"', "sieben \u20ac.png"),
        ("name=\"a\"; filename*=utf-8''sieben%20%E2%82%AC.png", "sieben \u20ac.png"),
        ("name=\"a\"; filename*=UTF-8'de'sieben.png", "sieben.png"),
        ('name="a"; filename=""', ""),
        (f'name="a"; filename="{"x" * 3000}"', "x" * 255),
        ('name="a"; filename="%s"' % ("\u20ac" * 900), "\u20ac" * 255),
    ],
)
def test_names_of_files_are_kept(disposition: str, name: str) -> None:
    """
    Long ones are cut: they become part of the response.
    """
    (found,) = multipart.read_form("multipart/form-data; boundary=b", _part(disposition, b"x"), LIMITS)

    assert found.file == name


@pytest.mark.parametrize(
    "write",
    [
        bytes,
        base64.b64encode,
        base64.encodebytes,
        lambda data: b"data:image/png;base64," + base64.b64encode(data),
    ],
)
def test_image_file_without_a_file_name_is_accepted(write: Callable[[bytes], bytes]) -> None:
    """
    As a field of a form with the text of `canvas.toDataURL()`, or as some clients write files.
    """
    body = _part('name="image"', write(picture(SEVEN)))

    (found,) = multipart.read_form("multipart/form-data; boundary=b", body, LIMITS)

    assert (found.content, found.file) == (picture(SEVEN), None)
