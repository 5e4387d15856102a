"""The page in a real Chromium, against a run in progress and against a frozen file."""

import os
import re
import subprocess
import sys
import time

import pytest

from raytune_ocr.results.journal import Journal
from raytune_ocr.results.steering.orders import orders_of
from tests.fixtures.browser import CHROMIUM, chromium_page, until
from tests.fixtures.materials import wait_until

needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium or google-chrome on the PATH"
)
MODULE = """
import time


def slow(parameters, context):
    while context.epoch < context.epochs:
        time.sleep(0.2)
        context.save(epoch=context.epoch)
        context.report(val_mae=parameters["lr"] / (context.epoch + 1))
"""
SPACE = """
trainable: slow_train:slow
metric: {name: val_mae, mode: min}
epochs: 9999
num_samples: 3
early_stopping: {patience: 0}
tuning: {scheduler: none, max_concurrent: 2}
parameters:
  lr: {loguniform: [1e-3, 1e-1]}
"""
CHANGED = "document.querySelector('.count').textContent"
ANSWERED = "/accepted|refused/.test(document.querySelector('#section-trials .answer').textContent)"
STATUS = "document.querySelector('[data-trial={}] .cell:nth-child(2)')?.textContent"


@pytest.fixture
def running(tmp_path):
    """A run in progress, and the URL of its page."""
    (tmp_path / "slow_train.py").write_text(MODULE)
    (tmp_path / "space.yaml").write_text(SPACE)
    words = ["--config", "space.yaml", "--output-dir", "out", "--dashboard"]
    log = tmp_path / "log.txt"  # a pipe that nobody reads would stop the run when it is full
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "raytune_ocr.tune", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    wait_until(lambda: "dashboard: http" in log.read_text(), process)
    yield tmp_path / "out", re.search(r"http\S+", log.read_text())[0], process
    process.terminate()
    process.wait(timeout=120)


@needs_browser
@pytest.mark.slow
@pytest.mark.skipif(
    "PYTEST_XDIST_WORKER" in os.environ,
    reason="a browser beside other tests answers too late; .ci/run runs it alone",
)
def test_a_run_in_progress_is_seen_brushed_and_steered(running):
    folder, url, process = running
    with chromium_page() as page:
        page.goto(url)
        page.wait_for_selector("[data-trial=slow_0002]", timeout=60_000)
        until(page, STATUS.format("slow_0001") + " === 'running'")
        brush_curves(page)
        page.get_by_role("button", name="Clear", exact=True).click()
        page.locator("[data-trial=slow_0001]").click()
        page.locator("button[data-order=stop]").click()
        page.wait_for_selector(".answer.good", timeout=30_000)
        until(page, STATUS.format("slow_0001") + " === 'completed'")
        page.get_by_text("Steer the run").click()
        form = page.locator("form[data-order=add]")
        form.locator("input[name=name]").fill("mine")
        form.locator("input[name='settings.parameters.lr']").fill("0.05")
        form.get_by_role("button", name="Add").click()
        answer = page.locator("#section-trials .answer")
        until(page, ANSWERED)
        assert answer.inner_text().startswith("add: accepted"), answer.inner_text()
        page.wait_for_selector("[data-trial=mine]", timeout=60_000)
        assert page.problems == []
    process.terminate()
    process.wait(timeout=120)
    output = (folder.parent / "log.txt").read_text()
    replay = Journal(folder).read()
    stop, add = orders_of(replay.decisions)
    assert (stop.action, stop.trial) == ("stop", "slow_0001"), output
    assert (add.action, add.trial) == ("add", "mine")
    assert "@" in stop.who and abs(add.time - time.time()) < 3600
    assert replay.trials["slow_0001"].status == "completed"
    assert replay.trials["mine"].config["parameters"]["lr"] == 0.05


def brush_curves(page):
    """Drag a rectangle over the right half of the curves: some trials have no point there."""
    page.get_by_role("button", name="Brush", exact=True).scroll_into_view_if_needed()
    page.wait_for_selector("#section-curves canvas")
    page.get_by_role("button", name="Brush", exact=True).click()
    page.wait_for_timeout(3000)  # news arrive each second
    box = page.locator("#section-curves .chart").bounding_box()
    left, top = box["x"] + 0.1 * box["width"], box["y"] + 0.3 * box["height"]
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(left + 20, top + 10, steps=4)
    page.mouse.up()
    until(page, f"/^[01] of/.test({CHANGED})")
