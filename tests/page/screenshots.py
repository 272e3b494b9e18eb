"""Screenshots for the README: `make screenshots`. Draws a four with the mouse in a real Chromium."""

from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from tests.conftest import REPOSITORY
from tests.digits import DIGITS
from tests.page import pen
from tests.page.conftest import ARGUMENTS, found_browser
from tests.processes import running

PICTURES: dict[str, Path] = {
    "light": REPOSITORY / "docs" / "images" / "page.png",
    "dark": REPOSITORY / "docs" / "images" / "page-dark.png",
}


def main() -> None:
    """Write the screenshots, in the light and the dark colour scheme."""
    with running(REPOSITORY / "models", "--no-access-log") as process, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found_browser(), args=list(ARGUMENTS))
        for theme, path in PICTURES.items():
            page = browser.new_page(
                viewport={"width": 1180, "height": 1040},
                color_scheme="dark" if theme == "dark" else "light",
                reduced_motion="reduce",
            )
            page.goto(f"http://127.0.0.1:{process.port}/#tab=weights")
            pen.draw(page, page.locator("#pad"), DIGITS["4"][0])
            expect(page.locator("#digit")).to_have_text("4")
            page.mouse.move(2, 2)
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(300)
            page.screenshot(path=path)
        browser.close()


if __name__ == "__main__":
    main()
