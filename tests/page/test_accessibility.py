"""Accessibility of the page: axe, small screens, dark colours, reduced motion, keyboard."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import REPOSITORY
from tests.page.conftest import Open
from tests.page.test_drawing import digit, opened, write

AXE = REPOSITORY / "node_modules" / "axe-core" / "axe.min.js"
TABS = ("steps", "weights", "compare", "report", "flowers")

RUN = "() => axe.run(document, { resultTypes: ['violations'] })"


def faults(page: Page) -> list[str]:
    """Return axe's findings that are serious or critical."""
    # The page's policy allows no script of others; evaluating is the test's own way in.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(RUN)["violations"]
    return [
        f"{fault['id']}: {fault['help']}: {node['html'][:120]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


@pytest.mark.parametrize(
    "look",
    [
        pytest.param({"color_scheme": "light"}, id="light"),
        pytest.param({"color_scheme": "dark"}, id="dark"),
        pytest.param({"viewport": {"width": 390, "height": 844}, "has_touch": True}, id="phone"),
    ],
)
def test_axe_finds_no_serious_fault(contexts: Open, look: dict[str, Any]) -> None:
    """
    On the empty page, with a prediction, and in every tab.
    """
    if not AXE.exists():
        pytest.skip("axe-core is not installed: npm install")
    page = opened(contexts(**look).new_page())
    found = faults(page)
    write(page, "4")
    digit(page, "4")

    for tab in TABS:
        page.locator(f"#tab-{tab}").click()
        page.wait_for_load_state("networkidle")
        found += faults(page)

    assert found == []


@pytest.mark.parametrize(("width", "height"), [(320, 640), (390, 844), (640, 450)])
def test_page_does_not_scroll_sideways(contexts: Open, width: int, height: int) -> None:
    """
    On a small phone, a phone, and a laptop at 200 % zoom, which halves its width.
    """
    page = opened(contexts(viewport={"width": width, "height": height}).new_page())
    write(page, "4")
    digit(page, "4")

    for tab in TABS:
        page.locator(f"#tab-{tab}").click()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab


def test_reduced_motion_disables_all_transitions(contexts: Open) -> None:
    page = opened(contexts(reduced_motion="reduce").new_page())

    moving = page.evaluate(
        """() => [...document.querySelectorAll('*')]
          .filter((one) => getComputedStyle(one).transitionDuration !== '0s').length"""
    )

    assert moving == 0


def test_prediction_does_not_move_the_layout(page: Page) -> None:
    """
    Elements below the prediction keep their position.
    """
    opened(page)
    page.wait_for_load_state("networkidle")
    places = "['bars', 'tabs', 'why'].map((id) => document.getElementById(id).getBoundingClientRect().top)"
    before = page.evaluate(places)

    write(page, "8")
    digit(page, "8")

    assert page.evaluate(places) == before


def test_arrow_keys_move_between_tabs(page: Page) -> None:
    """
    Only the open tab is in the tab order.
    """
    opened(page)
    page.locator("#tab-steps").focus()

    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-weights")).to_be_focused()
    expect(page.locator("#panel-weights")).to_be_visible()
    page.keyboard.press("End")
    expect(page.locator("#tab-flowers")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-steps")).to_be_focused()
    assert page.locator("[role=tab][tabindex='0']").count() == 1


def test_without_javascript_the_page_names_the_api(contexts: Open) -> None:
    page = contexts(java_script_enabled=False).new_page()
    page.goto("/")

    expect(page.locator("noscript p")).to_be_visible()
    expect(page.locator("noscript p")).to_contain_text("needs JavaScript")
