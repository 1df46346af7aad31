"""The report in a real browser, headless: wide, narrow, light, dark, and without scripts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from report_browser import Browser, browser, find_browser
from report_world import Made


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip("Chromium is not installed; the report is not opened in a browser")
    with browser(program) as running:
        yield running


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 400])
def test_opens_without_a_complaint(made: Made, chromium: Browser, width: int, dark: bool) -> None:
    chromium.open(made.page, width, dark)
    assert chromium.complaints() == []
    images = chromium.evaluate("Array.from(document.images, (image) => image.naturalWidth)")
    assert len(images) >= 15
    assert min(images) > 0
    # tables and figures scroll in their own boxes, the page does not
    assert chromium.evaluate("document.documentElement.scrollWidth") == width
    background = chromium.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background != "rgb(255, 255, 255)") == dark


def test_dark_mode_shows_dark_figures_and_print_light_ones(made: Made, chromium: Browser) -> None:
    shown = "document.images[0].currentSrc.length + document.images[0].currentSrc.slice(-80)"
    sources = []
    for dark, media in ((False, "screen"), (True, "screen"), (True, "print")):
        chromium.open(made.page, 1280, dark, media)
        sources.append(chromium.evaluate(shown))
    assert sources[0] != sources[1]
    assert sources[0] == sources[2]


def test_tables_sort_and_filter(made: Made, chromium: Browser) -> None:
    chromium.open(made.page, 1280)
    column = """(() => {
      const table = document.querySelector('#scores table.filter');
      const heads = Array.from(table.tHead.rows[0].cells, (cell) => cell.textContent);
      const place = heads.indexOf(%r);
      %s
      return Array.from(table.tBodies[0].rows).filter((row) => !row.hidden)
        .map((row) => row.cells[place].textContent.trim());
    })()"""
    click = "table.tHead.rows[0].cells[place].querySelector('button').click();"
    first = [float(text) for text in chromium.evaluate(column % ("r", click))]
    assert first == sorted(first, reverse=True)
    second = [float(text) for text in chromium.evaluate(column % ("r", click))]
    assert second == sorted(first)
    names = chromium.evaluate(column % ("Region", click))
    assert names == sorted(names, key=lambda name: name.replace("n/a", "n"))
    typed = """const input = table.closest('details').querySelector('input');
      input.value = 'fusiform'; input.dispatchEvent(new Event('input'));"""
    assert set(chromium.evaluate(column % ("Region", typed))) == {"fusiform"}
    assert chromium.complaints() == []


def test_reads_the_same_without_scripts(made: Made, chromium: Browser) -> None:
    try:
        chromium.call("Emulation.setScriptExecutionDisabled", value=True)
        chromium.open(made.page, 1280)
        chromium.call("Emulation.setScriptExecutionDisabled", value=False)
        assert chromium.evaluate("document.querySelectorAll('th button').length") == 0
        assert chromium.evaluate("document.querySelector('.contents').open") is True
        assert "Answer in short" in chromium.evaluate("document.body.innerText")
    finally:
        chromium.call("Emulation.setScriptExecutionDisabled", value=False)
