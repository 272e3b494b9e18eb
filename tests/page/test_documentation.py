"""API documentation in a browser, under the content security policy of the page."""

from playwright.sync_api import Page, expect


def test_the_documentation_lists_and_tries_operations(page: Page) -> None:
    """
    Without console messages, which a refused script or style would cause.
    """
    page.goto("/docs")

    expect(page.locator(".opblock").first).to_be_visible()
    assert page.locator(".opblock").count() > 20
    page.locator("#operations-operators-live, .opblock").first.locator(".opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").first.click()
    page.get_by_role("button", name="Execute").first.click()

    expect(page.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
