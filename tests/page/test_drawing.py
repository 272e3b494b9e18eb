"""People draw on the page, and it answers: with mouse, pen, finger and keys, and by pictures and links."""

import base64
import io
import re
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from tests import digits
from tests.page import pen
from tests.page.conftest import Open
from tests.page.watching import Watch

CLEAR_DIGITS = "0123456789"


def digit(page: Page, label: str) -> None:
    """Wait until the page shows a digit."""
    expect(page.locator("#digit")).to_have_text(label)


def opened(page: Page, fragment: str = "") -> Page:
    """Open the page, and wait until it has the list of models."""
    page.goto(f"/{fragment}")
    expect(page.locator("#model option").first).to_be_attached()
    return page


def write(page: Page, label: str) -> None:
    """Draw a digit with the mouse."""
    pen.draw(page, page.locator("#pad"), digits.DIGITS[label][0])


def png(label: str) -> bytes:
    """Return a drawn digit as a PNG file."""
    file = io.BytesIO()
    digits.canvas(digits.DIGITS[label][0]).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("label", CLEAR_DIGITS)
def test_digit_drawn_with_the_mouse_is_predicted(page: Page, label: str) -> None:
    """
    The digit, its bar and the announced text agree.
    """
    opened(page)

    write(page, label)

    digit(page, label)
    bar = page.locator("#bars li").nth(int(label)).locator("button")
    expect(bar).to_have_class(re.compile("likeliest"))
    expect(page.locator("#verdict")).to_contain_text("sure")
    expect(page.locator("#live")).to_contain_text(f"{label}. ")


@pytest.mark.parametrize(("device", "draw"), [("touch", pen.draw_with_finger), ("pen", pen.draw_with_pen)])
def test_finger_and_pen_draw(contexts: Open, device: str, draw: Callable[..., None]) -> None:
    """
    On a phone in portrait; drawing does not scroll the page.
    """
    page = opened(contexts(viewport={"width": 390, "height": 844}, has_touch=device == "touch").new_page())
    pad = page.locator("#pad")
    pad.scroll_into_view_if_needed()
    before = page.evaluate("scrollY")

    draw(page, pad, digits.DIGITS["3"][0])

    digit(page, "3")
    assert page.evaluate("scrollY") == before


def test_undo_redo_and_clear(page: Page) -> None:
    """
    With buttons and keys; a new stroke clears the redo history.
    """
    opened(page)
    undo, redo, clear = (page.locator(f"#{name}") for name in ("undo", "redo", "clear"))
    expect(undo).to_be_disabled()
    write(page, "4")  # two strokes
    digit(page, "4")

    shown = page.locator("#verdict").inner_text()
    undo.click()
    expect(page.locator("#verdict")).not_to_have_text(shown)
    redo.click()
    digit(page, "4")
    expect(redo).to_be_disabled()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    expect(page.locator("#verdict")).to_have_text("Nothing is drawn yet")
    expect(undo).to_be_disabled()
    page.keyboard.press("Control+y")
    page.keyboard.press("Control+Shift+z")
    digit(page, "4")
    clear.click()
    expect(page.locator("#digit")).to_have_text("?")
    expect(clear).to_be_disabled()
    undo.click()
    digit(page, "4")
    page.locator("#pad").focus()
    page.keyboard.press("Delete")
    expect(page.locator("#digit")).to_have_text("?")


def test_keyboard_draws_on_a_grid(page: Page) -> None:
    """
    A seven: to the right, then down; positions are announced to screen readers.
    """
    opened(page)
    page.locator("#pad").focus()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")

    page.keyboard.press("Space")
    expect(page.locator("#live")).to_have_text("Pen down at column 5, row 5")
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    for step in range(12):
        page.keyboard.press("ArrowDown")
        if step % 2:
            page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")

    expect(page.locator("#live")).to_contain_text("Pen up")
    digit(page, "7")


def test_address_contains_the_drawing(page: Page, contexts: Open) -> None:
    """
    With the network and the tab; the link shows the same prediction.
    """
    opened(page)
    page.select_option("#model", "mlp-128/2")
    write(page, "5")
    digit(page, "5")
    page.locator("#tab-compare").click()
    shown = page.locator("#verdict").inner_text()
    address = page.url
    assert len(address) < 500

    other = contexts().new_page()
    other.goto(address)

    digit(other, "5")
    assert other.locator("#model").input_value() == "mlp-128/2"
    assert other.locator("#tab-compare").get_attribute("aria-selected") == "true"
    number = re.compile(r"[\d.]+")
    sent, seen = (number.search(text) for text in (shown, other.locator("#verdict").inner_text()))
    assert sent
    assert seen
    assert float(seen[0]) == pytest.approx(float(sent[0]), abs=5)  # the address holds a simpler drawing


@pytest.mark.parametrize(
    "fragment", ["#draw=zzz", "#draw=%00", "#model=none/1", "#tab=none", "#draw=00zz.&model=", "#%"]
)
def test_invalid_address_opens_an_empty_page(page: Page, fragment: str) -> None:
    """
    Without an error in the console.
    """
    opened(page, fragment)

    expect(page.locator("#digit")).to_have_text("?")
    assert page.locator("#model").input_value() == "ink/4"


