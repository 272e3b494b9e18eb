"""Page and documentation behind a proxy, under a path."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.page.conftest import PATIENCE_MS
from tests.page.test_drawing import digit, write
from tests.page.watching import Watch
from tests.processes import running
from tests.security.pages import proxy

ROOT = "/tools/inkling"


@pytest.mark.parametrize("strips", [True, False], ids=["prefix removed", "prefix kept"])
def test_everything_works_under_a_path(browser: Browser, published: Path, strips: bool) -> None:
    """
    Drawing, images of weights and reports, links and documentation; all requests are under the path.
    """
    arguments = ("--root-path", ROOT, "--no-access-log")
    with running(published, *arguments) as process, proxy(process.port, ROOT, strips) as shown:
        address = f"http://127.0.0.1:{shown.port}"
        watch = Watch(address)
        context = browser.new_context()
        context.set_default_timeout(PATIENCE_MS)
        watch.listen(context)
        page = context.new_page()

        page.goto(f"{address}{ROOT}/")
        write(page, "7")
        digit(page, "7")
        for tab in ("weights", "report"):
            page.locator(f"#tab-{tab}").click()
            image = page.locator(f"#panel-{tab} img").first
            expect(image).to_be_attached()
            page.wait_for_function("(image) => image.naturalWidth > 0", arg=image.element_handle())
        page.get_by_role("link", name="API").click()
        expect(page).to_have_url(re.compile(rf"{ROOT}/docs$"))
        expect(page.locator(".opblock").first).to_be_visible()
        page.locator(".opblock-summary-control").first.click()
        page.get_by_role("button", name="Try it out").first.click()
        page.get_by_role("button", name="Execute").first.click()
        expect(page.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
        context.close()

    assert watch.unexpected() == []
    assert shown.outside == []


def test_path_without_trailing_slash_redirects_to_the_page(browser: Browser, published: Path) -> None:
    """
    Otherwise a browser would resolve the page's links against the parent folder.
    """
    arguments = ("--root-path", ROOT, "--no-access-log")
    with running(published, *arguments) as process, proxy(process.port, ROOT, strips=False) as shown:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{shown.port}{ROOT}#tab=report")

        expect(page).to_have_url(f"http://127.0.0.1:{shown.port}{ROOT}/#tab=report")
        expect(page.locator("#model option").first).to_be_attached()
        page.close()
