"""Draws on the page with real mouse, pen and touch events."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from playwright.sync_api import Locator, Page

from tests.digits import Strokes

MOVES = 3
"""Number of move events between two points of a stroke, as of a continuous movement."""

Point = tuple[float, float]


def window_points(pad: Locator, strokes: Strokes, share: float = 0.8) -> list[list[Point]]:
    """Return strokes in window coordinates, centred on the canvas.

    Args:
        pad: The canvas; it is scrolled into view.
        strokes: Points in a square of 100 x 100.
        share: Size of that square as a fraction of the canvas's shorter side.
    """
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None, "the pad is not shown"
    side = share * min(box["width"], box["height"])
    left = box["x"] + (box["width"] - side) / 2
    top = box["y"] + (box["height"] - side) / 2
    return [[(left + side * x / 100, top + side * y / 100) for x, y in stroke] for stroke in strokes]


def draw(page: Page, pad: Locator, strokes: Strokes, share: float = 0.8) -> None:
    """Draw with the mouse."""
    for stroke in window_points(pad, strokes, share):
        page.mouse.move(*stroke[0])
        page.mouse.down()
        for point in stroke[1:]:
            page.mouse.move(*point, steps=MOVES)
        page.mouse.up()


def draw_with_pen(page: Page, pad: Locator, strokes: Strokes, share: float = 0.8) -> None:
    """Draw with a pen on a tablet."""
    session = page.context.new_cdp_session(page)

    def send(kind: str, point: Point, pressed: bool) -> None:
        event = {
            "type": kind,
            "x": point[0],
            "y": point[1],
            "pointerType": "pen",
            "button": "left" if kind != "mouseMoved" else "none",
            "buttons": int(pressed),
            "clickCount": int(kind != "mouseMoved"),
            "force": 0.5 if pressed else 0,
        }
        session.send("Input.dispatchMouseEvent", event)

    for stroke in window_points(pad, strokes, share):
        send("mouseMoved", stroke[0], False)
        send("mousePressed", stroke[0], True)
        for point in _between(stroke):
            send("mouseMoved", point, True)
        send("mouseReleased", stroke[-1], False)
    session.detach()


def draw_with_finger(page: Page, pad: Locator, strokes: Strokes, share: float = 0.8) -> None:
    """Draw by touch; the page's context must have been made with `has_touch`."""
    session = page.context.new_cdp_session(page)

    def send(kind: str, *points: Point) -> None:
        touches = [{"x": x, "y": y, "id": 1} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    for stroke in window_points(pad, strokes, share):
        send("touchStart", stroke[0])
        for point in _between(stroke):
            send("touchMove", point)
        send("touchEnd")
    session.detach()


def _between(stroke: Sequence[Point]) -> Iterator[Point]:
    for (x, y), (to_x, to_y) in pairwise(stroke):
        for step in range(1, MOVES + 1):
            yield x + (to_x - x) * step / MOVES, y + (to_y - y) * step / MOVES
