"""Fixtures: a running service, a real Chromium, and recorded pages."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.page.watching import Watch
from tests.processes import Process, running

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""No sandbox, because tests may run as root; no requests except to the service."""

PATIENCE_MS = 30_000
"""Timeout of page actions in milliseconds; only a broken page needs that long."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def process(published: Path) -> Iterator[Process]:
    """A service with the repository's models."""
    with running(published, "--no-access-log") as process:
        yield process


@pytest.fixture(scope="module")
def address(process: Process) -> str:
    """Scheme, host and port of the service."""
    return f"http://127.0.0.1:{process.port}"


def found_browser() -> str | None:
    """Return the path of the browser; None if none is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """
    A headless Chromium with a temporary profile.

    Its scope is the module, not the session: while Playwright runs, the thread has an event loop, and no
    other test could start one.
    """
    found = found_browser()
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, headless=True, args=list(ARGUMENTS))
        yield browser
        browser.close()


Open = Callable[..., BrowserContext]
"""Creates a context with Playwright's options, such as `has_touch=True`."""


@pytest.fixture
def watch(address: str) -> Watch:
    """Recorder of the test's pages; undeclared faults fail the test."""
    return Watch(address)


@pytest.fixture
def contexts(browser: Browser, address: str, watch: Watch) -> Iterator[Open]:
    """Create recorded contexts; at the end of the test they must have no undeclared faults."""
    opened = []

    def open_context(**options: Any) -> BrowserContext:  # noqa: ANN401 - Playwright's options
        context = browser.new_context(base_url=address, **options)
        context.set_default_timeout(PATIENCE_MS)
        watch.listen(context)
        opened.append(context)
        return context

    yield open_context
    for context in opened:
        context.close()
    assert watch.unexpected() == []


@pytest.fixture
def context(contexts: Open) -> BrowserContext:
    """A recorded context with the viewport of a desktop."""
    return contexts(viewport={"width": 1280, "height": 900})


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A recorded page, still empty."""
    return context.new_page()
