"""What the other tests of the page rely on: that faults are noticed and that hands draw."""

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
    """Return an empty pad that writes down what happens on it."""
    page.route("**/blank", lambda route: route.fulfill(body=BLANK, content_type="text/html"))
    page.goto("/blank")
    page.evaluate(RECORD)
    return page.locator("#pad")


def seen(page: Page, kind: str) -> list[str]:
    """Return with what each event of a kind was made."""
    events = page.evaluate("() => window.seen")
    return [device for name, device, _ in events if name == kind]


def test_a_mouse_a_pen_and_a_finger_draw(contexts: Open) -> None:
    """
    Each as the browser tells them apart, with as many moves as points at least.
    """
    strokes = digits.DIGITS["4"][0]
    points = sum(len(stroke) for stroke in strokes)

    for device, draw in (("mouse", pen.draw), ("pen", pen.draw_with_pen), ("touch", pen.draw_with_finger)):
        page = contexts(has_touch=device == "touch").new_page()
        draw(page, pad_of(page), strokes)

        assert seen(page, "pointerdown") == [device] * len(strokes)
        assert seen(page, "pointerup") == [device] * len(strokes)
        assert seen(page, "pointermove").count(device) >= points - len(strokes)


def test_a_fault_of_a_page_is_noticed(page: Page, watch: Watch) -> None:
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


def test_the_page_opens_without_a_fault(page: Page, context: BrowserContext) -> None:
    """
    Its script has run; its icon was asked for and is there.
    """
    page.goto("/")

    page.wait_for_load_state("networkidle")

    assert page.title().startswith("Inkling")
    assert context.pages == [page]
