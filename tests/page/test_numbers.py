"""A number of several digits is drawn or dropped; the page reads it, and a person corrects it."""

import io
import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests import digits
from tests.page import pen
from tests.page.conftest import Open
from tests.page.test_accessibility import AXE, faults
from tests.page.test_drawing import digit, opened, write
from tests.page.watching import Watch

FIVE_WITH_BAR: digits.Strokes = [digits.DIGITS["5"][0][0][1:], digits.DIGITS["5"][0][0][:2]]


def number(text: str) -> digits.Strokes:
    """Strokes of a number in a square of 100 x 100; lines of text are separated by line feeds."""
    lines = text.split("\n")
    width = 100 / max(map(len, lines))
    height = min(100 / len(lines), 1.4 * width)
    strokes: digits.Strokes = []
    for row, line in enumerate(lines):
        top = 50 - height * len(lines) / 2 + (row + 0.1) * height
        for column, label in enumerate(line):
            drawn = digits.arrays(digits.DIGITS[label][0])
            points = np.concatenate(drawn)
            low, extent = points.min(axis=0), np.ptp(points, axis=0)
            scale = 0.75 * height / extent[1]
            at = np.array([(column + 0.5) * width - extent[0] * scale / 2, top])
            strokes += [((stroke - low) * scale + at).tolist() for stroke in drawn]
    return strokes


def draw(page: Page, text: str) -> None:
    """Draw a number with the mouse, and wait until it is read."""
    pen.draw(page, page.locator("#pad"), number(text))
    digit(page, text)


@pytest.mark.parametrize("text", ["10", "42", "2026", "31\n75"])
def test_a_drawn_number_is_read(page: Page, text: str) -> None:
    """
    Each digit with its box over the drawing and its confidence; the bars of one digit are hidden.
    """
    opened(page)

    draw(page, text)

    labels = text.replace("\n", "")
    expect(page.locator("#number-digits strong")).to_have_text([*labels])
    expect(page.locator("#boxes .box button")).to_have_text([*labels])
    expect(page.locator("#verdict")).to_contain_text(f"{len(labels)} digits")
    expect(page.locator("#bars")).to_be_hidden()
    expect(page.locator("#live")).to_contain_text(f"Number {text.replace(chr(10), ', ')}")
    pad = page.locator("#pad").bounding_box()
    first, last = (page.locator("#boxes .box").nth(at).bounding_box() for at in (0, -1))
    assert pad
    assert first
    assert last
    assert pad["x"] < first["x"] < last["x"] < pad["x"] + pad["width"]


def test_a_five_with_a_separate_bar_is_one_digit(page: Page) -> None:
    """
    After a number; its boxes disappear.
    """
    opened(page)
    draw(page, "42")
    page.locator("#clear").click()
    expect(page.locator("#number")).to_be_hidden()
    expect(page.locator("#boxes")).to_be_hidden()

    pen.draw(page, page.locator("#pad"), FIVE_WITH_BAR)

    digit(page, "5")
    expect(page.locator("#number")).to_be_hidden()
    expect(page.locator("#bars")).to_be_visible()


def test_a_digit_is_corrected_by_keys_and_by_pressing(page: Page) -> None:
    """
    Typed on the digit in the list; pressed after its label over the drawing. Undo forgets it.
    """
    opened(page)
    draw(page, "42")
    second = page.locator("#number-digits button").nth(1)

    second.focus()
    page.keyboard.press("7")
    digit(page, "47")
    expect(second).to_be_focused()
    expect(second).to_have_accessible_name("Digit 2: 7 was 2")
    expect(page.locator("#verdict")).to_have_text("2 digits, 1 corrected")
    expect(page.locator("#live")).to_contain_text("Number 47")

    page.locator("#boxes .box button").first.click()
    expect(page.locator("#number-digits button").first).to_be_focused()
    expect(page.locator("#number-choices")).to_be_visible()
    page.locator("#number-choices").get_by_text("9", exact=True).click()
    digit(page, "97")
    expect(page.locator("#number-choices")).to_be_hidden()

    page.locator("#undo").click()
    page.locator("#redo").click()
    digit(page, "42")


def test_escape_ends_a_correction(page: Page) -> None:
    opened(page)
    draw(page, "42")
    first = page.locator("#number-digits button").first

    first.click()
    expect(first).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")

    expect(page.locator("#number-choices")).to_be_hidden()
    expect(first).to_be_focused()
    digit(page, "42")


def test_the_corrected_number_is_copied(contexts: Open) -> None:
    page = opened(contexts(permissions=["clipboard-read", "clipboard-write"]).new_page())
    draw(page, "31\n75")
    page.locator("#number-digits button").nth(2).focus()
    page.keyboard.press("2")
    digit(page, "31\n25")

    page.locator("#copy-number").click()

    expect(page.locator("#copy-number")).to_have_text("Number copied")
    assert page.evaluate("navigator.clipboard.readText()") == "31\n25"


def test_a_picture_of_a_number_has_boxes_where_it_is_shown(page: Page) -> None:
    """
    A wide picture is in the middle of the canvas.
    """
    opened(page)
    strip = digits.canvas(number("42"), size=400).crop((0, 100, 400, 300))
    file = io.BytesIO()
    strip.save(file, "PNG")

    page.set_input_files("#file", {"name": "42.png", "mimeType": "image/png", "buffer": file.getvalue()})

    digit(page, "42")
    pad = page.locator("#pad").bounding_box()
    box = page.locator("#boxes .box").first.bounding_box()
    assert pad
    assert box
    middle = (box["y"] + box["height"] / 2 - pad["y"]) / pad["height"]
    assert middle == pytest.approx(0.5, abs=0.06)
    assert box["height"] < pad["height"] / 2


def test_drawing_goes_on_under_the_boxes(page: Page) -> None:
    opened(page)
    draw(page, "1")
    page.locator("#clear").click()
    draw(page, "10")

    pen.draw(page, page.locator("#pad"), [[[80, 30], [95, 70]]])

    expect(page.locator("#undo")).to_be_enabled()
    page.locator("#undo").click()
    digit(page, "10")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault_with_a_number(contexts: Open, scheme: str) -> None:
    """
    On a phone, while a digit is corrected; the page does not scroll sideways.
    """
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm install")
    page = opened(contexts(viewport={"width": 320, "height": 640}, color_scheme=scheme).new_page())
    draw(page, "2026")
    page.locator("#number-digits button").first.click()

    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_a_number_that_cannot_be_read_is_no_error(page: Page, watch: Watch) -> None:
    """
    The page says so.
    """
    opened(page)
    problem = '{"detail": "too many parts"}'
    page.route(
        "**/read?*",
        lambda route: route.fulfill(status=413, content_type="application/problem+json", body=problem),
    )
    watch.expect("413")

    pen.draw(page, page.locator("#pad"), number("42"))

    expect(page.locator("#verdict")).to_have_text("Several digits, which cannot be read as a number.")
    expect(page.locator("#number")).to_be_hidden()


def test_one_digit_does_not_ask_for_a_number(page: Page) -> None:
    asked: list[str] = []
    opened(page)
    page.on("request", lambda request: asked.append(request.url))

    write(page, "4")
    digit(page, "4")
    page.wait_for_load_state("networkidle")

    assert not [url for url in asked if re.search("/read", url)]
