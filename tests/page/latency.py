"""Measures the time from the last pen event to the shown prediction: `python -m tests.page.latency`.

Draws the tests' digits with the mouse in a real Chromium, and measures within the page from the last
pointer event to the frame after the prediction was written.
"""

import statistics
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.digits import DIGITS
from tests.page import pen
from tests.page.conftest import ARGUMENTS, found_browser
from tests.processes import running

ROUNDS = 10

RECORD = """() => {
  window.delays = [];
  let moved = 0;
  let settled = 0;
  document.getElementById('pad').addEventListener('pointermove', () => { moved = performance.now(); }, true);
  const bars = document.getElementById('bars');
  new MutationObserver(() => {
    const since = moved;
    cancelAnimationFrame(settled);
    settled = requestAnimationFrame(() => { window.last = performance.now() - since; });
  }).observe(bars, { subtree: true, attributes: true, childList: true, characterData: true });
}"""


def main() -> None:
    """Measure, and print median and 95th percentile in milliseconds."""
    models = Path(__file__).parents[2] / "models"
    delays = []
    with running(models, "--no-access-log") as process, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found_browser(), args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"http://127.0.0.1:{process.port}/")
        page.wait_for_load_state("networkidle")
        page.evaluate(RECORD)
        for _ in range(ROUNDS):
            for label in DIGITS:
                pen.draw(page, page.locator("#pad"), DIGITS[label][0])
                page.wait_for_timeout(300)
                delays.append(page.evaluate("window.last"))
                page.locator("#clear").click()
                page.wait_for_timeout(100)
        browser.close()
    quantiles = statistics.quantiles(delays, n=20)
    sys.stdout.write(
        f"{len(delays)} digits: median {statistics.median(delays):.1f} ms, "
        f"95th percentile {quantiles[-1]:.1f} ms, longest {max(delays):.1f} ms\n"
    )


if __name__ == "__main__":
    main()
