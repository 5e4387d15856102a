"""The report in a real browser: it is complete, readable, and asks nothing of the network."""

import pytest

from raytune_ocr.analyze import main as analyze
from raytune_ocr.errors import DataNotFoundError
from raytune_ocr.report.report_page import write_report
from tests.fixtures.browser import CHROMIUM, chromium_page, page_data, until
from tests.fixtures.records import searched_run

# What sticks out sideways, unless it scrolls by itself.
TOO_WIDE = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.wide, .grid, nav')
    && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
SEEN = """document.querySelectorAll('#section-{} canvas, #section-{} tr').length > 0"""
SECTIONS = ("curves", "parallel", "history", "pareto", "confirmation", "costs", "reader", "runs")


@pytest.fixture(scope="module")
def report(confirmed_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    assert analyze([str(confirmed_run), "--output", str(folder)]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on the PATH")
def test_the_report_is_whole_and_readable_on_a_phone_and_in_the_dark(report):
    for width, dark in ((390, True), (1280, False)):
        with chromium_page(width, dark=dark) as page:
            page.goto((report / "report.html").as_uri())
            page.wait_for_selector("nav a:visible")
            for name in SECTIONS:
                page.locator(f"#section-{name}").scroll_into_view_if_needed()
                until(page, SEEN.replace("{}", name))
            assert page.evaluate(TOO_WIDE) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.get_by_text("Expected calibration error").wait_for()
            assert page.locator("#section-reader .reads img").count() > 0
            assert page.problems == []


@pytest.mark.slow
def test_the_report_of_a_confirmed_run_has_the_verdict_and_the_test_metrics(report):
    data = page_data(report / "report.html")
    results, reader = data["runs"][0]["results"], data["reader"][0]
    assert "noise" in results["confirmation"]["verdict"]
    assert set(results["confirmation"]["candidates"][0]["scores"]) == {"101", "102"}
    assert [row["split"] for row in results["held_out"]].count("test") == 2
    assert sum(map(sum, reader["matrix"])) > 0 and reader["calibration"]["before"]
    for name in ("confirmation", "held_out", "misread", "reliability"):
        assert (report / f"{name}.csv").stat().st_size > 40
        assert (report / f"{name}.parquet").exists()


def test_several_runs_have_one_page_and_a_folder_of_tables_each(tmp_path):
    runs = [searched_run(tmp_path / name) for name in ("one", "two")]
    path = write_report(runs, tmp_path / "out", refresh=7)
    assert 'http-equiv="refresh" content="7"' in path.read_text("utf-8")
    assert [run["name"] for run in page_data(path)["runs"]] == ["one", "two"]
    tables = {file.relative_to(path.parent).as_posix() for file in path.parent.rglob("*.csv")}
    assert {"runs.csv", "run1/trials.csv", "run2/trials.csv"} <= tables


def test_without_results_nothing_is_written(tmp_path):
    with pytest.raises(DataNotFoundError):
        write_report([tmp_path / "absent"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
