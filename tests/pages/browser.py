"""The report in headless Chromium; run by ``make test-pages``, which installs what it needs.

With ``SENDPLAN_PAGES=FOLDER`` in the environment, screenshots and a print are kept there to be
looked at.
"""

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.keys import Keys
from sqlalchemy import Engine

from sendplan.io.campaigns.demo import fill
from sendplan.io.database.engine import connect
from sendplan.io.planning.nightly import run_plan
from sendplan.io.report.writing import write_report
from sendplan.planner.problem.parameters import Parameters
from sendplan.planner.synthetic.instances import REFERENCE_NOW, reference
from sendplan.tests.worlds.databases.frames import clear_tables, put_frames
from sendplan.tests.worlds.databases.hostile_names import NOON, eventful

SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZES = {"small phone": (320, 640), "phone": (390, 844), "desk": (1440, 900)}
KEPT = os.environ.get("SENDPLAN_PAGES")

CONTRASTS = """
const channel = (value) => { value /= 255;
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; };
const luminance = ([red, green, blue]) =>
  0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue);
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
const behind = (element) => {
  for (let each = element; each; each = each.parentElement) {
    const colour = numbers(getComputedStyle(each).backgroundColor);
    if (colour.length === 3 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
const low = [];
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  if (!texts.currentNode.data.trim() || element.closest("script, .skip")) continue;
  const style = getComputedStyle(element);
  const colour = numbers(element.closest("svg") ? style.fill : style.color);
  const [one, other] = [luminance(colour), luminance(behind(element))].sort((a, b) => b - a);
  const contrast = (one + 0.05) / (other + 0.05);
  if (contrast < 4.5) low.push([texts.currentNode.data.trim(), contrast]);
}
return low;
"""
"""Finds texts that WCAG 2.2 AA (1.4.3) would have darker or lighter."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(switch)
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def pages(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write the pages of an empty database, a small one, and the demonstration's 50,000."""
    folder = tmp_path_factory.mktemp("pages")
    made = {name: folder / f"{name}.html" for name in ("empty", "small", "large")}
    write_report(engine, made["empty"], NOON)
    with engine.begin() as connection:
        put_frames(connection, eventful().frames(), NOON)
    write_report(engine, made["small"], NOON)
    with engine.begin() as connection:
        clear_tables(connection)
    frames = reference(50_000, 200, now=REFERENCE_NOW, provisional=True)
    fill(engine, frames)
    run_plan(engine, REFERENCE_NOW, Parameters("greedy"))
    write_report(engine, made["large"], REFERENCE_NOW)
    return made


def show(browser: Any, page: Path, size: str = "desk", scheme: str = "light") -> None:
    width, height = SIZES[size]
    phone = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": "phone" in size}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    colours = {"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", colours)
    browser.get(page.as_uri())


NAMES = ("empty", "small", "large")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_the_page_fits_every_width_and_nothing_is_refused(
    browser: Any, pages: dict[str, Path], name: str, size: str, scheme: str
) -> None:
    show(browser, pages[name], size, scheme)
    wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(wider) <= 0
    asked = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    assert [url for url in browser.execute_script(asked) if not url.startswith("data:")] == []
    assert browser.get_log("browser") == []
    assert browser.execute_script(CONTRASTS) == []
    if KEPT:
        shot = {"format": "png", "captureBeyondViewport": True}
        picture = browser.execute_cdp_cmd("Page.captureScreenshot", shot)["data"]
        target = Path(KEPT) / f"{name}, {size}, {scheme}.png"
        target.write_bytes(base64.b64decode(picture))


def test_the_largest_page_is_small_and_soon_there(browser: Any, pages: dict[str, Path]) -> None:
    assert pages["large"].stat().st_size < 5_000_000
    show(browser, pages["large"])
    loaded = "return performance.getEntriesByType('navigation')[0].loadEventEnd"
    assert 0 < browser.execute_script(loaded) < 2_000


def test_a_table_is_sorted_from_the_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["large"])
    buttons = browser.find_elements("css selector", "#mailboxes th button")
    (planned,) = (button for button in buttons if button.text.startswith("Planned"))
    place = buttons.index(planned)

    def column() -> list[int]:
        cells = browser.execute_script(
            "return [...document.querySelectorAll('#mailboxes tbody tr')]"
            f".map((row) => Number(row.cells[{place}].dataset.sort))"
        )
        return [int(number) for number in cells]

    assert column() != sorted(column(), reverse=True)
    planned.send_keys(Keys.ENTER)
    assert column() == sorted(column(), reverse=True)
    head = browser.find_elements("css selector", "#mailboxes thead th")[place]
    assert head.get_attribute("aria-sort") == "descending"
    planned.send_keys(Keys.SPACE)
    assert column() == sorted(column())
    assert head.get_attribute("aria-sort") == "ascending"
    buttons[0].send_keys(Keys.ENTER)
    assert browser.find_elements("css selector", "#mailboxes th[aria-sort]") == [
        browser.find_elements("css selector", "#mailboxes thead th")[0]
    ]


def test_harmful_names_are_text(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["small"])
    assert browser.execute_script("return document.scripts.length") == 1
    first = browser.find_element("css selector", "#sequences-table").find_element("xpath", "..")
    assert "<script>alert(1)</script>" in first.text


@pytest.mark.parametrize("name", NAMES)
def test_paper_is_white_even_where_screens_are_dark(
    browser: Any, pages: dict[str, Path], name: str
) -> None:
    show(browser, pages[name], scheme="dark")
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"} | dark)
    colour = "return getComputedStyle(document.body).backgroundColor"
    assert browser.execute_script(colour) == "rgb(255, 255, 255)"
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
    content = base64.b64decode(printed["data"])
    assert content.startswith(b"%PDF")
    if KEPT:
        (Path(KEPT) / f"{name}.pdf").write_bytes(content)
