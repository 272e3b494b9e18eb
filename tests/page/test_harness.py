"""Tests of the tools of the page's tests: `watching.py` and `pen.py`."""

from playwright.sync_api import BrowserContext, Locator, Page

from tests import digits
from tests.page import pen
from tests.page.conftest import Open
from tests.page.watching import Watch

BLANK = '<!doctype html><link rel="icon" href="data:,"><div id="pad"></div>'

RECORD = """() => {
  const pad = document.getElementById('pad');
  pad.style.cssText = 'position:fixed; left:40px; top:40px; width:300px; height:300px; touch-action:none';
  window.seen = [];
  for (const kind of ['pointerdown', 'pointermove', 'pointerup']) {
    pad.addEventListener(kind, (event) => window.seen.push([kind, event.pointerType, event.buttons]));
  }
}"""


def pad_of(page: Page) -> Locator:
    """Return an empty element that records its pointer events."""
    page.route("**/blank", lambda route: route.fulfill(body=BLANK, content_type="text/html"))
    page.goto("/blank")
    page.evaluate(RECORD)
    return page.locator("#pad")


def seen(page: Page, kind: str) -> list[str]:
    """Return the pointer types of the events of a kind."""
    events = page.evaluate("() => window.seen")
    return [device for name, device, _ in events if name == kind]


def test_pointer_types_are_those_of_mouse_pen_and_touch(contexts: Open) -> None:
    """
    With at least as many move events as points.
    """
    strokes = digits.DIGITS["4"][0]
    points = sum(len(stroke) for stroke in strokes)

    for device, draw in (("mouse", pen.draw), ("pen", pen.draw_with_pen), ("touch", pen.draw_with_finger)):
        page = contexts(has_touch=device == "touch").new_page()
        draw(page, pad_of(page), strokes)

        assert seen(page, "pointerdown") == [device] * len(strokes)
        assert seen(page, "pointerup") == [device] * len(strokes)
        assert seen(page, "pointermove").count(device) >= points - len(strokes)


def test_faults_of_a_page_are_recorded(page: Page, watch: Watch) -> None:
    """
    An error and a warning in the console, an exception, a missing file, another host.
    """
    page.goto("/livez")

    page.evaluate("() => { console.error('one'); console.warn('two'); }")
    page.evaluate("() => { setTimeout(() => { throw new Error('three'); }); }")
    page.evaluate("() => fetch('/four')")
    page.evaluate("() => fetch('http://127.0.0.1:9/five', { mode: 'no-cors' }).catch(() => 0)")
    page.wait_for_timeout(200)

    found = "\n".join(watch.unexpected())
    watch.expect(".")
    for word in ("error: one", "warning: two", "three", "status of 404", "other host: http://127.0.0.1:9"):
        assert word in found


def test_page_opens_without_faults(page: Page, context: BrowserContext) -> None:
    """
    Its script runs, and its icon is served.
    """
    page.goto("/")

    page.wait_for_load_state("networkidle")

    assert page.title().startswith("Inkling")
    assert context.pages == [page]
