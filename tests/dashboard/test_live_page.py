"""What a user does on the page stays while news of the run arrive."""

import pytest

from raytune_ocr.dashboard.serving import Serving
from raytune_ocr.dashboard.snapshot import snapshots
from raytune_ocr.results.document import RESULTS_COPY, results_document, write_json
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.steering.orders import entry_of, new_order
from tests.fixtures.browser import CHROMIUM, chromium_page, until
from tests.fixtures.records import trial

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on the PATH")
COUNT = "document.querySelector('.count').textContent"
FIRST_AXIS = 56  # pixels from the left
CHART = "#section-{} .chart"
OPTION = """(name) => window.echarts.getInstanceByDom(
    document.querySelector(`#section-${name} .chart`)).getOption()"""
ZOOM = """() => window.echarts.getInstanceByDom(document.querySelector("#section-curves .chart"))
    .dispatchAction({type: "dataZoom", start: 10, end: 90})"""
MODEL = """() => window.echarts.getInstanceByDom(document.querySelector("#section-parallel .chart"))
    .getModel().queryComponents({mainType: "parallelAxis"}).map(axis => axis.activeIntervals)"""


class Run:
    """A journal that the test writes while the page reads it."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder, self.number = folder, 0
        self.journal = Journal(folder)
        self.journal.rewrite({}, {"id": "live"})

    def add(self, score=0.9, **settings):
        """Append a trial."""
        settings = {"learning_rate": 1e-3 * (self.number + 1), **settings}
        self.journal.append(trial(self.folder, self.number, score, **settings))
        self.number += 1


@pytest.fixture
def run(tmp_path):
    made = Run(tmp_path / "run")
    for number in range(6):
        made.add(0.3 + number / 10)
    yield made
    made.journal.close()


@pytest.fixture
def page(run):
    with Serving(snapshots([run.folder]), "127.0.0.1") as serving, chromium_page() as page:
        page.goto(serving.url)
        until(page, f"{COUNT} === '6 of 6 trials'")
        yield page
        assert page.problems == []


def news(page, run, score=0.9):
    """Wait until the page has a further trial."""
    run.add(score)
    until(page, f"/of {run.number} trials/.test({COUNT})")
    page.wait_for_timeout(300)  # the charts are drawn one after another


def seen(page, section):
    page.locator(f"#section-{section}").scroll_into_view_if_needed()
    page.wait_for_selector(f"{CHART.format(section)} canvas")
    page.wait_for_timeout(300)
    return page.locator(CHART.format(section)).bounding_box()


def drag(page, box, start, end):
    """Drag between two places, given as shares of a box."""
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=5)
    page.mouse.up()


def test_the_brush_of_curves_survives_news_and_takes_later_trials_in(page, run):
    seen(page, "curves")
    page.get_by_role("button", name="Brush", exact=True).click()
    page.evaluate(ZOOM)
    news(page, run, 0.2)
    news(page, run, 0.2)
    box = seen(page, "curves")
    drag(page, box, (0.5, 0.2), (0.99, 0.5))  # the best trials, late
    until(page, f"!/^8 of/.test({COUNT}) && !/^0 of/.test({COUNT})")
    before = int(page.evaluate(COUNT).split()[0])
    news(page, run, 0.75)
    until(page, f"{COUNT} === '{before + 1} of 9 trials'")
    option = page.evaluate(OPTION, "curves")
    assert (option["dataZoom"][0]["start"], option["dataZoom"][0]["end"]) == (10, 90)
    page.get_by_role("button", name="Clear brush", exact=True).click()
    until(page, f"{COUNT} === '9 of 9 trials'")


def test_a_brushed_axis_and_a_link_to_it_keep_their_range(page, run):
    box = seen(page, "parallel")
    axis = FIRST_AXIS / box["width"]
    drag(page, box, (axis, 0.3), (axis, 0.7))
    until(page, f"!/^6 of/.test({COUNT}) && !/^0 of/.test({COUNT})")
    (before, *_), held = page.evaluate(MODEL), page.evaluate(COUNT).split()[0]
    news(page, run)
    assert page.evaluate(MODEL)[0] == before
    assert page.evaluate(COUNT) == f"{held} of 7 trials"
    page.reload()
    until(page, f"{COUNT} === '{held} of 7 trials'")
    seen(page, "parallel")
    assert page.evaluate(MODEL)[0] == before
    page.get_by_role("button", name="Clear", exact=True).click()
    until(page, f"{COUNT} === '7 of 7 trials'")
    assert page.evaluate(MODEL)[0] == []


def test_a_control_keeps_the_focus_when_it_is_used_and_when_news_come(page, run):
    page.locator("#section-curves select").nth(2).focus()
    page.keyboard.press("ArrowDown")
    news(page, run)
    focused = "[document.activeElement.tagName, document.activeElement.value]"
    assert page.evaluate(focused) == ["SELECT", "0.5"]
    page.locator(".head button").nth(1).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    until(page, "document.activeElement.textContent === 'status ▼'")


REFRESHED = """async () => {
    const page = await import("page/store.js");
    const both = Promise.all([page.refresh(), page.refresh()]);
    for (let step = 0; step < 40; step++) {
        page.filter(step % 2 ? "learning_rate<1" : "");
        await new Promise(done => setTimeout(done, 5));
    }
    await both;
    return page.store.trials.length;
}"""


def test_a_filter_while_a_run_is_read_anew_finds_its_trials(page, run):
    run.journal.rewrite({f"trial_{n}": trial(run.folder, n, n / 10) for n in range(4)}, {})
    assert page.evaluate(REFRESHED) == 4


def test_the_step_of_a_front_lies_where_no_trial_is(page, run):
    seen(page, "pareto")
    for higher, step in ((False, "end"), (True, "start")):
        page.get_by_label("higher x is better").set_checked(higher)
        for also in (False, True):
            page.get_by_label("higher y is better").set_checked(also)
            page.wait_for_timeout(100)
            assert page.evaluate(OPTION, "pareto")["series"][-1]["step"] == step


def test_the_results_that_a_run_ends_with_appear(page, run):
    row = "target character accuracy"
    records = [trial(run.folder, n, 0.5) for n in range(6)]
    document = results_document(records, {"character_accuracy": 0.8}, "20260101_000000")
    write_json(run.folder / RESULTS_COPY, document)
    page.get_by_text(row).wait_for(timeout=10_000)


def test_trials_are_chosen_with_ctrl_and_without_a_keyboard(page, run):
    page.locator("[data-trial=trial_1]").click()
    page.locator("[data-trial=trial_2]").click(modifiers=["Control"])
    page.get_by_label("Choose several").check()
    page.locator("[data-trial=trial_3]").click()
    chosen = page.locator("#section-trial .chosen")
    assert chosen.count() == 3
    page.get_by_label("Compare with").fill("trial_5")
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('#section-trial .chosen').length === 4")
    page.locator(".grid").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator(f"#{page.locator('.grid').get_attribute('aria-activedescendant')}").count()


def test_a_text_that_a_cell_is_too_narrow_for_is_its_tooltip(page, run):
    run.add(0.5, model_name="a" * 60)
    cell = page.locator(".row .cell", has_text="a" * 60)
    cell.scroll_into_view_if_needed()
    cell.hover()
    until(page, f"document.querySelector('.row .cell[title]')?.title === '{'a' * 60}'")


def test_a_form_takes_any_setting_and_a_tag_can_be_removed(page, run):
    orders = []

    def answer(route):
        orders.append(route.request.post_data_json)
        route.fulfill(json={"accepted": True, "reason": ""})

    page.route("**/api/order*", answer)
    run.journal.append_decisions([entry_of(new_order("tag", "trial_1", tag="good"))])
    page.locator("[data-trial=trial_1]").click()
    page.get_by_label("remove the tag good").click()
    page.get_by_text("Clone with other settings").click()
    form = page.locator("form[data-order=clone]")
    form.locator("input[name=others]").fill("seed=3 dataset_options.sizes=[1,2] name=a=b")
    form.get_by_role("button", name="Clone").click()
    page.get_by_text("clone: accepted").wait_for()
    form.locator("input[name=others]").fill("seed")
    form.get_by_role("button", name="Clone").click()
    page.get_by_text("must be NAME=VALUE, got seed").wait_for()
    removed, cloned = (each["arguments"] for each in orders)
    assert removed == {"tag": "good", "remove": True}
    assert cloned == {"set": {"seed": 3, "dataset_options.sizes": [1, 2], "name": "a=b"}}
