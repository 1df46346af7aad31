"""The report in a real browser, headless: wide, narrow, light, dark, and without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from report_browser import WIDE, Browser, browser, check_page, complaints_of, find_browser
from report_world import Made


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip("Chromium is not installed; the report is not opened in a browser")
    with browser(program) as running:
        yield running


def test_looks_right_wide_and_narrow_light_and_dark(made: Made) -> None:
    check_page(made.page)


BROKEN = {
    "a picture that is none": ("</main>", '<img src="data:image/png;base64,AAAA" alt="x"></main>'),
    "a picture without a text": ("</main>", '<img src="data:," alt=""></main>'),
    "a page that is too wide": ("</main>", '<div style="width: 3000px">x</div></main>'),
    "a request": ("</main>", '<img src="https://example.org/x.png" alt="x"></main>'),
    "an error of a script": ("</body>", "<script>nothing();</script></body>"),
    "a table that is too wide": ("</th>", f" {'x' * 400}</th>"),
    "a caption that is cut": ("<figcaption>", '<figcaption style="white-space: nowrap">'),
    "a page that ignores the dark": ("--paper: #1b1b1b", "--paper: #ffffff"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_the_check_sees(what: str, made: Made, chromium: Browser, tmp_path: Path) -> None:
    old, new = BROKEN[what]
    page = tmp_path / "report.html"
    page.write_text(made.html.replace(old, new, 1))
    assert complaints_of(page, chromium, WIDE, dark=True)


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
