"""The report in a real browser: it is complete, readable, and asks nothing of the network."""

import sys
from pathlib import Path

import pytest

from raytune_ocr.analyze import main as analyze

sys.path.insert(0, str(Path(__file__).parents[1]))
from browser import CHROMIUM, Browser

SECTIONS = """[...document.querySelectorAll('section')].map(s => ({
    title: s.querySelector('h2').innerText,
    pictures: [...s.querySelectorAll('img')].map(i => i.complete && i.naturalWidth > 300),
    rows: s.querySelectorAll('tr').length,
    text: s.innerText.length,
}))"""
# What sticks out sideways, unless it scrolls by itself.
TOO_WIDE = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.wide')
    && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName)"""
CONTRAST = """(() => {
    const light = c => c.match(/[0-9.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 765;
    const s = getComputedStyle(document.body);
    return Math.abs(light(s.color) - light(s.backgroundColor));
})()"""
SHOWN = "[...document.images].map(i => i.currentSrc.length)"


@pytest.fixture(scope="module")
def report(confirmed_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    assert analyze([str(confirmed_run), "--output", str(folder)]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on the PATH")
def test_the_report_is_whole_and_readable_on_a_phone_and_in_the_dark(report, tmp_path):
    page = report / "report.html"
    seen = {}
    with Browser() as browser:
        for width in (400, 1000):
            for dark in (False, True):
                browser.open(page, width, dark)
                sections = browser.evaluate(SECTIONS)
                assert len(sections) == 9
                for section in sections:
                    assert all(section["pictures"]), section
                    assert section["pictures"] or section["rows"] or section["text"] > 20, section
                assert browser.evaluate(TOO_WIDE) == []
                assert browser.evaluate("document.documentElement.scrollWidth") <= width
                assert browser.evaluate(CONTRAST) > 0.6
                seen[width, dark] = browser.evaluate(SHOWN)
                browser.screenshot(tmp_path / f"{width}-{'dark' if dark else 'light'}.png")
        assert browser.problems == []
    assert len(seen[400, True]) > 4
    assert seen[400, True] != seen[400, False]  # each has pictures of its own


@pytest.mark.slow
def test_the_report_of_a_confirmed_run_tells_the_verdict_and_the_test_figures(report):
    page = (report / "report.html").read_text(encoding="utf-8")
    section = page[page.index('id="confirmation"') : page.index('id="curves"')]
    assert "seed 101" in section and "seed 102" in section
    assert "noise" in section
    assert section.count("<td>test</td>") == 2
    for name in ("confirmation", "held_out"):
        assert (report / f"{name}.csv").stat().st_size > 40
        assert (report / f"{name}.parquet").exists()
    for name in ("confirmation", "curves", "pareto", "confusion"):
        assert (report / f"{name}.png").exists() and (report / "dark" / f"{name}.png").exists()
