"""The report in a real browser: it is complete, readable, and asks nothing of the network."""

import pandas as pd
import pytest

from raytune_ocr.analyze import main as analyze
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.report.report_page import Writer, run_sections
from raytune_ocr.results.document import RESULTS_COPY, results_document, write_json
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.selection.confirmation import confirmation
from tests.fixtures.browser import CHROMIUM, Browser

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
                assert len(sections) == 11
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
    for name in ("confirmation", "held_out", "reliability"):
        assert (report / f"{name}.csv").stat().st_size > 40
        assert (report / f"{name}.parquet").exists()
    for name in ("confirmation", "curves", "pareto", "confusion", "reliability"):
        assert (report / f"{name}.png").exists() and (report / "dark" / f"{name}.png").exists()


def test_what_is_to_be_confirmed_and_how_far_that_is_is_told(tmp_path):
    def shown(*records, asked=2):
        state = Journal(tmp_path)
        state.rewrite({}, {"confirm": asked})
        state.close()
        document = results_document(records, {}, "now", confirmation=confirmation(records, {}))
        write_json(tmp_path / RESULTS_COPY, document)
        section = next(
            s for s in run_sections(tmp_path, Writer(tmp_path), None) if s.name == "confirmation"
        )
        return section.note + section.text

    def record(name, status="completed", confirms=""):
        made = TrialRecord(TrainingConfig(experiment_name=name), status=status, confirms=confirms)
        row = {"epoch": 1, "train_loss": 0.1, "val_char_accuracy": 0.5, "val_seq_accuracy": 0.4}
        made.add({**row, "seconds": 1.0})
        return made

    first = record("a")
    assert "pass --confirm K" in shown(first, asked=None)
    assert "After the search, the 2 best trials train again" in shown(first)
    begun = [record("a-seed101", "running", "a"), record("a-seed102", "pending", "a")]
    assert "0 of 2 runs with fresh seeds are done" in shown(first, *begun)
    begun[0].status = "completed"
    assert "1 of 2 runs with fresh seeds are done" in shown(first, *begun)


def test_parallel_coordinates_have_a_line_for_trials_that_lack_a_setting(tmp_path, monkeypatch):
    records = []
    for number, options in enumerate([{}, {"hidden": 128}, {"hidden": 192}, {"temporal_width": 8}]):
        config = TrainingConfig(experiment_name=f"t{number}", model_options=options)
        records.append(TrialRecord(config, status="completed"))
        row = {"epoch": 1, "train_loss": 0.1, "val_char_accuracy": 0.5, "val_seq_accuracy": 0.4}
        records[-1].add({**row, "seconds": 1.0})
    records.append(TrialRecord(TrainingConfig(experiment_name="lost"), status="failed"))
    write_json(tmp_path / RESULTS_COPY, results_document(records, {}, "now"))
    drawn = {}
    monkeypatch.setattr(
        "raytune_ocr.plots.draw_parallel", lambda figure, columns, **_: drawn.update(columns)
    )
    run_sections(tmp_path, Writer(tmp_path), None)
    assert drawn == {
        "model_options.hidden": ["not set", 128, 192, "not set"],
        "model_options.temporal_width": ["not set", "not set", "not set", 8],
    }
    assert len((tmp_path / "settings.csv").read_text().split()) == 5


@pytest.mark.parametrize("options", [[{}], [{}, {}], [{}, {"hidden": 64}]])
def test_searched_options_of_a_model_may_be_empty(tmp_path, options):
    records = []
    for number, some in enumerate(options):
        config = TrainingConfig(experiment_name=f"t{number}", model_options=some)
        records.append(TrialRecord(config, status="completed", sampled={"model_options": some}))
        row = {"epoch": 1, "train_loss": 0.1, "val_char_accuracy": 0.5, "val_seq_accuracy": 0.4}
        records[-1].add({**row, "seconds": 1.0})
    write_json(tmp_path / RESULTS_COPY, results_document(records, {}, "now"))
    run_sections(tmp_path, Writer(tmp_path), None)
    trials = pd.read_parquet(tmp_path / "trials.parquet")
    assert trials["model_options"].tolist() == list(map(str, options))
