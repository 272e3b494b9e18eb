"""The web component `<inkling-pad>` on the pages of `examples/`, of another origin, in a real browser."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import REPOSITORY
from tests.processes import free_port, running

MOST_BYTES = 20 * 1024


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def example(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the example pages from one origin, and a service that allows it by CORS from another."""
    folder = tmp_path_factory.mktemp("example")
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", free_port()), functools.partial(_Quiet, directory=folder)
    )
    origin = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with running(published, "--no-access-log", "--cors-origin", origin) as process:
            address = f"http://127.0.0.1:{process.port}"
            for path in (REPOSITORY / "examples").glob("*.html"):
                text = path.read_text("utf-8")
                assert "http://127.0.0.1:8000" in text
                (folder / path.name).write_text(text.replace("http://127.0.0.1:8000", address), "utf-8")
            yield origin
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def page(browser: Browser, example: str) -> Iterator[Page]:
    """The example; no script may fail."""
    context = browser.new_context()
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{example}/page.html")
    page.locator("inkling-pad canvas").wait_for()
    yield page
    context.close()
    assert errors == []


def draw_one(page: Page) -> None:
    """Draw a vertical line with the mouse."""
    box = page.locator("inkling-pad canvas").bounding_box()
    assert box
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, box["y"] + box["height"] * 0.15)
    page.mouse.down()
    page.mouse.move(x, box["y"] + box["height"] * 0.85, steps=10)
    page.mouse.up()


def test_digit_drawn_with_the_mouse_is_recognised(page: Page) -> None:
    """
    And taken back, and drawn again and cleared.
    """
    result, undo, clear = page.locator("output"), page.get_by_text("Undo"), page.get_by_text("Clear")
    expect(undo).to_be_disabled()

    for button in (undo, clear):
        draw_one(page)
        expect(result).to_have_text("1")
        button.click()
        expect(result).to_have_text("")
        expect(clear).to_be_disabled()


def test_digit_drawn_with_the_keyboard_is_recognised(page: Page) -> None:
    page.locator("inkling-pad canvas").focus()
    for key in (" ", *["ArrowDown"] * 12, " "):
        page.keyboard.press(key)

    expect(page.locator("output")).to_have_text("1")
    expect(page.locator("inkling-pad [role=status]")).to_have_text("Recognised: 1.")


def test_programs_can_set_the_strokes_and_are_told_about_errors(page: Page) -> None:
    page.evaluate("document.querySelector('inkling-pad').strokes = [[[300,200],[700,200],[450,800]]]")
    expect(page.locator("output")).to_have_text("7")

    page.evaluate("document.querySelector('inkling-pad').setAttribute('model', 'none')")
    draw_one(page)

    expect(page.locator("output")).to_contain_text("Model should be one of")


def test_colours_follow_the_scheme_and_parts_can_be_styled(page: Page) -> None:
    canvas = page.locator("inkling-pad canvas")
    read = "element => getComputedStyle(element)"

    assert canvas.evaluate(f"{read}.borderTopColor") == "rgb(0, 128, 128)"
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours.append(canvas.evaluate(f"{read}.backgroundColor"))
    assert colours == ["rgb(255, 255, 255)", "rgb(22, 24, 29)"]


def test_a_number_of_several_digits_fills_in_a_form(page: Page, example: str) -> None:
    page.goto(f"{example}/postcode.html")
    page.locator("inkling-pad canvas").wait_for()

    seven_one = "[[[100,300],[350,300],[200,700]],[[700,280],[700,720]]]"
    page.evaluate(f"document.querySelector('inkling-pad').strokes = {seven_one}")
    expect(page.locator("input")).to_have_value("71")

    page.get_by_text("Clear").click()
    expect(page.locator("input")).to_have_value("")


def test_component_is_small() -> None:
    """
    All files that it loads, uncompressed.
    """
    folder = REPOSITORY / "service/static"

    assert (
        sum((folder / name).stat().st_size for name in ("element.js", "pad.js", "drawing.js")) <= MOST_BYTES
    )
