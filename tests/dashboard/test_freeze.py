import json
import re

import pytest

from raytune_ocr.dashboard import freeze as module
from raytune_ocr.dashboard.freeze import freeze, frozen_data
from raytune_ocr.dashboard.snapshot import snapshots
from raytune_ocr.errors import DataNotFoundError
from raytune_ocr.results.journal import Journal
from tests.fixtures.browser import CHROMIUM, chromium_page, page_data, until
from tests.fixtures.records import searched_run, trial

needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium or google-chrome on the PATH"
)
CONTROLS = "a, button, input, select, summary, [tabindex='0']"
FOCUSED = """() => {
    const e = document.activeElement;
    e.wasFocused = true;
    return e === document.body || getComputedStyle(e).outlineStyle !== 'none';
}"""
NUMBER_FOCUSED = "[...document.querySelectorAll('*')].filter(e => e.wasFocused).length"
MISSED = f"""[...document.querySelectorAll("{CONTROLS}")]
    .filter(e => e.checkVisibility() && !e.wasFocused && !e.disabled).map(e => e.outerHTML)"""
NASTY = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = searched_run(tmp_path_factory.mktemp("frozen") / "run")
    state = folder / "run_state.jsonl"
    lines = state.read_text("utf-8").splitlines()
    nasty = [re.sub(r',"digest".*', "}", line) for line in lines]
    state.write_text("\n".join(nasty).replace("<loss>", NASTY.replace('"', "")) + "\n", "utf-8")
    return folder


def test_a_frozen_page_has_the_data_of_its_runs(folder, tmp_path):
    path = tmp_path / "new" / "page.html"
    content = freeze([folder, folder], path)
    data = page_data(path)
    assert data == json.loads(json.dumps(content))
    assert [len(run["trials"]) for run in data["runs"]] == [9, 9]
    assert data["curves"][0]["times"]["trial_0"]["epoch"] == [1, 2, 3]
    assert data["curves"][0]["values"]["val_loss"]["trial_0"] == [1.0, 0.5, 0.3333333]
    assert data["importance"][1]["ours"][0]["setting"] == "learning_rate"
    assert "error" in data["reader"][0]


def test_of_a_large_run_only_the_curves_that_rank_are_kept(folder, monkeypatch):
    monkeypatch.setattr(module, "MOST_CURVES", 10)
    (curves,) = frozen_data(snapshots([folder]), None)["curves"]
    assert list(curves["values"]) == ["val_char_accuracy"]


def test_a_source_without_results_writes_nothing(tmp_path):
    with pytest.raises(DataNotFoundError):
        freeze([tmp_path], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@needs_browser
def test_a_frozen_page_is_whole_at_three_widths_and_runs_no_script_of_its_data(folder, tmp_path):
    path = tmp_path / "page.html"
    freeze([folder], path)
    for width, dark in ((390, False), (768, True), (1280, False)):
        with chromium_page(width, dark=dark) as page:
            asked = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.on("dialog", lambda dialog: pytest.fail(dialog.message))
            page.goto(f"{path.as_uri()}#sel=0/trial_8")
            page.wait_for_selector("[data-trial=trial_7]")
            page.get_by_text("Error of trial_8").wait_for()
            assert NASTY in page.locator("#section-trial pre").inner_text()
            links = page.locator("nav a:visible").all_inner_texts()
            assert "Failures" in links and "Slice and contour" in links
            assert not {"Timeline of trials", "Confirmation and test split"} & set(links)
            heads = page.locator(".head .cell").all_inner_texts()
            first = ["trial", "val_char_accuracy ▼"] if width < 640 else ["trial", "status"]
            assert heads[:2] == first and heads.index("learning rate") < heads.index("epochs")
            page.locator("#section-pareto").scroll_into_view_if_needed()
            page.wait_for_selector("#section-pareto canvas")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator("#page img").count() == 0
            assert page.problems == []
            assert [u for u in asked if not u.startswith(("file:", "data:"))] == []


@needs_browser
def test_a_filter_and_a_selection_are_in_the_url(folder, tmp_path):
    freeze([folder], tmp_path / "page.html")
    url = (tmp_path / "page.html").as_uri()
    with chromium_page() as page:
        page.goto(url)
        page.get_by_label("Filter trials").fill("learning_rate>=0.005 status=completed")
        until(page, "document.querySelector('.count').textContent === '4 of 9 trials'")
        page.locator(".grid").focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.get_by_text("Settings and metrics of trial_6").wait_for(state="attached")
        linked = page.url
    with chromium_page() as page:
        page.goto(linked)
        until(page, "document.querySelector('.count').textContent === '4 of 9 trials'")
        page.wait_for_selector("[data-trial=trial_6][aria-selected=true]")


@needs_browser
def test_the_tab_key_reaches_every_control_and_shows_where_it_is(folder, tmp_path):
    freeze([folder], tmp_path / "page.html")
    with chromium_page() as page:
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_selector("[data-trial=trial_7]")
        for _ in range(150):
            page.keyboard.press("Tab")
            assert page.evaluate(FOCUSED), page.evaluate("document.activeElement.outerHTML")
            if page.evaluate("document.activeElement === document.body"):
                break
        assert page.evaluate(MISSED) == []
        assert page.evaluate(NUMBER_FOCUSED) > 30


@needs_browser
def test_a_setting_in_which_only_the_runs_differ_is_a_column(tmp_path):
    for number in (1, 2):
        (tmp_path / f"run_{number}").mkdir()
        journal = Journal(tmp_path / f"run_{number}")
        journal.rewrite({"trial_0": trial(tmp_path, 0, 0.5, learning_rate=number / 10)}, {})
        journal.close()
    freeze([tmp_path / "run_1", tmp_path / "run_2"], tmp_path / "page.html")
    with chromium_page() as page:
        page.goto(f"{(tmp_path / 'page.html').as_uri()}#sel=0/trial_0,1/trial_0")
        page.wait_for_selector("[data-trial=trial_0]")
        heads = page.locator(".head .cell").all_inner_texts()
        assert "learning rate" in heads and "batch size" not in heads
        facts = page.locator("#section-trial table").first.inner_text()
        assert "learning rate ≠" in facts and "0.1" in facts and "0.2" in facts
        page.locator("#section-trial summary").click()
        assert "batch size" in page.locator("#section-trial details table").inner_text()
        assert page.problems == []
