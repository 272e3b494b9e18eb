"""The service stops, refuses or is slow: the page reports it and recovers by itself."""

import signal
from pathlib import Path

from playwright.sync_api import Browser, Page, Route, expect

from tests.page.conftest import PATIENCE_MS
from tests.page.test_drawing import digit, opened, write
from tests.page.watching import Watch
from tests.processes import running


def test_stopped_service_is_reported_and_retried(browser: Browser, published: Path) -> None:
    """
    A stop and a start on the same port; a drawing made in between gets a prediction.
    """
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    with running(published, "--no-access-log") as process:
        page.goto(f"http://127.0.0.1:{process.port}/")
        write(page, "1")
        digit(page, "1")
        process.stop(signal.SIGTERM)
        page.locator("#clear").click()
        write(page, "4")
        expect(page.locator("#notice")).to_contain_text("does not respond")
        port = process.port

    with running(published, "--no-access-log", port=port):
        digit(page, "4")
        expect(page.locator("#notice")).to_be_hidden()
    context.close()


def test_selected_report_appears_when_the_service_responds_again(page: Page, watch: Watch) -> None:
    """
    Of another network; a refused connection and a 503 are both retried.
    """
    watch.expect("status of 503", "ERR_CONNECTION_REFUSED")
    opened(page, "#tab=report")
    panel = page.locator("#panel-report")
    expect(panel).to_contain_text("Layers of ink 4")
    refused: list[int] = []

    def refuse(route: Route) -> None:
        refused.append(1)
        if len(refused) == 1:
            route.abort("connectionrefused")
        elif len(refused) == 2:
            route.fulfill(status=503, content_type="application/problem+json", body='{"detail": "Full."}')
        else:
            route.continue_()

    page.route("**/flowers17/**/report", refuse)

    panel.locator("select").first.select_option("flowers17/2")

    expect(panel).to_contain_text("Layers of flowers17 2", timeout=PATIENCE_MS)
    expect(page.locator("#notice")).to_be_hidden()
    assert len(refused) == 3


def test_overloaded_service_is_retried(page: Page, watch: Watch) -> None:
    """
    The page shows the message of the 503.
    """
    watch.expect("status of 503")
    opened(page)
    refused: list[int] = []

    def refuse(route: Route) -> None:
        if len(refused) < 3:
            refused.append(1)
            route.fulfill(
                status=503, content_type="application/problem+json", body='{"detail": "The queue is full."}'
            )
        else:
            route.continue_()

    page.route("**/explain?*", refuse)

    write(page, "7")

    digit(page, "7")
    expect(page.locator("#notice")).to_be_hidden()
    assert len(refused) == 3


def test_page_starts_when_the_service_becomes_ready(page: Page, watch: Watch) -> None:
    """
    A drawing made before gets its prediction.
    """
    watch.expect("status of 503")
    asked: list[int] = []

    def refuse(route: Route) -> None:
        asked.append(1)
        if len(asked) < 3:
            route.fulfill(
                status=503, content_type="application/problem+json", body='{"detail": "Not ready yet."}'
            )
        else:
            route.continue_()

    page.route("**/v1/models", refuse)
    page.goto("/")
    expect(page.locator("#notice")).to_contain_text("Not ready yet.")

    write(page, "7")

    digit(page, "7")
    expect(page.locator("#notice")).to_be_hidden()


def test_pad_stays_in_its_place_when_the_notice_appears(page: Page, watch: Watch) -> None:
    """
    A stroke during which the service fails keeps its shape.
    """
    watch.expect("status of 503")
    opened(page)
    pad = page.locator("#pad")
    before = pad.bounding_box()
    page.route("**/explain?*", lambda route: route.fulfill(status=503, body="{}"))

    write(page, "7")

    expect(page.locator("#notice")).to_be_visible()
    assert pad.bounding_box() == before
