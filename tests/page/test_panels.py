"""Content of the tabs below the canvas."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.page.test_drawing import digit, opened, write


def test_every_preprocessing_step_is_shown(page: Page) -> None:
    """
    In order; the last is the network's input of 28 x 28 pixels.
    """
    opened(page)
    write(page, "4")
    digit(page, "4")

    pictures = page.locator("#panel-steps img")

    expect(pictures).to_have_count(4)
    expect(pictures.last).to_have_attribute("width", "28")
    expect(page.locator("#panel-steps figcaption").first).to_contain_text("As drawn")


def test_most_active_units_come_first(page: Page) -> None:
    """
    Another drawing changes the order.
    """
    opened(page)
    page.locator("#tab-weights").click()
    panel = page.locator("#panel-weights")
    write(page, "1")
    expect(panel).to_contain_text("most active come first")
    first = panel.locator("figure, li").all_inner_texts()[:32]

    page.locator("#clear").click()
    write(page, "0")
    digit(page, "0")
    page.wait_for_load_state("networkidle")
    second = panel.locator("figure, li").all_inner_texts()[:32]

    assert first != second
    numbers = [float(text) for text in re.findall(r"(\d+\.\d+)", "\n".join(second))]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) >= 16


def test_all_digit_networks_are_compared(page: Page, published: Path) -> None:
    """
    Every version of each; its button selects it.
    """
    opened(page)
    write(page, "7")
    digit(page, "7")
    page.locator("#tab-compare").click()
    rows = page.locator("#panel-compare tbody tr")
    shown = [path for path in published.glob("*/*/manifest.json") if path.parts[-3] != "flowers17"]
    expect(rows).to_have_count(len(shown))
    expect(rows.last).to_contain_text("ink 4")
    for row in range(len(shown)):
        expect(rows.nth(row)).to_contain_text("%")

    rows.first.get_by_role("button", name=re.compile("use", re.IGNORECASE)).click()

    expect(page.locator("#model")).to_have_value("softmax/1")
    digit(page, "7")


def test_cell_of_the_confusion_matrix_is_explained(page: Page) -> None:
    """
    In words, with its count.
    """
    opened(page, "#tab=report")
    panel = page.locator("#panel-report")
    cell = panel.locator("table button", has_text=re.compile("^1133$"))

    cell.click()

    expect(panel).to_contain_text(re.compile(r"Of 1,135 .*1,133"))
    assert panel.locator("picture img").count() >= 3


def test_photograph_of_a_flower_is_predicted(page: Page) -> None:
    """
    Seventeen probabilities, and the network's input.
    """
    opened(page, "#tab=flowers")
    panel = page.locator("#panel-flowers")
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")

    panel.locator("input[type=file]").set_input_files(
        {"name": "flower.png", "mimeType": "image/png", "buffer": file.getvalue()}
    )

    expect(panel.locator("li", has_text="%")).to_have_count(17)
    assert panel.locator("canvas").evaluate("canvas => [canvas.width, canvas.height]") == [64, 64]


@pytest.mark.parametrize("palette", ["lesson", "safe"])
def test_palette_applies_to_weights_and_is_stored(page: Page, palette: str) -> None:
    opened(page, "#tab=weights")

    page.select_option("#palette", palette)

    image = page.locator("#panel-weights img").first
    expect(image).to_have_attribute("src", re.compile(f"palette={palette}"))
    page.reload()
    expect(page.locator("#palette")).to_have_value(palette)