@pytest.mark.parametrize("way", ["upload", "paste", "drop"])
def test_image_file_is_predicted(page: Page, way: str) -> None:
    """
    Uploaded, pasted or dropped; undo removes it.
    """
    opened(page)
    if way == "upload":
        with page.expect_file_chooser() as chooser:
            page.locator("#upload").click()
        chooser.value.set_files({"name": "digit.png", "mimeType": "image/png", "buffer": png("8")})
    else:
        page.evaluate(
            """([data, kind]) => {
              const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
              const transfer = new DataTransfer();
              transfer.items.add(new File([bytes], 'digit.png', { type: 'image/png' }));
              const how = { bubbles: true, cancelable: true };
              document.body.dispatchEvent(kind === 'paste'
                ? new ClipboardEvent('paste', { ...how, clipboardData: transfer })
                : new DragEvent('drop', { ...how, dataTransfer: transfer }));
            }""",
            [base64.b64encode(png("8")).decode(), way],
        )

    digit(page, "8")
    expect(page.locator("#share")).to_be_disabled()
    page.locator("#undo").click()
    expect(page.locator("#digit")).to_have_text("?")


def test_file_that_is_no_image_is_refused(page: Page) -> None:
    """
    A file of another type, and one whose content is no image.
    """
    opened(page)

    page.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"four"})
    expect(page.locator("#verdict")).to_have_text("Choose a PNG, JPEG or WebP file.")
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": b"four"})
    expect(page.locator("#verdict")).to_have_text("This image file cannot be read.")


def test_scribble_is_shown_as_perhaps_not_a_digit(page: Page) -> None:
    """
    A dense scribble from edge to edge.
    """
    opened(page)
    scribble: digits.Strokes = [[[x, (x * 37) % 100] for x in range(0, 101, 2)]]

    pen.draw(page, page.locator("#pad"), scribble)

    expect(page.locator("#verdict")).to_contain_text("not a digit")


def test_pressing_a_bar_explains_that_digit(page: Page) -> None:
    """
    Pressed again, the predicted digit is explained.
    """
    opened(page)
    write(page, "4")
    digit(page, "4")
    expect(page.locator("#reason")).to_contain_text("the logit of 4")
    nine = page.locator("#bars li").nth(9).locator("button")

    nine.click()
    expect(page.locator("#reason")).to_contain_text("the logit of 9")
    expect(nine).to_have_attribute("aria-pressed", "true")
    nine.click()
    expect(page.locator("#reason")).to_contain_text("the logit of 4")


def test_shares_are_painted_with_the_formula_of_weight_images(page: Page) -> None:
    """
    In the palette `lesson`: the largest share has full intensity.
    """
    opened(page)
    write(page, "7")
    digit(page, "7")
    page.wait_for_load_state("networkidle")

    with page.expect_response(re.compile("label=9")) as waiting:
        page.locator("#bars li").nth(9).locator("button").click()
    expect(page.locator("#reason")).to_contain_text("the logit of 9")

    shares = np.array(waiting.value.json()["predictions"][0]["shares"])
    painted = page.evaluate(
        "[...document.getElementById('shares').getContext('2d').getImageData(0, 0, 28, 28).data]"
    )
    rgba = np.array(painted).reshape(28, 28, 4)
    v = shares / np.abs(shares).max()
    np.testing.assert_array_equal(rgba[..., 3], np.where(v == 0, 0, 255))
    np.testing.assert_allclose(rgba[..., 0][v != 0], 255 * (1 - np.maximum(v, 0))[v != 0], atol=1)
    np.testing.assert_allclose(rgba[..., 1][v != 0], 255 * (1 - np.maximum(-v, 0))[v != 0], atol=1)


def test_one_request_runs_and_the_newest_drawing_is_shown(page: Page) -> None:
    """
    The first responses are delayed.
    """
    opened(page)
    flying = 0
    most = 0
    asked: list[int] = []

    def slow(route: Route) -> None:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        asked.append(len(route.request.post_data or ""))
        answer = route.fetch()
        page.wait_for_timeout(150 if len(asked) < 3 else 0)
        flying -= 1
        route.fulfill(response=answer)

    page.route("**/explain?*", slow)

    write(page, "4")

    digit(page, "4")
    page.wait_for_timeout(400)
    digit(page, "4")
    assert most == 1
    assert asked[-1] == max(asked)  # the whole drawing
    assert len(asked) >= 2  # how many more depends on how fast the machine draws


def test_no_other_host_is_requested(page: Page, watch: Watch) -> None:
    """
    With all tabs opened. The content security policy allows nothing inline.
    """
    answer = page.goto("/")
    assert answer
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    write(page, "2")
    digit(page, "2")

    for tab in ("weights", "compare", "report", "flowers", "steps"):
        page.locator(f"#tab-{tab}").click()
        page.wait_for_load_state("networkidle")

    assert len(watch.requests) > 20
    assert page.evaluate("document.querySelectorAll('[style*=\"url\"]').length") == 0
